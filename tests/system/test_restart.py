"""The daemon goes and comes back, and conversations go on (F-99); what keeps it from starting is said."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import (
    CONFIG,
    STATE,
    Event,
    Person,
    call,
    kill_daemon,
    restart_daemon,
    rows,
    run,
    runner,
    session_of,
    session_state,
    unit,
)


@pytest.mark.parametrize("end", [restart_daemon, kill_daemon], ids=["restart", "kill -9"])
def test_a_streaming_answer_outlives_the_daemon(person: Person, end: Callable[[], None]) -> None:
    """Acceptance 6: the same container goes on, its answer arrives exactly once, and its text goes on growing."""
    person.ask("hello")
    session = session_of(person.group)
    before = runner(session)
    message = person.send("!sleep 4\ndone")
    person.wait(lambda event: event.type == "partial", "the answer is being written")
    end()
    person.wait(lambda event: event.type == "partial" and event.attachment == 2, "the answer goes on", 10)
    outcome = person.outcome(message)
    assert (outcome.state, outcome.answers) == ("completed", ("slept 4 s\necho: done",))
    assert outcome.seconds < 8
    assert runner(session) == before
    assert person.ask("still you?").answers == ("echo: still you?",)
    assert runner(session) == before
    ids = [event.id for event in person.shown()]
    assert len(ids) == len(set(ids)) == 3


def test_an_answer_that_was_finished_while_the_daemon_was_away(person: Person) -> None:
    """Rows are the truth and rings only hints: what nobody was told of is found at the next start."""
    message = person.send("!sleep 1\ndone")
    person.wait(lambda event: event.type == "partial", "the answer is being written")
    session = session_of(person.group)
    with appliance.daemon_stopped():
        wait_until(lambda: rows(session.outbound_db, "SELECT count(*) FROM messages_out") == [(1,)], "the answer")
    assert person.outcome(message).answers == ("slept 1 s\necho: done",)


def test_a_container_that_died_while_the_daemon_was_away(person: Person) -> None:
    """F-90: its turn is taken up by another container."""
    message = person.send("!sleep 1\ndone")
    person.wait(lambda event: event.type == "partial", "the answer is being written")
    session = session_of(person.group)
    with appliance.daemon_stopped():
        appliance.systemctl_user("kill", "--signal=KILL", session.unit)
        wait_until(lambda: not appliance.processes(person.group), "dead")
    assert person.outcome(message).answers == ("slept 1 s\necho: done",)
    assert appliance.container_starts(session) == 2


def test_restarts_deliver_nothing_twice(person: Person) -> None:
    """F-99, and a restart wakes no sleeping session."""
    for number in range(3):
        person.ask(f"message {number}")
        if number % 2:
            kill_daemon()
        else:
            restart_daemon()
        person.wait(lambda event, n=number: event.type == "attached" and event.attachment == n + 2, "attached again")
    session = session_of(person.group)
    appliance.systemctl_user("stop", session.unit)
    wait_until(lambda: session_state(session)["state"] == "asleep", "asleep")
    restart_daemon()
    assert person.ask("the last").answers == ("echo: the last",)
    assert [event.text for event in person.shown()] == [*(f"echo: message {n}" for n in range(3)), "echo: the last"]


def test_messages_sent_while_the_daemon_restarts_are_kept(person: Person) -> None:
    """The control socket is systemd's: whoever writes meanwhile waits, and is answered."""
    person.ask("hello")
    for number in range(5):
        kill_daemon()
        assert person.ask(f"message {number}").answers == (f"echo: message {number}",)


def test_a_killed_daemon_is_back_soon_however_often_it_was_killed() -> None:
    run("systemctl", "restart", "nanoclawd.service")
    for _ in range(9):
        before = appliance.daemon_pid()
        kill_daemon()
        killed = time.monotonic()
        wait_until(lambda old=before: appliance.daemon_pid() not in {0, old}, "another daemon", 20)
        call("Appliance.Status")
        assert time.monotonic() - killed < 10


def test_a_deleted_session_row_leaves_no_container_running(person: Person) -> None:
    """A container of which the daemon knows nothing is ended at its start: nobody would ever answer for it."""
    person.send("!sleep 60")
    person.wait(lambda event: event.type == "partial", "the turn has begun")
    session = session_of(person.group)
    with appliance.daemon_stopped(), contextlib.closing(sqlite3.connect(STATE / "central.db")) as central, central:
        central.execute("DELETE FROM sessions WHERE id = ?", (session.id,))
    # The person's terminal sends its unanswered message again, and has another session by now.
    wait_until(
        lambda: not any(process.session == session for process in appliance.processes()), "its container is ended"
    )
    wait_until(lambda: runner(session_of(person.group)) is not None, "the message is taken up again")


def test_a_stop_that_meets_a_new_daemon_lasts(person: Person) -> None:
    """The container is down, and stays down until there is work: taking it over does not start it again."""
    for number in range(12):
        assert person.ask(f"message {number}").answers == (f"echo: message {number}",)
        session = session_of(person.group)
        starts = appliance.container_starts(session)
        assert starts == number + 1
        old = appliance.daemon_pid()
        run("systemctl", "restart", "--no-block", "nanoclawd.service")
        wait_until(lambda pid=old: appliance.daemon_pid() not in {0, pid}, "another daemon")
        call("Sessions.Stop", id=session.id)
        wait_until(lambda it=session: unit(it.unit)["ActiveState"] == "inactive", "its container is down")
        wait_until(lambda it=session: appliance.asleep(it), "asleep", 10)
        assert appliance.container_starts(session) == starts


# What keeps the daemon from starting.


@contextlib.contextmanager
def bad_config() -> Iterator[None]:
    before = CONFIG.read_text()
    CONFIG.write_text(before + "\nlimits:\n  max_awake: many\n")
    try:
        yield
    finally:
        CONFIG.write_text(before)


@contextlib.contextmanager
def no_database() -> Iterator[None]:
    with central_db_replaced(lambda path: path.write_bytes(b"this is no database " * 1000)):
        yield


@contextlib.contextmanager
def newer_schema() -> Iterator[None]:
    def change(path: Path) -> None:
        path.write_bytes(path.with_name("kept-central.db").read_bytes())
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "INSERT INTO schema_version (version, name, applied)"
                " VALUES (999, 'from-the-future', '2099-01-01T00:00:00.000Z')"
            )

    with central_db_replaced(change):
        yield


@contextlib.contextmanager
def no_user_manager() -> Iterator[None]:
    """The user manager can't be started (its runtime directory is somebody else's, its unit masked, …)."""
    uid = run("id", "-u", "nanoclaw").strip()
    run("systemctl", "mask", "--runtime", f"user@{uid}.service")
    run("systemctl", "stop", f"user@{uid}.service")
    try:
        yield
    finally:
        run("systemctl", "unmask", "--runtime", f"user@{uid}.service")
        run("systemctl", "start", f"user@{uid}.service")


@contextlib.contextmanager
def central_db_replaced(change: Callable[[Path], object]) -> Iterator[None]:
    path = STATE / "central.db"
    kept = path.with_name("kept-central.db")
    path.rename(kept)
    try:
        change(path)
        run("chown", "nanoclaw:nanoclaw", str(path))
        yield
    finally:
        for left in STATE.glob("central.db*"):
            left.unlink()
        kept.rename(path)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (bad_config, ("config.yaml", "max_awake")),
        (no_database, ("central.db",)),
        (newer_schema, ("newer nanoclawd", "from-the-future")),
        (no_user_manager, ("user manager", "Next: ")),
    ],
)
def test_what_keeps_the_daemon_from_starting_is_one_clear_line(
    trouble: Callable[[], contextlib.AbstractContextManager[None]], said: tuple[str, ...]
) -> None:
    with appliance.daemon_stopped(), trouble():
        since = time.time()
        run("systemctl", "start", "nanoclawd.service", check=False)
        wait_until(lambda: unit("nanoclawd.service", system=True)["SubState"] != "start", "it gives up", 60)
        run("systemctl", "stop", "nanoclawd.service", "nanoclawd.socket")
        lines = appliance.journal("_SYSTEMD_UNIT=nanoclawd.service", "PRIORITY=2", since=since).splitlines()
        everything = appliance.journal("_SYSTEMD_UNIT=nanoclawd.service", since=since)
    assert lines, everything
    assert all(word in lines[0] for word in said), lines
    assert "Traceback" not in everything
    assert len(set(lines)) == 1, lines
    assert call("Appliance.Status")["version"]


def test_groups_and_their_chats_are_there_after_it_was_healed(person: Person) -> None:
    """The last test's troubles have left all data as it was."""
    seen: list[Event] = person.events
    assert person.ask("hello").answers == ("echo: hello",)
    assert seen
