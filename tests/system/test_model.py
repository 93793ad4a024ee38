"""The embedded model, the gateway and the openai provider together, and what a person hears when one is away."""

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Iterator

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import Person, session_of, systemctl_user, unit
from system.people import Outcome

TOLD_WITHIN_SECONDS = 30.0


@pytest.fixture
def talker() -> Iterator[Person]:
    """Somebody at the terminal of a group with the default provider and model."""
    name = f"m{secrets.token_hex(4)}"
    appliance.call("Groups.Create", name=name)
    try:
        with Person(name) as person:
            yield person
    finally:
        with contextlib.suppress(appliance.ControlError):
            appliance.call("Groups.Delete", name=name, force=True, seconds=90)


@contextlib.contextmanager
def away(*units: str, system: bool = False) -> Iterator[None]:
    """Keep units stopped for a while; the first of them is started again."""
    control = (lambda *argv: appliance.run("systemctl", *argv)) if system else systemctl_user
    control("stop", *units)
    try:
        yield
    finally:
        control("start", units[0])


def test_the_embedded_model_answers_and_remembers_over_a_restart_of_its_container(talker: Person) -> None:
    first = talker.ask("What is the capital of France? Answer with its name.", seconds=120)
    assert first.state == "completed"
    assert "Paris" in first.text
    assert any(event.type == "partial" for event in talker.events), "the answer was streamed"
    session = session_of(talker.group)
    history = list((session.directory / "home").rglob("*.jsonl"))
    assert history, "the conversation is kept in the session's own home"
    appliance.call("Groups.Restart", name=talker.group)
    wait_until(lambda: appliance.runner(session) is None, "the container has gone")
    assert talker.ask("Which country did I ask about?", seconds=120).state == "completed"
    assert "France" in history[0].read_text()
    assert list((session.directory / "home").rglob("*.jsonl")) == history


def test_the_model_costs_nothing_until_somebody_asks(talker: Person) -> None:
    with away("nanoclaw-model.socket", "nanoclaw-model-proxy.service"):
        wait_until(lambda: unit("nanoclaw-model.service")["ActiveState"] == "inactive", "the model has gone")
    assert unit("nanoclaw-model.service")["ActiveState"] == "inactive"
    assert unit("nanoclaw-model.socket")["ActiveState"] == "active"
    assert talker.ask("Hello!", seconds=120).state == "completed"
    assert unit("nanoclaw-model.service")["ActiveState"] == "active"


def test_a_model_that_is_away_is_told_with_what_to_look_at(talker: Person) -> None:
    with away("nanoclaw-model.socket", "nanoclaw-model-proxy.service"):
        outcome = talker.ask("Hello?", seconds=TOLD_WITHIN_SECONDS)
    assert "embedded" in outcome.text
    assert "systemctl" in outcome.text
    assert "nanoclaw-model" in outcome.text
    assert talker.ask("Hello again!", seconds=120).text != outcome.text


def test_a_message_waits_for_a_gateway_that_does_not_answer_and_is_answered_by_the_next_one(talker: Person) -> None:
    """F-107: its socket is systemd's, and holds who has come meanwhile."""
    assert talker.ask("Hello!", seconds=120).state == "completed"
    pid = int(unit("nanoclaw-gateway.service", system=True)["MainPID"])
    answers: list[Outcome] = []
    os.kill(pid, signal.SIGSTOP)
    asking = threading.Thread(target=lambda: answers.append(talker.ask("Hello again!", seconds=120)))
    try:
        asking.start()
        wait_until(lambda: appliance.session_state(session_of(talker.group))["pending"] > 0, "the message waits")
        assert answers == []
    finally:
        os.kill(pid, signal.SIGKILL)
    asking.join(120)
    assert [outcome.state for outcome in answers] == ["completed"]
    assert "gateway" not in answers[0].text


def test_a_gateway_that_is_away_is_told_with_what_to_look_at(talker: Person) -> None:
    """F-107: with a reason, at once, and what is said when it is back is answered."""
    with away("nanoclaw-gateway.socket", "nanoclaw-gateway.service", system=True):
        outcome = talker.ask("Hello?", seconds=TOLD_WITHIN_SECONDS)
    assert "gateway" in outcome.text
    assert "systemctl status nanoclaw-gateway.socket" in outcome.text
    assert talker.ask("Hello again!", seconds=120).text != outcome.text


def test_a_group_reaches_only_the_endpoint_of_its_model(person: Person) -> None:
    """The gateway knows the group by its uid: what config.yaml does not give it, it does not get."""
    request = (
        "import http.client, socket, sys\n"
        "connection = http.client.HTTPConnection('gateway', timeout=10)\n"
        "connection.sock = socket.socket(socket.AF_UNIX)\n"
        "connection.sock.connect('/run/nanoclaw-gateway/gateway.sock')\n"
        "connection.request('GET', sys.argv[1])\n"
        "print(connection.getresponse().status)\n"
    )
    person.ask("hello")
    session = session_of(person.group)

    def status(path: str) -> str:
        return appliance.podman("exec", session.container, "python3", "-c", request, path).strip()

    assert status("/embedded/models") == "200"
    assert status("/openai/models") in {"403", "404"}
    assert status("/embedded/../openai/models") in {"400", "403", "404"}
