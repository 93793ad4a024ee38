"""Rows with absurd values: bounded, and reported as bad rows or as damage; never another exception."""

from typing import Any

import apsw
import pytest
from hostile_stage import INSERT, TIMESTAMP, Victim

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, MAX_FIELD_BYTES, OutboundRow
from nanoclawd.sessions.hostile_vfs import DamagedError
from nanoclawd.sessions.outbound import BadRow, Outbound

COLUMNS = "id, seq, in_reply_to, timestamp, deliver_after, kind, channel_type, platform_id, thread_id, content"
GOOD: dict[str, Any] = {
    "id": "x",
    "seq": 101,
    "in_reply_to": None,
    "timestamp": TIMESTAMP,
    "deliver_after": None,
    "kind": "chat",
    "channel_type": "terminal",
    "platform_id": "ada/main",
    "thread_id": None,
    "content": "{}",
}


def look(victim: Victim, **changed: Any) -> Outbound:
    """Write one row with these values whatever the constraints say, and look."""
    values = GOOD | changed
    with victim.loosened() as connection:
        connection.execute(
            f"INSERT INTO messages_out ({COLUMNS}) VALUES ({', '.join('?' * 10)})", tuple(values.values())
        )
    return victim.read(after_seq=9)


def test_the_stage_writes_good_rows_too(victim: Victim) -> None:
    (row,) = look(victim).rows
    assert isinstance(row, OutboundRow)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("content", None),
        ("content", 7),
        ("content", 1.5),
        ("content", b"\xff\xfe"),
        ("content", "x" * (MAX_CONTENT_BYTES + 1)),
        ("timestamp", None),
        ("timestamp", 5),
        ("timestamp", b"now"),
        ("kind", "nothing"),
        ("kind", None),
        ("kind", 3),
        ("kind", b"chat"),
        ("in_reply_to", 5),
        ("in_reply_to", b"x"),
        ("in_reply_to", "x" * (MAX_FIELD_BYTES + 1)),
        ("deliver_after", 5),
        ("deliver_after", "x" * 300_000),
        ("channel_type", b"terminal"),
        ("platform_id", 1.5),
        ("platform_id", "é" * MAX_FIELD_BYTES),
        ("thread_id", "x" * 1_000_000),
        ("thread_id", "x" * 3_000_000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_bad_row_is_told_and_the_next_is_read(victim: Victim, column: str, value: Any) -> None:
    with victim.loosened() as connection:
        connection.execute(INSERT, ("good", 201, TIMESTAMP, "{}"))
    bad, good = look(victim, **{column: value}).rows
    assert isinstance(bad, BadRow)
    assert bad.reason
    assert isinstance(good, OutboundRow)
    assert good.id == "good"


def test_a_hundred_megabytes_are_a_bad_row(victim: Victim) -> None:
    with victim.loosened() as connection:
        connection.execute(INSERT, ("good", 201, TIMESTAMP, "{}"))
        connection.execute(INSERT, ("big", 101, TIMESTAMP, "x" * 100_000_000))
    bad, good = victim.read(after_seq=9).rows
    assert isinstance(bad, BadRow)
    assert "100000000 bytes" in bad.reason
    assert isinstance(good, OutboundRow)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", None),
        ("id", ""),
        ("id", 5),
        ("id", b"x"),
        ("id", "x" * (MAX_FIELD_BYTES + 1)),
        ("id", "x" * 3_000_000),
        ("seq", 102.5),
        ("seq", "102"),
        ("seq", b"102"),
        ("seq", 2**63 - 1),
        ("id", "notice-quarantine-in-1"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_row_without_a_usable_name_is_damage(victim: Victim, column: str, value: Any) -> None:
    with pytest.raises(DamagedError):
        look(victim, **{column: value})


@pytest.mark.parametrize("raw", [b"\xff\xfe\x80broken", b"\xed\xa0\x80"], ids=["bytes", "surrogate"])
@pytest.mark.parametrize("column", ["id", "content", "in_reply_to", "timestamp", "kind", "thread_id"])
def test_text_that_is_not_utf8(victim: Victim, column: str, raw: bytes) -> None:
    """SQLite stores any bytes as text."""
    values = dict.fromkeys(GOOD, "?") | {column: "CAST(? AS TEXT)"}
    with victim.loosened() as connection:
        connection.execute(
            f"INSERT INTO messages_out ({COLUMNS}) VALUES ({', '.join(values.values())})",
            tuple((GOOD | {column: raw}).values()),
        )
    with pytest.raises(DamagedError, match="UTF-8"):
        victim.read(after_seq=9)


def test_an_acknowledgement_that_is_not_utf8(victim: Victim) -> None:
    with victim.loosened() as connection:
        connection.execute("INSERT INTO processing_ack VALUES ('in-2', CAST(x'ff' AS TEXT), 't')")
    with pytest.raises(DamagedError, match="UTF-8"):
        victim.read(pending=("in-2",))


def test_acknowledgements_of_the_wrong_kind_are_none(victim: Victim) -> None:
    with victim.loosened() as connection:
        for number, status in enumerate([5, b"completed", None, "done", "COMPLETED", [][:0] or 1.5]):
            connection.execute("INSERT INTO processing_ack VALUES (?, ?, 't')", (f"bad-{number}", status))
    asked = tuple(f"bad-{number}" for number in range(6))
    assert victim.read(pending=asked).acks == {}


def test_nul_and_control_characters_arrive_as_they_are(victim: Victim) -> None:
    (row,) = look(victim, content='{"text": "a\0b\x1b[31m"}', thread_id="t\0\n").rows
    assert isinstance(row, OutboundRow)
    assert row.content == '{"text": "a\0b\x1b[31m"}'
    assert row.address is not None
    assert row.address.thread_id == "t\0\n"


@pytest.mark.parametrize("value", ["9999-99-99T99:99:99Z", "-1", "now", "", "\0", "1e400", "2026-13-45"])
def test_an_absurd_time_is_only_a_text_here(victim: Victim, value: str) -> None:
    (row,) = look(victim, timestamp=value, deliver_after=value).rows
    assert isinstance(row, OutboundRow)


@pytest.mark.parametrize("seq", [-(2**63), -5, 0, 2, 2**63 - 1])
def test_a_seq_out_of_place(victim: Victim, seq: int) -> None:
    """F-85: the container's are odd and above what was seen. Below the watermark nothing is read; even is a bad row."""
    try:
        rows = look(victim, seq=seq).rows
    except DamagedError:
        return
    assert all(row.seq > 9 for row in rows)


def test_an_even_seq_is_refused(victim: Victim) -> None:
    (row,) = look(victim, seq=100).rows
    assert isinstance(row, BadRow)


def test_the_same_seq_twice_by_an_index_that_lies(victim: Victim) -> None:
    """F-87: rows that an honest database cannot hold come once, or are damage."""
    connection = apsw.Connection(str(victim.database))
    connection.execute("PRAGMA writable_schema = ON")
    autoindexes = connection.execute(
        "SELECT type, name, tbl_name, rootpage FROM sqlite_schema WHERE sql IS NULL AND tbl_name = 'messages_out'"
    ).fetchall()
    ddl = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'messages_out'").get
    connection.execute("DELETE FROM sqlite_schema WHERE sql IS NULL AND tbl_name = 'messages_out'")
    connection.execute(
        "UPDATE sqlite_schema SET sql = ? WHERE name = 'messages_out'", (f"CREATE TABLE messages_out ({COLUMNS})",)
    )
    connection.close()
    connection = apsw.Connection(str(victim.database))
    connection.execute("UPDATE messages_out SET seq = 11, id = 'out-1'")
    connection.execute("PRAGMA writable_schema = ON")
    for row in autoindexes:
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, NULL)", row)
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'messages_out'", (ddl,))
    connection.close()
    try:
        rows = victim.read().rows
    except DamagedError:
        return
    assert len({row.seq for row in rows}) == len(rows)
    assert len({row.id for row in rows}) == len(rows)


def test_bad_rows_by_the_thousand_are_damage(victim: Victim) -> None:
    """Each is told to the person and to the agent: nobody wants a thousand of them, and the host's disk neither."""
    with victim.loosened() as connection, connection:
        connection.executemany(INSERT, [(f"bad-{n}", 2 * n + 101, TIMESTAMP, n) for n in range(1000)])
    with pytest.raises(DamagedError, match="bad rows"):
        victim.read(after_seq=9)
