"""The host's database of a session: what is stored, in which order, and what a failed try does to it."""

import json
import tempfile
from datetime import timedelta
from pathlib import Path

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from session_stage import CHAT, message, said

from nanoclaw_runner.contract import clock, sequence
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.store.inbox import Inbox
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.directory import make
from nanoclawd.sessions.inbound import Delivery, Inbound, Notice, Pending


def insert(inbound: Inbound, identifier: str, **columns: object) -> None:
    """Insert a row that the daemon's own methods would not write so."""
    values: dict[str, object] = {
        "id": identifier,
        "seq": 2 + 2 * inbound._connection.execute("SELECT count(*) FROM messages_in").get,
        "kind": "chat",
        "timestamp": clock.now_text(),
        "series_id": identifier,
        "content": said(identifier),
        **columns,
    }
    inbound._connection.execute(
        f"INSERT INTO messages_in ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        tuple(values.values()),  # type: ignore[arg-type]  # plain values
    )


def ids(rows: list[Pending]) -> list[str]:
    return [row.id for row in rows]


def seqs(inbound: Inbound) -> list[int]:
    return [row[0] for row in inbound._connection.execute("SELECT seq FROM messages_in ORDER BY rowid")]


def test_only_unfinished_messages_are_pending(inbound: Inbound):
    """F-27"""
    for status in ("pending", "completed", "failed", "paused"):
        insert(inbound, status, status=status)
    assert ids(inbound.pending()) == ["pending"]


def test_a_delayed_message_is_not_due(inbound: Inbound):
    """F-28"""
    for name, shift in (("later", 60.0), ("past", -60.0)):
        inbound.append(message(name, process_after=clock.now_text(plus_seconds=shift)))
    inbound.append(message("now"))
    moment = clock.now_text()
    assert [row.id for row in inbound.pending() if row.due(moment)] == ["past", "now"]


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_messages_way(inbound: Inbound, outcome: str):
    """F-29, F-91: pending until its acknowledgement is taken over; then what that says, for good."""
    assert inbound.status_of("m") is None
    inbound.append(message("m"))
    assert inbound.status_of("m") == "pending"
    inbound.record((), acks={"m": outcome})
    assert inbound.status_of("m") == outcome
    assert inbound.pending() == []
    inbound.record((), acks={"m": "completed" if outcome == "failed" else "failed"})
    assert inbound.status_of("m") == outcome


def test_no_number_of_context_rows_hides_a_question(inbound: Inbound):
    """What was accumulated in a lively chat is not what a session is woken for: what asks, is."""
    for number in range(1100):
        insert(inbound, f"c{number}", trigger=0)
    inbound.append(message("asked"))
    insert(inbound, "later", trigger=0)
    found = inbound.pending()
    assert [row.id for row in found if row.trigger] == ["asked"]
    assert (found[0].id, found[-2].id, found[-1].id, len(found)) == ("c101", "asked", "later", 1001)


def test_an_acknowledgement_of_nothing_is_nothing(inbound: Inbound):
    inbound.record((), acks={"nobody": "completed"})
    assert inbound.pending() == []


def test_an_answer_is_found_by_its_question(inbound: Inbound, paths: SessionPaths):
    """F-30: by the agent's own name for it, also once it was seen; F-207: no descriptor is left behind by a look."""
    content = json.dumps({"type": "question_response", "reference": "q1", "value": "yes"})
    other = {"type": "question_response", "text": "reference q1", "reference": "q1"}
    inbound.append(message("chat", content=json.dumps(other)))
    inbound.append(message("note", kind="system", content=json.dumps({**other, "type": "note"})))
    inbound.append(message("broken", kind="system", content="q1"))
    inbound.append(message("answer", kind="system", content=content))
    inbox = Inbox(paths.inbound_db)
    assert inbox.answer("q0") is None
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    found = inbox.answer("q1")
    assert found is not None
    assert (found.id, found.content) == ("answer", content)
    assert inbox.answer("q") is None
    assert inbox.answer("%") is None
    inbound.record((), acks={"answer": "completed"})
    assert inbox.answer("q1") == found
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_message_told_twice_is_one_row(inbound: Inbound):
    """Also when the first has been answered meanwhile, and the second says something else."""
    assert inbound.append(message("m"))
    assert not inbound.append(message("m"))
    inbound.record((), acks={"m": "completed"})
    assert not inbound.append(message("m", content=said("changed")))
    assert inbound.pending() == []
    assert inbound._connection.execute("SELECT content FROM messages_in").fetchall() == [(said("m"),)]


@pytest.mark.parametrize("fault", [{"kind": "gossip"}, {"process_after": "tomorrow"}, {"id": None}, {"content": None}])
def test_a_row_that_breaks_a_rule_is_not_dropped_silently(inbound: Inbound, fault: dict[str, object]):
    """It is not "stored before": whoever sent it must hear of it."""
    with pytest.raises((apsw.ConstraintError, ValueError)):
        inbound.append(message("m", **fault))
    assert inbound.pending() == []


def test_a_notice_that_breaks_a_rule_is_not_dropped_silently(inbound: Inbound):
    with pytest.raises(apsw.ConstraintError):
        inbound.add_notice(Notice("n", None, CHAT, clock.now_text()))  # type: ignore[arg-type]  # the fault
    inbound.add_notice(Notice("n", "words", CHAT, clock.now_text()))
    inbound.add_notice(Notice("n", "other words", CHAT, clock.now_text()))
    assert [(notice.id, notice.text) for notice in inbound.undelivered_notices()] == [("n", "words")]


def test_a_message_starts_a_turn_unless_it_is_said_otherwise(inbound: Inbound):
    """F-168: in the schema, too."""
    insert(inbound, "raw")
    inbound.append(message("plain"))
    inbound.append(message("context", trigger=False))
    assert [(row.id, row.trigger) for row in inbound.pending()] == [("raw", True), ("plain", True), ("context", False)]
    with pytest.raises(apsw.ConstraintError):
        insert(inbound, "neither", trigger=2)


def test_everything_of_a_message_is_kept(inbound: Inbound):
    address = Address("telegram", "-100", "topic 7")
    inbound.append(
        message("m", address=address, content=said("größer"), kind="task", platform_message_id="77", on_wake=True)
    )
    (found,) = inbound.pending()
    assert (found.address, inbound.content_of("m"), found.tries) == (address, said("größer"), 0)
    row = inbound._connection.execute("SELECT kind, platform_message_id, on_wake FROM messages_in").fetchall()
    assert row == [("task", "77", 1)]
    assert abs(clock.now() - clock.parse(found.timestamp)) < timedelta(seconds=10)


def test_first_numbers(inbound: Inbound):
    """F-86: the host begins with 2; the container with 1, or with 3 after the host's 2."""
    assert sequence.next_container_seq(0, 0) == 1
    inbound.append(message("m"))
    assert seqs(inbound) == [2]
    assert sequence.next_container_seq(2, 0) == 3


@given(st.lists(st.sampled_from(["host", "container"]), max_size=60))
@example(["host", "container"] * 100)
def test_both_sides_number_apart(turns: list[str]):
    """F-85, F-87: host even, container odd, all distinct; a row of the container's is above all that it has seen."""
    with tempfile.TemporaryDirectory() as directory:
        paths = SessionPaths(Path(directory) / "main" / "abcdefghijkl")
        make(paths)
        inbound = Inbound(paths.inbound_db)
        theirs: list[int] = []
        for number, side in enumerate(turns):
            if side == "host":
                inbound.append(message(f"m{number}"))
                continue
            highest = inbound._connection.execute("SELECT coalesce(max(seq), 0) FROM messages_in").get
            theirs.append(sequence.next_container_seq(highest, max(theirs, default=0)))
            assert theirs[-1] > highest
        ours = seqs(inbound)
        inbound.close()
    assert len(ours) == turns.count("host")
    assert all(seq % 2 == 0 for seq in ours)
    assert all(seq % 2 == 1 for seq in theirs)
    assert ours == sorted(set(ours))
    assert theirs == sorted(set(theirs))


def test_the_schema_keeps_the_sides_apart(inbound: Inbound):
    """F-85: an odd number is never the host's."""
    for seq in (1, 0, -2, 3):
        with pytest.raises(apsw.ConstraintError):
            insert(inbound, "m", seq=seq)


def test_back_off(inbound: Inbound):
    """F-96, F-97: 5, 10, 20, 40, 80 s after the tries one to five; then it has failed."""
    inbound.append(message("m"))
    for expected in (5, 10, 20, 40, 80):
        begun = clock.now()
        (outcome,) = inbound.retry(inbound.pending())
        ended = clock.now()
        assert not outcome.failed
        (row,) = inbound.pending()
        after = clock.parse(row.process_after or "")
        shortest = timedelta(seconds=expected, milliseconds=-1)  # the format has whole milliseconds
        assert begun + shortest <= after <= ended + timedelta(seconds=expected)
        assert not row.due(clock.to_text(ended))
        assert row.due(clock.to_text(ended + timedelta(seconds=expected)))
    (outcome,) = inbound.retry(inbound.pending())
    assert outcome.failed
    assert inbound.status_of("m") == "failed"
    assert inbound.pending() == []


def test_nothing_is_claimed_nothing_is_retried(inbound: Inbound):
    """F-95"""
    inbound.append(message("m"))
    before = inbound.pending()
    assert inbound.retry([]) == []
    assert inbound.pending() == before


def test_a_message_that_was_answered_after_all_is_not_retried(inbound: Inbound):
    """Its completion was found between the look and the count."""
    inbound.append(message("m"))
    looked_at = inbound.pending()
    inbound.record((), acks={"m": "completed"})
    inbound.retry(looked_at)
    assert inbound.status_of("m") == "completed"
    assert inbound._connection.execute("SELECT tries, process_after FROM messages_in").fetchall() == [(0, None)]


def test_after_a_jump_only_retries_come_forward(inbound: Inbound):
    """A time that somebody chose stays."""
    far = clock.now_text(plus_seconds=3600)
    latest = clock.now_text(plus_seconds=80)
    inbound.append(message("chosen", process_after=far))
    insert(inbound, "retry", tries=2, process_after=far)
    insert(inbound, "soon", tries=1, process_after="2020-01-01 00:00:00")
    insert(inbound, "done", tries=2, process_after=far, status="failed")
    inbound.bring_forward(latest)
    rows = dict(inbound._connection.execute("SELECT id, process_after FROM messages_in"))
    assert rows == {"chosen": far, "retry": latest, "soon": "2020-01-01 00:00:00", "done": far}


def test_delivered_is_known_on_the_hosts_side(inbound: Inbound, paths: SessionPaths):
    """F-98: in the host's file; the container's is not touched."""
    before = (paths.outbound_db.read_bytes(), paths.outbound_db.stat().st_mtime_ns)
    outcome = Delivery("out-1", "delivered", attempts=2, platform_message_id="77")
    inbound.record([Delivery("out-1", "sending", attempts=2)])
    inbound.record([outcome], watermark=3)
    assert inbound.deliveries(["out-1", "out-2"]) == {"out-1": outcome}
    assert inbound.watermark() == 3
    assert (paths.outbound_db.read_bytes(), paths.outbound_db.stat().st_mtime_ns) == before
    inbound.reset_watermark()
    assert inbound.watermark() == 0


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=8, unique=True))
@example(["a\x00b", "a"])
@example(['"', "\\", "'", "\n", "\x7f", "\U0001f980"])
def test_what_was_recorded_is_found_under_any_id(names: list[str]):
    """The container chooses these ids: one that is not found again would be delivered again and again."""
    with tempfile.TemporaryDirectory() as directory:
        paths = SessionPaths(Path(directory) / "main" / "abcdefghijkl")
        make(paths)
        inbound = Inbound(paths.inbound_db)
        inbound.record([Delivery(name, "delivered", attempts=1) for name in names])
        assert set(inbound.deliveries(names)) == set(names)
        inbound.close()


def test_notices_in_order_until_they_are_delivered(inbound: Inbound):
    for number in range(4):
        inbound.add_notice(Notice(f"n{number}", str(number), CHAT, clock.now_text(), in_reply_to="m"))
    inbound.record([Delivery("n0", "delivered"), Delivery("n1", "failed"), Delivery("n2", "sending")])
    found = inbound.undelivered_notices()
    assert [(notice.id, notice.address, notice.in_reply_to) for notice in found] == [
        ("n2", CHAT, "m"),
        ("n3", CHAT, "m"),
    ]


def test_the_sessions_own_chat_is_projected(inbound: Inbound):
    for address in (CHAT, CHAT, Address("irc", "#den", "t"), None):
        inbound.set_routing(address)
        found = inbound._connection.execute(
            "SELECT channel_type, platform_id, thread_id FROM session_routing"
        ).fetchall()
        expected = (address.channel_type, address.platform_id, address.thread_id) if address else (None, None, None)
        assert found == [expected]


def test_rollback_journal_and_no_mapping(inbound: Inbound, paths: SessionPaths):
    """F-35, F-206: on both files."""
    outbound = apsw.Connection(str(paths.outbound_db))
    for connection in (inbound._connection, outbound):
        assert connection.execute("PRAGMA journal_mode").get == "delete"
    assert inbound._connection.execute("PRAGMA mmap_size").get == 0
    assert inbound._connection.execute("PRAGMA synchronous").get == 3
    outbound.close()


def test_both_files_are_there(paths: SessionPaths):
    """F-83: with the modes that keep the container from replacing either."""
    assert paths.inbound_db.is_file()
    assert paths.outbound_db.is_file()
    modes = {path: path.stat().st_mode & 0o7777 for path in (paths.inbound, paths.outbound, paths.outbound_db)}
    assert modes == {paths.inbound: 0o750, paths.outbound: 0o1770, paths.outbound_db: 0o660}
    assert (paths.outbound / "files").stat().st_mode & 0o7777 == 0o770


def test_making_again_keeps_what_is_there(paths: SessionPaths, inbound: Inbound):
    inbound.append(message("m"))
    make(paths)
    assert ids(inbound.pending()) == ["m"]


def test_what_a_crash_left_half_made_is_made_anew(tmp_path: Path):
    paths = SessionPaths(tmp_path / "main" / "abcdefghijkl")
    paths.root.mkdir(parents=True)
    (paths.root / ".inbound.db.draft").write_bytes(b"half")
    (paths.root / ".inbound.db.draft-journal").write_bytes(b"half")
    make(paths)
    inbound = Inbound(paths.inbound_db)
    assert inbound.append(message("m"))
    inbound.close()
    assert sorted(path.name for path in paths.root.iterdir()) == ["home", "in", "out"]
