"""A container that breaks the bounds of its doorbell, its notifications, its log and its time, or takes all it gets.

Each time: the session is stopped or goes on bounded, the person is told, another group's session answers as ever (also
one that has to be started), and the daemon's loop is not held up.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import Person, daemon_pid, session_state, unit
from system.hostile.stage import (
    LONGEST_HOLD_SECONDS,
    Bystander,
    Hostile,
    bystander,
    hostile_group,
    watched_loop,
)
from system.not_checked import controllers, not_checked


@pytest.fixture(scope="module")
def other() -> Iterator[Bystander]:
    with bystander() as somebody:
        yield somebody


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_group() as stage:
        yield stage


def test_the_watch_sees_a_loop_that_is_held_up() -> None:
    """The measure itself: a daemon that is stopped for a moment answers late, and the watch says so."""
    with pytest.raises(AssertionError, match="held up for 0"), watched_loop() as watch:  # noqa: PT012  # a measure over time
        time.sleep(0.5)  # in calm
        os.kill(daemon_pid(), signal.SIGSTOP)
        time.sleep(0.2)  # held up
        os.kill(daemon_pid(), signal.SIGCONT)
        time.sleep(0.5)  # in calm again
    assert watch.worst > 3 * LONGEST_HOLD_SECONDS


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("ring_flood", "doorbell frames in a second"),
        ("partial_flood", "doorbell frames in a second"),
        ("oversize_frame", "not a doorbell frame"),
    ],
)
def test_a_doorbell_beyond_its_bounds_ends_the_container(
    hostile: Hostile, other: Bystander, attack: str, words: str
) -> None:
    with watched_loop():
        message = hostile.attack(attack)
        hostile.notice(words)
        other.answers(3)
        hostile.wait_stopped()
    hostile.be_honest()
    assert hostile.person.outcome(message, 60).answers == (f"echo: {attack}",)


def test_rings_as_often_as_allowed_keep_nobody_else_waiting(hostile: Hostile, other: Bystander) -> None:
    with watched_loop():
        message = hostile.attack("ring_below_the_bound")
        other.answers(30)
        assert hostile.person.outcome(message).answers == ("rang as often as it may",)


def test_a_doorbell_that_is_shut_down_ends_the_container_and_the_message_is_tried_again(
    hostile: Hostile, other: Bystander
) -> None:
    with watched_loop():
        message = hostile.attack("doorbell_shut_down")
        wait_until(lambda: appliance.processes(hostile.group), "the container has been started")
        hostile.wait_stopped()
        other.answers(3)
    hostile.be_honest()
    assert hostile.person.outcome(message, 60).answers == ("echo: doorbell_shut_down",)


def test_ansi_in_a_status_reaches_no_terminal(hostile: Hostile) -> None:
    message = hostile.attack("ansi_status")
    hostile.person.wait(lambda event: event.type == "status" and "done" in event.text, "the status")
    for command in (("sessions", "list"), ("sessions", "get", hostile.session.id), ("status",)):
        shown = appliance.run("ncl", *command)
        assert not {character for character in shown if not character.isprintable()} - {"\n"}, command
    assert "red" in appliance.run("ncl", "sessions", "get", hostile.session.id)
    hostile.person.outcome(message)


def test_a_flood_of_statuses_keeps_nobody_else_waiting(hostile: Hostile, other: Bystander) -> None:
    with watched_loop():
        message = hostile.attack("status_flood")
        other.answers(20)
        # podman's monitor hands them on one by one: the flood holds up the container's own watchdog, which ends it.
        hostile.wait_stopped(60)
    hostile.be_honest()
    assert hostile.person.outcome(message, 90).answers == ("echo: status_flood",)
    statuses = [event.text for event in hostile.person.events if event.type == "status"]
    assert max(map(len, statuses)) <= 200


def test_a_flood_of_the_log_keeps_nobody_else_waiting(hostile: Hostile, other: Bystander) -> None:
    with watched_loop():
        began = time.time()
        message = hostile.attack("log_flood")
        other.answers(20)
        assert hostile.person.outcome(message, 60).answers == ("flooded the log",)
        # The appliance's own words are still written: journald counts by unit.
        with appliance.group() as name:
            pass
        assert name in appliance.journal("_SYSTEMD_UNIT=nanoclawd.service", since=began)


def test_a_container_that_is_never_ready_is_told_within_its_bound(hostile: Hostile, other: Bystander) -> None:
    """With watchdog pings all the time: they are no READY."""
    (hostile.workspace / "never-ready").touch()
    with watched_loop():
        began = time.monotonic()
        message = hostile.attack("hello")
        other.answers(10)
        assert "not ready within" in hostile.notice("not ready within")
        assert time.monotonic() - began < 30
        hostile.wait_stopped()
    (hostile.workspace / "never-ready").unlink()
    hostile.be_honest()
    assert hostile.person.outcome(message, 60).answers == ("echo: hello",)


def test_a_container_that_only_says_that_it_lives_has_a_bound_of_time(other: Bystander) -> None:
    """A watchdog is only as honest as who feeds it; the daemon has a clock of its own."""
    with appliance.configured(timeouts={"turn": 12, "silence": 10}), hostile_group() as stage, watched_loop():
        message = stage.attack("liar")
        other.answers(3)
        assert unit(stage.session.unit)["ActiveState"] in ("activating", "active")
        outcome = stage.person.outcome(message, 60)
        stage.wait_stopped()
    assert outcome.state == "failed"
    assert "which is the limit" in outcome.text
    assert 11 < outcome.seconds < 30


@pytest.mark.parametrize("attack", ["processes", "inotify", "disk", "processor"])
def test_greed_leaves_others_working(hostile: Hostile, other: Bystander, attack: str) -> None:
    """Acceptance 5. Somebody is awake and answers; somebody else is woken meanwhile."""
    if "pids" not in controllers():
        not_checked("that TasksMax= ends a container's greed for processes: no pids controller here")
    message = hostile.attack(attack)
    wait_until(lambda: session_state(hostile.session)["state"] == "awake", "the greedy one is at work")
    with watched_loop():
        other.answers(10)
        with appliance.group() as name, Person(name) as newcomer:
            assert newcomer.ask("hello").answers == ("echo: hello",)
        outcome = hostile.person.outcome(message, 90)
    print(outcome.text)
    assert outcome.state == "completed"
    if attack == "disk":
        # Every place has a bound: a size of its own, or the largest file (design: the session quadlet).
        assert outcome.text.count("MiB, ") == 6
    if attack == "processes" and "pids" in controllers():
        assert "Resource temporarily unavailable" in outcome.text


def test_a_greedy_session_is_within_its_bounds_of_memory() -> None:
    if "memory" not in controllers():
        not_checked("MemoryMax= of a session: no memory controller here")
        return
    with appliance.group() as name, Person(name) as person:
        person.ask("hello")
        limits = appliance.systemctl_user("show", "-p", "MemoryMax,TasksMax", appliance.session_of(name).unit)
        assert "infinity" not in limits
    assert Path("/sys/fs/cgroup").exists()
