"""Fixtures of the tests of the Matrix channel."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from homeserver.server import Homeserver
from unit.channels.contract import Received
from unit.channels.matrix.stage import Stage, staged

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    """A homeserver for all tests of a file."""
    made = Homeserver(tmp_path_factory.mktemp("homeserver"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def stage(server: Homeserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """An account and a person, who are new there."""
    async with staged(server, tmp_path, next(_numbers), monkeypatch) as made:
        yield made


@pytest.fixture
def received() -> Received:
    return Received()
