"""The two session databases from the container's side."""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_stage import Host

from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.selection import Candidate
from nanoclaw_runner.store.inbox import Inbox, NotYetError
from nanoclaw_runner.store.outbox import ContractError, Outbox, Reply

NOON = "2026-04-16T14:37:01.000Z"


def everything(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    return candidates


def ids(inbox: Inbox, *, now: str | None = None, fresh: bool = False) -> list[str]:
    return [row.id for row in inbox.look(everything, now=now or clock.now_text(), fresh=fresh).rows]


@pytest.fixture
def inbox(host: Host) -> Inbox:
    return Inbox(host.places.inbound_db)


@pytest.fixture
def outbox(host: Host):
    store = Outbox(host.places.outbound_db)
    yield store
    store.close()


def test_only_pending_rows_are_fetched(host: Host, inbox: Inbox):
    """F-27"""
    for status in ("pending", "completed", "failed", "paused"):
        host.insert("x", identifier=status, status=status)
    assert ids(inbox) == ["pending"]


def test_delayed_rows_wait(host: Host, inbox: Inbox):
    """F-28"""
    host.insert("x", identifier="later", process_after=clock.now_text(plus_seconds=60))
    host.insert("x", identifier="past", process_after=clock.now_text(plus_seconds=-60))
    host.insert("x", identifier="now")
    look = inbox.look(everything, now=clock.now_text(), fresh=False)
    assert [row.id for row in look.rows] == ["past", "now"]
    assert 59 < (clock.parse(look.next_due or "") - datetime.now(UTC)).total_seconds() <= 60


@pytest.mark.parametrize(
    "due",
    [
        "2026-04-16T14:37:00Z",  # F-135
        "2026-04-16 14:37:00",  # F-136
        "2026-04-16T16:37:00+02:00",  # F-138
        "2026-04-16T14:37:00.123Z",  # F-138
        "2026-04-16T14:37",
    ],
)
def test_every_form_of_a_due_time_is_understood(host: Host, inbox: Inbox, due: str):
    """F-134…F-138"""
    host.insert("x", process_after=due)
    assert ids(inbox, now=NOON) == ["in-2"]
    assert ids(inbox, now="2026-04-16T14:36:00.000Z") == []


def test_a_due_time_a_minute_ahead_is_due_sixty_one_seconds_later(host: Host, inbox: Inbox):
    """F-137"""
    host.insert("x", process_after="2026-04-16T14:38:01Z")
    assert ids(inbox, now=NOON) == []
    assert ids(inbox, now="2026-04-16T14:38:02.000Z") == ["in-2"]


@given(
    moment=st.datetimes(datetime.fromisoformat("2001-01-01"), datetime.fromisoformat("2099-01-01")),
    offset=st.integers(-14 * 60, 14 * 60),
    distance=st.integers(-100_000, 100_000),
    space=st.booleans(),
)
def test_times_compare_as_instants_whatever_their_form(moment: datetime, offset: int, distance: int, space: bool):
    """F-134…F-138: SQL's comparison of any form with the one format is that of the instants."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    due = moment + timedelta(seconds=distance)
    hours, minutes = divmod(abs(offset), 60)
    zone = f"{'-' if offset < 0 else '+'}{hours:02}:{minutes:02}"
    text = (due + timedelta(minutes=offset)).strftime(f"%Y-%m-%d{' ' if space else 'T'}%H:%M:%S") + zone
    sql = f"SELECT {clock.normalised(':due')} <= :now, {clock.normalised(':due')}"
    ((is_due, normal),) = (
        apsw.Connection(":memory:").execute(sql, {"due": text, "now": clock.to_text(moment)}).fetchall()
    )
    assert bool(is_due) == (due <= moment)
    assert normal == clock.to_text(due) == clock.to_text(clock.parse(text))


def test_waking_rows_are_seen_by_a_fresh_container_only(host: Host, inbox: Inbox):
    host.insert("x", identifier="wake", on_wake=True)
    host.insert("x", identifier="plain")
    assert ids(inbox, fresh=True) == ["wake", "plain"]
    assert ids(inbox, fresh=False) == ["plain"]


def test_acknowledged_rows_are_not_fetched_again(outbox: Outbox):
    """F-88, F-89: any entry counts, until it is dropped."""
    outbox.claim(["a", "b"])
    outbox.finish([], ["b"], 0)
    assert outbox.acknowledged(["a", "b", "c"]) == {"a", "b"}


def test_leftover_claims_are_dropped_and_completed_ones_stay(outbox: Outbox):
    """F-90"""
    outbox.claim(["begun", "done"])
    outbox.finish([], ["done"], 0)
    assert outbox.drop_claims() == ["begun"]
    assert outbox.acknowledged(["begun", "done"]) == {"done"}


def test_a_reply_keeps_its_address(host: Host, outbox: Outbox):
    """F-31, F-33"""
    outbox.finish([Reply("{}", "in-2", Address("telegram", "-100:7", "t")), Reply("{}")], [], 2)
    assert host.outbound(
        "SELECT in_reply_to, channel_type, platform_id, thread_id, deliver_after, kind FROM messages_out ORDER BY seq"
    ) == [("in-2", "telegram", "-100:7", "t", None, "chat"), (None, None, None, None, None, "chat")]
    assert all(clock.parse(str(row[0])) for row in host.outbound("SELECT timestamp FROM messages_out"))


def test_reply_and_acknowledgement_are_both_written_or_neither(host: Host, outbox: Outbox):
    outbox.claim(["in-2"])
    with pytest.raises(apsw.ConstraintError):
        outbox.finish([Reply("{}", "in-2"), Reply("{}", kind="nonsense")], ["in-2"], 2)
    assert host.replies() == []
    assert host.acks() == {"in-2": "processing"}
    outbox.finish([Reply('{"text": "ok"}')], ["in-2"], 2)
    assert host.replies() == ["ok"]


@given(st.lists(st.booleans(), max_size=60))
def test_numbers_of_both_sides_never_meet(tmp_path_factory: pytest.TempPathFactory, turns: list[bool]):
    """F-85, F-86, F-87: whatever the order, even and odd, distinct, later is greater."""
    host = Host(tmp_path_factory.mktemp("seq"))
    outbox = Outbox(host.places.outbound_db)
    inbox = Inbox(host.places.inbound_db)
    try:
        seen: list[int] = []
        for hosts_turn in turns:
            if hosts_turn:
                host.insert("x")
                seen.append(inbox.highest_seq())
                assert seen[-1] % 2 == 0
                continue
            outbox.finish([Reply("{}")], [], inbox.highest_seq())
            highest = host.outbound("SELECT max(seq) FROM messages_out")[0][0]
            assert isinstance(highest, int)
            assert highest % 2 == 1
            assert highest > max(seen, default=0)
            seen.append(highest)
        assert len(set(seen)) == len(seen)
    finally:
        outbox.close()
        host.close()


def test_first_numbers(host: Host, outbox: Outbox, inbox: Inbox):
    """F-86: 1 in an empty session; 3 after inbound 2."""
    outbox.finish([Reply("{}")], [], inbox.highest_seq())
    host.insert("x")
    outbox.finish([Reply("{}")], [], inbox.highest_seq())
    assert host.outbound("SELECT seq FROM messages_out ORDER BY seq") == [(1,), (3,)]


def test_the_inbox_cannot_be_written(host: Host, inbox: Inbox):
    """F-84, F-206: the runner's connection is read-only and unmapped."""
    with inbox._reading() as connection:
        assert connection.execute("PRAGMA mmap_size").get == 0
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute("DELETE FROM messages_in")


def test_both_files_keep_a_rollback_journal(host: Host, outbox: Outbox):
    """F-80: the outbox waits up to 5 s for a lock."""
    connection = outbox._connection
    assert connection.execute("PRAGMA journal_mode").get == "delete"
    assert connection.execute("PRAGMA busy_timeout").get == 5000
    assert connection.execute("PRAGMA synchronous").get == 3
    assert connection.execute("PRAGMA mmap_size").get == 0


def test_a_thousand_inserts_are_each_seen_at_once(host: Host, inbox: Inbox):
    """F-205: every insert by another connection is seen by the very next read."""
    host.inbound.execute("PRAGMA synchronous = OFF").fetchall()
    for number in range(1000):
        identifier = host.insert("x")
        assert inbox.highest_seq() == 2 * number + 2
        host.inbound.execute("UPDATE messages_in SET status = 'completed' WHERE id = ?", (identifier,))


def test_a_replaced_file_is_seen(host: Host, inbox: Inbox):
    """F-205"""
    host.insert("old")
    assert ids(inbox) == ["in-2"]
    host.places.inbound_db.unlink()
    with pytest.raises(NotYetError):
        ids(inbox)


def open_below(root: Path) -> int:
    """Count this process's descriptors of files below a directory."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += descriptor.readlink().is_relative_to(root)
    return found


def test_ten_thousand_reads_leave_no_descriptor(host: Host, inbox: Inbox):
    """F-207"""
    host.insert("x")
    inbox.highest_seq()
    # Of this test's own files only: what other tests have left to the garbage collector may go at any moment.
    before = open_below(host.root)
    for _ in range(3334):
        inbox.look(everything, now=NOON, fresh=True)
        inbox.highest_seq()
        inbox.routing()
    assert open_below(host.root) == before


def test_a_file_being_written_is_read_later(host: Host, inbox: Inbox):
    host.insert("x")
    host.inbound.execute("BEGIN EXCLUSIVE")
    with pytest.raises(NotYetError):
        ids(inbox)
    host.inbound.execute("COMMIT")
    assert ids(inbox) == ["in-2"]


def test_a_hot_journal_of_the_hosts_is_left_to_the_host(host: Host, inbox: Inbox):
    """A reader cannot roll back: it says not yet, and changes nothing."""
    host.insert("whole")
    make_hot_journal(host.places.inbound_db, "UPDATE messages_in SET content = 'half'")
    journal = Path(f"{host.places.inbound_db}-journal")
    with pytest.raises(NotYetError):
        ids(inbox)
    assert journal.stat().st_size > 0


def test_a_hot_journal_of_its_own_is_rolled_back_at_the_opening(host: Host):
    outbox = Outbox(host.places.outbound_db)
    outbox.finish([Reply('{"text": "whole"}')], [], 2)
    outbox.close()
    make_hot_journal(host.places.outbound_db, 'UPDATE messages_out SET content = \'{"text": "half"}\'')
    journal = Path(f"{host.places.outbound_db}-journal")
    assert journal.stat().st_size > 0
    Outbox(host.places.outbound_db).close()
    assert not journal.exists()
    assert host.replies() == ["whole"]


def make_hot_journal(database: Path, statement: str) -> None:
    """Kill a writer whose change has reached the file and whose journal is still there."""
    script = f"""
import apsw, os, signal
db = apsw.Connection({str(database)!r})
db.execute("PRAGMA journal_mode = DELETE").fetchall()
db.execute("PRAGMA cache_size = 1").fetchall()
db.execute("BEGIN IMMEDIATE")
db.execute({statement!r})
db.cache_flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9


def test_a_newer_contract_is_refused(host: Host):
    connection = apsw.Connection(str(host.places.outbound_db))
    connection.execute("PRAGMA user_version = 99").fetchall()
    connection.close()
    with pytest.raises(ContractError, match="99"):
        Outbox(host.places.outbound_db)


def test_a_row_by_itself_has_the_next_number(outbox: Outbox, host: Host):
    """F-85, F-86"""
    assert outbox.add(Reply("{}", kind="card"), 0) == 1
    outbox.finish([Reply("{}"), Reply("{}")], [], 4)
    assert outbox.add(Reply("{}", kind="system"), 4) == 9
    assert host.outbound("SELECT seq, kind FROM messages_out ORDER BY seq") == [
        *((1, "card"), (5, "chat"), (7, "chat"), (9, "system"))
    ]


def test_what_is_forgotten_goes_with_the_reply(outbox: Outbox, host: Host):
    for key in ("continuation:openai", "continuation:other", "continuation", "kept"):
        outbox.set_state(key, "x")
    outbox.finish([Reply('{"text": "done"}')], ["in-2"], 2, forget="continuation:")
    assert host.outbound("SELECT key FROM session_state ORDER BY key") == [("continuation",), ("kept",)]
    assert host.acks() == {"in-2": "completed"}


def test_state_is_kept(host: Host, outbox: Outbox):
    assert outbox.state("continuation:openai") is None
    outbox.set_state("continuation:openai", "a")
    outbox.set_state("continuation:openai", "b")
    assert outbox.state("continuation:openai") == "b"


def test_an_old_question_is_seen_behind_a_flood_of_context(host: Host, inbox: Inbox):
    host.inbound.execute("PRAGMA synchronous = OFF").fetchall()
    host.insert("question", identifier="question")
    with host.inbound:
        for _ in range(1500):
            host.insert("chatter", trigger=False)
    found = ids(inbox)
    assert found[0] == "question"
    assert len(found) == 1001


def test_an_answer_without_an_address_goes_to_the_sessions_chat(host: Host, inbox: Inbox):
    assert inbox.routing() is None
    host.inbound.execute("INSERT INTO session_routing VALUES (1, 'cli', 'terminal', NULL)")
    assert inbox.routing() == Address("cli", "terminal")
