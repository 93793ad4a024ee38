"""A session's life as an operator sees it: it wakes, works and sleeps; it is stopped, restarted and deleted."""

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import (
    STATE,
    ControlError,
    Person,
    asleep,
    call,
    containers,
    loaded_units,
    processes,
    run,
    runner,
    session_of,
    session_state,
    unit,
)

IDLE_SECONDS = 2.0


@pytest.fixture(scope="module", autouse=True)
def _short_idle() -> Iterator[None]:
    with appliance.configured(timeouts={"idle": IDLE_SECONDS}, limits={"max_awake": 2}):
        yield


def test_a_session_shows_what_it_does_and_sleeps_without_a_trace(person: Person) -> None:
    """Acceptance 3: STATUS during a chat, no process and no unit after the idle time, the next message answered."""
    message = person.send("!sleep 1.5")
    person.wait(lambda event: event.type == "partial", "the turn has begun")
    session = session_of(person.group)

    def shown() -> str:
        return run(
            "systemctl", "--user", "-M", "nanoclaw@", "--no-pager", "status", f"nanoclaw-{person.group}@*", check=False
        )

    wait_until(lambda: 'Status: "turn 1: answering (scripted)' in shown(), "systemctl status shows the turn", 1.5)
    assert person.outcome(message).state == "completed"
    wait_until(lambda: asleep(session), "asleep", IDLE_SECONDS + 5)
    assert containers(person.group) == []
    assert session_state(session)["state"] == "asleep"
    assert person.ask("good morning").answers == ("echo: good morning",)
    assert appliance.container_starts(session) == 2


def test_messages_at_the_moment_of_the_idle_end_are_answered(person: Person) -> None:
    """A ring that meets a container on its way out is answered by the next one: nothing is lost, nothing is doubled."""
    chance = random.Random(1)  # reproducible
    person.ask("first")
    for number in range(6):
        time.sleep(IDLE_SECONDS - 0.15 + chance.uniform(0, 0.5))  # the moment is the subject of the test
        assert person.ask(f"message {number}").answers == (f"echo: message {number}",)
    assert [event.text for event in person.shown()] == ["echo: first", *(f"echo: message {n}" for n in range(6))]


def test_stopping_a_session_during_a_turn_tells_the_person(person: Person) -> None:
    message = person.send("!sleep 60")
    person.wait(lambda event: event.type == "partial", "the turn has begun")
    session = session_of(person.group)
    call("Sessions.Stop", id=session.id)
    outcome = person.outcome(message)
    assert outcome.state == "failed"
    assert "stopped" in outcome.text
    wait_until(lambda: asleep(session), "asleep")
    with pytest.raises(ControlError, match="no container"):
        call("Sessions.Stop", id=session.id)
    assert person.ask("go on").answers == ("echo: go on",)


def test_restarting_a_group_during_a_turn_does_the_turn_again(person: Person) -> None:
    """F-217, F-218: the message is not failed, and a group that sleeps is not woken."""
    message = person.send("!sleep 1.5\ndone")
    person.wait(lambda event: event.type == "partial", "the turn has begun")
    session = session_of(person.group)
    before = runner(session)
    assert call("Groups.Restart", name=person.group)["restarted"] == 1
    outcome = person.outcome(message)
    assert (outcome.state, outcome.answers) == ("completed", ("slept 1.5 s\necho: done",))
    assert outcome.seconds < 10, "the turn's next try is free, it does not wait"
    after = runner(session)
    assert before is not None
    assert after is not None
    assert after.container != before.container
    wait_until(lambda: asleep(session), "asleep", IDLE_SECONDS + 5)
    assert call("Groups.Restart", name=person.group)["restarted"] == 0
    assert asleep(session)


def test_deleting_a_group_during_a_turn_leaves_nothing(person: Person) -> None:
    person.send("!write /workspace/note hello\n!write /home/agent/own hello\n!sleep 60")
    person.wait(lambda event: event.type == "partial" and "sleeping" in event.text, "the turn has begun")
    session = session_of(person.group)
    with pytest.raises(ControlError, match="1 session,"):
        call("Groups.Delete", name=person.group)
    call("Groups.Delete", name=person.group, force=True, seconds=90)
    person.leave()
    assert processes(person.group) == []
    assert loaded_units(person.group) == []
    assert containers(person.group) == []
    for path in (STATE / "sessions", STATE / "groups", STATE / "agents"):
        assert not (path / person.group).exists()
    assert not list((STATE / ".config").rglob(f"*{person.group}*"))
    assert person.group not in {found["name"] for found in call("Groups.List")["groups"]}
    with pytest.raises(ControlError):
        call("Sessions.Get", id=session.id)
    with appliance.group(person.group) as again, Person(again) as newcomer:
        assert newcomer.ask("!read /workspace").answers != ("read /workspace: note",)
        assert newcomer.ask("hello").answers == ("echo: hello",)
        assert session_of(again).id != session.id


def test_waiting_sessions_take_turns_and_are_shown() -> None:
    """Two places, six sessions: who waits is told so, `ncl status` shows the queue, and everybody is answered."""
    names = [f"burst{number}" for number in range(6)]
    people: list[Person] = []
    for name in names:
        call("Groups.Create", name=name, provider="scripted")
        people.append(Person(name))
    try:
        messages = [person.send(f"!sleep 1\n{person.group}") for person in people]
        status = call("Appliance.Status")
        most = status["limits"]["max_awake"]
        assert most == 2
        wait_until(lambda: call("Appliance.Status")["limits"]["waiting"] >= 1, "somebody waits", 5)
        waiting = [busy for busy in call("Appliance.Status")["busy"] if busy["state"] == "waiting"]
        assert sorted(busy["place"] for busy in waiting) == list(range(1, len(waiting) + 1))
        assert all("places are taken" in busy["reason"] for busy in waiting)
        assert "waiting" in run("ncl", "status")
        assert any(event.type == "waiting" and event.place for person in people for event in person.events)
        while not all(any(event.type == "turn" for event in person.events) for person in people):
            assert len({process.container for process in processes() if process.is_runner}) <= most
        for person, message in zip(people, messages, strict=True):
            assert person.outcome(message, 60).answers == (f"slept 1 s\necho: {person.group}",)
        # Idle ones gave their place up: nobody waited for the idle time of two others.
        assert max(person.events[-1].at for person in people) - people[0].events[0].at < 6 * (1 + IDLE_SECONDS)
    finally:
        for person in people:
            person.leave()
            call("Groups.Delete", name=person.group, force=True, seconds=90)


def test_a_busy_group_does_not_keep_another_waiting() -> None:
    """Fair over groups: four people of one group queue before one of another, who is not the last to be answered."""
    with (
        appliance.configured(limits={"max_awake": 1}),
        appliance.group("crowd") as crowd,
        appliance.group("one") as one,
    ):
        users = ("games", "news", "mail", "uucp")
        commands = [(crowd, user) for user in users]
        running: dict[subprocess.Popen[bytes], str] = {}
        with Person(one) as single:
            for group, user in commands:
                running[as_user(user, "ncl", "chat", group, "--message", "!sleep 1", "--timeout", "60")] = user
            wait_until(lambda: call("Appliance.Status")["limits"]["waiting"] >= 3, "the crowd queues", 10)
            outcome = single.ask("me too", 60)
            left = sum(process.poll() is None for process in running)
            assert outcome.answers == ("echo: me too",)
            assert left >= 1, "all of the crowd were answered first"
        assert [process.wait(60) for process in running] == [0, 0, 0, 0]


def as_user(user: str, *argv: str) -> subprocess.Popen[bytes]:
    """Run a command as another user who is an administrator of the appliance."""
    identity = ("setpriv", f"--reuid={user}", "--regid=nanoclaw-admin", "--clear-groups")
    return subprocess.Popen(
        (*identity, *argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": "/nonexistent"},
        cwd="/",
    )


def test_a_sleeping_session_is_found_by_its_next_message_only(person: Person) -> None:
    """A lost outbound.db is made again and wakes nobody by itself (F-105)."""
    person.ask("hello")
    session = session_of(person.group)
    wait_until(lambda: asleep(session), "asleep", IDLE_SECONDS + 5)
    Path(session.outbound_db).unlink()
    appliance.restart_daemon()
    assert person.ask("still there?").answers == ("echo: still there?",)
    assert unit(session.unit)["ActiveState"] == "active"
