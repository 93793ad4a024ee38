"""A container that does its worst to the session's databases and their locks.

Each time: the session is stopped or put into quarantine, the person is told, another group's session answers as ever,
and the daemon's loop is not held up.
"""

import os
import re
import time
from collections.abc import Iterator

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import STATE, session_state
from system.hostile.stage import Bystander, Hostile, bystander, hostile_group, watched_loop


@pytest.fixture(scope="module")
def other() -> Iterator[Bystander]:
    with bystander() as somebody:
        yield somebody


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    with hostile_group() as stage:
        yield stage


def works_again_after_reset(hostile: Hostile) -> None:
    """``ncl sessions reset`` lifts the quarantine, and an honest runner answers."""
    hostile.be_honest()
    appliance.run("ncl", "sessions", "reset", hostile.session.id)
    outcome = hostile.person.ask("hello again", 60)
    assert (outcome.state, outcome.answers) == ("completed", ("echo: hello again",))


@pytest.mark.parametrize(
    "attack",
    [
        "truncated",
        "random_bytes",
        "fifo_journal",
        "directory_journal",
        "wal",
        "endless_view",
        "not_utf8",
        "bad_rows",
        "named_like_a_notice",
    ],
)
def test_damage_is_quarantined_told_and_undone_by_a_reset(hostile: Hostile, other: Bystander, attack: str) -> None:
    central = (STATE / "central.db").stat().st_ino
    with watched_loop():
        message = hostile.attack(attack)
        other.answers(3)
        outcome = hostile.person.outcome(message, 30)
    assert outcome.state == "failed"
    assert "quarantine" in outcome.notices[0]
    assert hostile.quarantined
    hostile.wait_stopped()
    # Later messages are answered with the same, at once, and without a container.
    later = hostile.person.ask("hello?", 10)
    assert (later.state, "quarantine" in later.text) == ("failed", True)
    assert not appliance.processes(hostile.group)
    works_again_after_reset(hostile)
    assert (STATE / "central.db").stat().st_ino == central


def test_ten_sparse_gigabytes_are_not_read(hostile: Hostile, other: Bystander) -> None:
    """The container's own bound for a file refuses them; where that were missing, the reader does."""
    assert hostile.person.ask("sparse").answers == ("sparse: File too large",)
    os.truncate(hostile.session.outbound_db, 10 * 1024**3)
    with watched_loop():
        message = hostile.attack("ring_below_the_bound")
        appliance.systemctl_user("kill", "-s", "KILL", hostile.session.unit)
        outcome = hostile.person.outcome(message, 60)
        other.answers(3)
    assert "the limit is" in outcome.notices[0]
    works_again_after_reset(hostile)


def test_a_forged_super_journal_harms_nobody(hostile: Hostile, other: Bystander) -> None:
    """The host never rolls back: the journal is the runner's; one that it leaves ends in quarantine."""
    central = (STATE / "central.db").stat().st_ino
    with watched_loop():
        message = hostile.attack("forged_super_journal")
        other.answers(10)
        outcome = hostile.person.outcome(message, 90)
    assert outcome.state == "failed"
    assert "quarantine" in outcome.text
    assert (STATE / "central.db").stat().st_ino == central
    assert appliance.call("Groups.List")["groups"]
    works_again_after_reset(hostile)


@pytest.mark.parametrize("attack", ["huge_row"])
def test_a_row_of_a_hundred_megabytes_is_told_and_what_follows_is_delivered(
    hostile: Hostile, other: Bystander, attack: str
) -> None:
    with watched_loop():
        message = hostile.attack(attack)
        outcome = hostile.person.outcome(message)
        other.answers(3)
    assert outcome.answers == ("after the huge row",)
    assert "limit" in hostile.notice("refused")


@pytest.mark.parametrize("attack", ["deep_json", "wide_json", "many_values"])
def test_content_that_is_hard_to_read_or_show_does_not_hold_the_loop_up(
    hostile: Hostile, other: Bystander, attack: str
) -> None:
    with watched_loop():
        message = hostile.attack(attack)
        outcome = hostile.person.outcome(message)
        other.answers(3)
    assert outcome.state == "completed"
    if attack == "deep_json":
        hostile.notice("refused: its content is no JSON")


def test_a_lock_on_outbound_for_ever_ends_the_container(hostile: Hostile, other: Bystander) -> None:
    with watched_loop():
        message = hostile.attack("lock_outbound")
        other.answers(10)
        hostile.notice("locked for more than 5 s")
        hostile.wait_stopped()
    hostile.be_honest()
    assert hostile.person.outcome(message, 60).answers == ("echo: lock_outbound",)


def test_a_lock_on_inbound_for_ever_ends_the_container_and_loses_no_message(hostile: Hostile, other: Bystander) -> None:
    """A read lock taken through the read-only mount."""
    with watched_loop():
        first = hostile.attack("lock_inbound")
        for _ in range(2):
            wait_until(lambda: session_state(hostile.session)["status"] == "locked", "the lock is held", 60)
            began = time.monotonic()
            hostile.attack("lock_inbound")
            assert time.monotonic() - began < 12
        other.answers(3)
        hostile.notice("held a lock on inbound.db")
    hostile.be_honest()
    assert hostile.person.outcome(first, 90).state == "completed"
    query = "SELECT count(*), count(DISTINCT id) FROM messages_in WHERE trigger = 1"
    assert appliance.rows(hostile.session.inbound_db, query) == [(3, 3)]


def test_a_lease_cannot_be_had(hostile: Hostile) -> None:
    assert hostile.person.ask("lease").answers == ("lease: Permission denied",)


def test_links_and_pipes_in_the_files_are_left_alone_and_can_be_deleted(hostile: Hostile, other: Bystander) -> None:
    with watched_loop():
        assert hostile.person.ask("links_and_fifos").answers == ("left links and pipes",)
        other.answers(3)
        assert "ok" in appliance.run("ncl", "status")
    session = hostile.session
    hostile.be_honest()
    appliance.call("Groups.Delete", name=hostile.group, force=True, seconds=90)
    assert not session.directory.exists()
    assert not appliance.loaded_units(hostile.group)
    assert os.path.lexists("/etc/shadow")


def test_what_a_quarantined_session_says_in_the_operators_tools(hostile: Hostile) -> None:
    hostile.person.outcome(hostile.attack("truncated"))
    shown = appliance.run("ncl", "sessions", "list")
    assert re.search(rf"{hostile.session.id}.*quarantined", shown)
    assert "outbound.db" in appliance.run("ncl", "sessions", "get", hostile.session.id)
