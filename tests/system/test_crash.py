"""What dies is noticed, what it left undone is done again or reported, and nothing is left behind (F-90, F-94…F-97)."""

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import (
    STATE,
    Outcome,
    Person,
    SessionNames,
    containers,
    daemon_stopped,
    kill,
    podman,
    processes,
    rows,
    run,
    runner,
    session_of,
    unit,
)

WATCHDOG_SECONDS = 5
READY_SECONDS = 5
SILENCE_SECONDS = 4
TURN_SECONDS = 8
BACKOFF_SECONDS = 5
TOLD_WITHIN_SECONDS = 30


@pytest.fixture(scope="module", autouse=True)
def _short_bounds() -> Iterator[None]:
    bounds = {
        "watchdog": WATCHDOG_SECONDS,
        "ready": READY_SECONDS,
        "silence": SILENCE_SECONDS,
        "turn": TURN_SECONDS,
    }
    with appliance.configured(timeouts=bounds):
        yield


def begin(person: Person, text: str) -> tuple[str, SessionNames]:
    """Send a message whose turn lasts, and return its id and its session once it runs."""
    message = person.send(text)
    session = wait_for_session(person.group)
    wait_until(
        lambda: rows(session.outbound_db, "SELECT 1 FROM processing_ack WHERE message_id = ?", message), "claimed"
    )
    return message, session


def wait_for_session(group: str) -> SessionNames:
    wait_until(lambda: appliance.call("Sessions.List", group=group)["sessions"], "there is a session")
    return session_of(group)


def tries(session: SessionNames, message: str) -> int:
    ((found,),) = rows(session.inbound_db, "SELECT tries FROM messages_in WHERE id = ?", message)
    return int(found)


def use_up_tries(session: SessionNames, message: str) -> None:
    """Leave a message its last try, due now: what waiting for five back-offs (155 s) would come to."""
    with daemon_stopped(), contextlib.closing(sqlite3.connect(session.inbound_db)) as connection, connection:
        connection.execute("UPDATE messages_in SET tries = 5, process_after = NULL WHERE id = ?", (message,))


def assert_nothing_left(group: str) -> None:
    """At most the one container that is awake, and of every process only its."""
    found = processes(group)
    alive = {process.container for process in found if process.container}
    assert len(alive) <= 1
    assert len([process for process in found if process.is_conmon]) <= 1
    assert len(containers(group)) <= 1


def assert_answered_once(person: Person, outcome: Outcome, answer: str) -> None:
    assert (outcome.state, outcome.answers) == ("completed", (answer,))
    shown = [event.id for event in person.shown()]
    assert len(shown) == len(set(shown))


@pytest.mark.parametrize("victim", ["runner", "conmon", "all"])
def test_a_killed_container_is_replaced_and_the_turn_done_again(person: Person, victim: str) -> None:
    """F-90, F-94, F-96: claims of a dead container are taken up again, after one back-off."""
    message, session = begin(person, "!sleep 3\ndone")
    first = runner(session)
    assert first is not None
    for process in processes(person.group):
        if victim == "all" or (process.is_conmon if victim == "conmon" else process.is_runner):
            kill(process.pid)
    wait_until(lambda: tries(session, message) == 1, "one try is counted")
    outcome = person.outcome(message)
    assert_answered_once(person, outcome, "slept 3 s\necho: done")
    assert outcome.seconds >= BACKOFF_SECONDS
    second = runner(session)
    assert second is not None
    assert second.container != first.container
    assert_nothing_left(person.group)
    assert appliance.container_starts(session) == 2


@pytest.mark.parametrize("signal", ["KILL", "SEGV"])
def test_a_message_that_kills_its_runner_is_given_up_with_a_word(person: Person, signal: str) -> None:
    """F-96, F-97, W-15: the first death postpones it by 5 s; after the last one it fails, and the person is told."""
    message, session = begin(person, f"!crash {signal}")
    wait_until(lambda: tries(session, message) == 1, "one try is counted")
    use_up_tries(session, message)
    outcome = person.outcome(message)
    assert outcome.state == "failed"
    assert "ended 6 times" in outcome.text
    assert f"ncl sessions logs {session.id}" in outcome.text
    assert person.ask("hello").answers == ("echo: hello",)
    assert_nothing_left(person.group)


def test_who_waits_through_a_second_try_hears_of_it(person: Person) -> None:
    message = person.send("!crash")
    told = person.wait(
        lambda event: event.type == "notice" and event.in_reply_to == message, "a word", TOLD_WITHIN_SECONDS
    )
    assert "keep trying" in told.text
    session = session_of(person.group)
    assert rows(session.inbound_db, "SELECT status, tries FROM messages_in WHERE id = ?", message) == [("pending", 2)]


def test_a_hung_runner_is_ended_by_the_watchdog_and_tried_again(person: Person) -> None:
    """F-92…F-97: a loop that shows no life is ended within the watchdog's time; then retried, then reported."""
    started = time.monotonic()
    message, session = begin(person, "!hang")
    wait_until(lambda: tries(session, message) == 1, "one try is counted", WATCHDOG_SECONDS * 3)
    assert time.monotonic() - started < WATCHDOG_SECONDS * 2 + 3
    assert not [event for event in person.shown() if "watchdog" in event.text]
    use_up_tries(session, message)
    outcome = person.outcome(message, WATCHDOG_SECONDS * 3)
    assert outcome.state == "failed"
    assert "watchdog" in outcome.text
    assert person.ask("hello").answers == ("echo: hello",)
    assert_nothing_left(person.group)


def test_a_silent_provider_is_ended_though_its_loop_lives(person: Person) -> None:
    """F-94, F-95: silence past the bound ends a turn; a session without a turn may be silent for ever."""
    person.ask("hello")
    session = session_of(person.group)
    idle = runner(session)
    time.sleep(SILENCE_SECONDS + 1)  # that nothing happens meanwhile is the subject
    assert runner(session) == idle
    message, _ = begin(person, "!stall")
    use_up_tries(session, message)
    outcome = person.outcome(message, SILENCE_SECONDS * 3)
    assert outcome.state == "failed"
    assert "watchdog" in outcome.text
    assert person.ask("hello again").answers == ("echo: hello again",)


def test_a_turn_has_a_wall_time_bound(person: Person) -> None:
    """The runner ends it shortly before the daemon would end it, which goes on; see test_hostile_containers."""
    message, session = begin(person, "!sleep 60")
    before = runner(session)
    outcome = person.outcome(message, TURN_SECONDS * 2)
    assert TURN_SECONDS * 0.9 <= outcome.seconds < TURN_SECONDS + 5
    assert "I was not done within" in outcome.text
    assert person.ask("hello").answers == ("echo: hello",)
    assert runner(session) == before
    assert_nothing_left(person.group)


def test_podman_killed_during_the_start(person: Person) -> None:
    """F-132: a start that fails is tried again; nothing of it stays behind."""
    session = None
    person.ask("hello")
    session = session_of(person.group)
    appliance.systemctl_user("stop", session.unit)
    wait_until(lambda: not processes(person.group), "asleep")
    message = person.send("anybody?")
    seen: list[int] = []

    def killed() -> bool:
        found = [process.pid for process in processes(person.group) if process.is_podman]
        seen.extend(pid for pid in found if kill(pid))
        return bool(seen)

    wait_until(killed, "podman starts the container", 10)
    outcome = person.outcome(message)
    assert_answered_once(person, outcome, "echo: anybody?")
    assert_nothing_left(person.group)


def test_the_gateway_killed_comes_back_for_the_next_request(person: Person) -> None:
    probe = "!connect unix /run/nanoclaw-gateway/gateway.sock"
    connected = person.ask(probe).text
    assert connected.startswith("connected")
    run("systemctl", "start", "nanoclaw-gateway.service")
    pid = int(unit("nanoclaw-gateway.service", system=True)["MainPID"])
    assert kill(pid)
    assert person.ask(probe).text == connected
    wait_until(
        lambda: unit("nanoclaw-gateway.service", system=True)["MainPID"] not in {"0", str(pid)}, "another gateway"
    )


def test_the_user_manager_killed_takes_all_sessions_and_all_come_back(group: str) -> None:
    """Whatever was in work is done again: systemd starts the manager, podman forgets what died with it."""
    with Person(group) as person, appliance.group() as other, Person(other) as neighbour:
        message, _ = begin(person, "!sleep 2\ndone")
        second, _ = begin(neighbour, "!sleep 2\nme too")
        (manager,) = [
            int(line) for line in run("pgrep", "-u", "nanoclaw", "-f", "^/usr/lib/systemd/systemd --user").split()
        ]
        kill(manager)
        assert_answered_once(person, person.outcome(message, 60), "slept 2 s\necho: done")
        assert_answered_once(neighbour, neighbour.outcome(second, 60), "slept 2 s\necho: me too")
        assert not [event for event in (*person.shown(), *neighbour.shown()) if event.type == "notice"]
        assert person.ask("hello").answers == ("echo: hello",)
        assert_nothing_left(group)
        assert_nothing_left(other)


# Containers that never come up.


@contextlib.contextmanager
def image_missing(_group: str) -> Iterator[None]:
    (name,) = podman("images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/nanoclaw-agent").split()
    podman("tag", name, "localhost/kept-by-test:latest")
    podman("untag", name, name)  # the name alone, without it all names go
    try:
        yield
    finally:
        podman("tag", "localhost/kept-by-test:latest", name)
        podman("untag", name, "localhost/kept-by-test:latest")


@contextlib.contextmanager
def dies_at_start(group: str) -> Iterator[None]:
    """There is no runner in the container."""
    found = re.search(rf"{STATE}/runner/[0-9a-f]+", appliance.systemctl_user("cat", f"nanoclaw-{group}@.service"))
    assert found is not None
    with replaced(Path(found[0]) / "nanoclaw_runner", Path.mkdir):
        yield


@contextlib.contextmanager
def never_ready(group: str) -> Iterator[None]:
    """The runner waits for its configuration and never gets it."""
    with replaced(STATE / "agents" / group / "agent.json", os.mkfifo):
        yield


@contextlib.contextmanager
def replaced(path: Path, make: Callable[[Path], object]) -> Iterator[None]:
    kept = path.with_name("kept")
    path.rename(kept)
    make(path)
    path.chmod(0o644)
    try:
        yield
    finally:
        kept.rename(path)


@pytest.mark.parametrize(
    ("trouble", "said", "command"),
    [
        (image_missing, "image is missing", "ncl images build"),
        (dies_at_start, "ended before it was ready", "ncl sessions logs"),
        (never_ready, "not ready within 5 s", "ncl sessions logs"),
    ],
)
def test_a_container_that_does_not_start_is_reported_and_healed(
    group: str, trouble: Callable[[str], contextlib.AbstractContextManager[None]], said: str, command: str
) -> None:
    """The person is told within 30 s what is wrong and what helps, once; when it is healed, all is answered (F-132)."""
    with Person(group) as person:
        with trouble(group):
            first = person.send("anybody?")
            notice = person.wait(lambda event: event.type == "notice", "word of the trouble", TOLD_WITHIN_SECONDS)
            assert said in notice.text
            assert command in notice.text
            assert notice.in_reply_to == first
            session = wait_for_session(group)
            wait_until(lambda: tries(session, first) >= 1, "one try is counted")
        healed = person.ask("and now?")
        assert healed.answers == ("echo: and now?",)
        assert person.outcome(first, 60).answers == ("echo: anybody?",)
        assert len([event for event in person.shown() if event.type == "notice"]) <= 2
        assert_nothing_left(group)
