"""Fixtures of the system tests, which run as root in a bed (``make test-system``)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from system import appliance
from system.claude_stage import Api, claude_appliance, somebody
from system.loopback import Account
from system.not_checked import NOTES
from system.town import Town, another_owner, town


def pytest_configure() -> None:
    if not Path("/run/nanoclawd/control.sock").exists():
        pytest.exit("these tests need an appliance: make test-system", returncode=2)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for note in NOTES:
        terminalreporter.write_line(f"not checked here: {note}")


@pytest.fixture
def group() -> Iterator[str]:
    """A new group with the scripted provider."""
    with appliance.group() as name:
        yield name


@pytest.fixture
def person(group: str) -> Iterator[appliance.Person]:
    """Somebody at a terminal of that group."""
    with appliance.Person(group) as somebody:
        yield somebody


@pytest.fixture
def loop() -> Iterator[Account]:
    """The people of the appliance's loopback channel that can everything."""
    with Account("loop", idempotent=True) as account:
        yield account


@pytest.fixture(scope="module")
def another_owner_lives() -> Iterator[None]:
    """The operator owns the appliance while a module's towns come and go."""
    with another_owner():
        yield


@pytest.fixture(name="town")
def a_town(another_owner_lives: None) -> Iterator[Town]:
    """An agent and the people around it."""
    with town() as built:
        yield built


@pytest.fixture(scope="module")
def the_api() -> Iterator[Api]:
    with claude_appliance() as api:
        yield api


@pytest.fixture
def api(the_api: Api) -> Api:
    the_api.reset()
    return the_api


@pytest.fixture(scope="module")
def one_person(the_api: Api) -> Iterator[appliance.Person]:
    with somebody() as person:
        yield person


@pytest.fixture
def newcomer(api: Api) -> Iterator[appliance.Person]:
    """Somebody with an agent of their own."""
    with somebody() as found:
        yield found
