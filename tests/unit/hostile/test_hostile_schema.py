"""``sqlite_schema`` of a container's database is not the contract's."""

import time

import apsw
import pytest
from hostile_stage import Victim

from nanoclaw_runner.contract.schema import OUTBOUND_DDL
from nanoclawd.sessions.hostile_vfs import DamagedError

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
ROWS = "'x' || i AS id, 2 * i + 1 AS seq, NULL AS in_reply_to, 't' AS timestamp, NULL AS deliver_after"
MORE = "'chat' AS kind, NULL AS channel_type, NULL AS platform_id, NULL AS thread_id, '{}' AS content"


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE messages_out", f"CREATE VIEW messages_out AS {ENDLESS} SELECT {ROWS}, {MORE} FROM n"),
        (
            "DROP TABLE processing_ack",
            f"CREATE VIEW processing_ack AS {ENDLESS} SELECT i AS message_id, 1 AS status FROM n",
        ),
        ("CREATE TRIGGER t AFTER INSERT ON messages_out BEGIN DELETE FROM messages_out; END",),
        ("DROP TABLE messages_out", "CREATE VIRTUAL TABLE messages_out USING fts5(id, seq, content)"),
        ("DROP TABLE messages_out", "CREATE TABLE messages_out (id, seq AS (length(hex(zeroblob(1e9)))), content)"),
        ("CREATE INDEX i ON messages_out (abs(seq))",),
        ("CREATE TABLE more (x)",),
        ("DROP TABLE container_state",),
        ("ALTER TABLE messages_out ADD COLUMN more TEXT",),
        ("ALTER TABLE messages_out DROP COLUMN thread_id",),
        ("ANALYZE",),
    ],
)
def test_another_object(victim: Victim, statements: tuple[str, ...]) -> None:
    victim.sql(*statements)
    began = time.monotonic()
    with pytest.raises(DamagedError):
        victim.read()
    assert time.monotonic() - began < 2


def test_a_table_in_name_and_a_view_in_words(victim: Victim) -> None:
    """The row still says ``table``, with the root page of one; what SQLite obeys are the words."""
    victim.forge_schema(("messages_out", f"CREATE VIEW messages_out AS {ENDLESS} SELECT {ROWS}, {MORE} FROM n"))
    with pytest.raises(DamagedError):
        victim.read()


def test_a_hundred_thousand_tables(victim: Victim) -> None:
    connection = apsw.Connection(str(victim.database))
    connection.execute("PRAGMA writable_schema = ON")
    with connection:
        connection.execute(
            f"{ENDLESS} INSERT INTO sqlite_schema SELECT 'table', 't' || i, 't' || i, 2,"
            " 'CREATE TABLE t' || i || ' (a, b, c, d, e)' FROM n LIMIT 100000"
        )
    connection.close()
    began = time.monotonic()
    with pytest.raises(DamagedError):
        victim.read()
    assert time.monotonic() - began < 30  # that it ends, on whatever machine


@pytest.mark.parametrize("size", [900_000, 5_000_000])
def test_one_endless_statement(victim: Victim, size: int) -> None:
    columns = ", ".join(f"c{n}" for n in range(1000))
    victim.forge_schema(("session_state", f"CREATE TABLE session_state ({columns}, CHECK (1{'+1' * (size // 2)}))"))
    began = time.monotonic()
    with pytest.raises(DamagedError):
        victim.read()
    assert time.monotonic() - began < 3


def test_tables_that_share_one_root_page(victim: Victim) -> None:
    """The words are the contract's, the pages are not: rows of one table read as another's."""
    connection = apsw.Connection(str(victim.database))
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(
        "UPDATE sqlite_schema SET rootpage ="
        " (SELECT rootpage FROM sqlite_schema WHERE name = 'processing_ack') WHERE name = 'messages_out'"
    )
    connection.close()
    try:
        found = victim.read(pending=("in-1",))
    except DamagedError:
        return
    assert all(row.seq > 0 for row in found.rows)


def test_utf16_is_read_or_refused(victim: Victim) -> None:
    victim.database.unlink()
    connection = apsw.Connection(str(victim.database))
    connection.execute("PRAGMA encoding = 'UTF-16le'")
    for statement in OUTBOUND_DDL:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO messages_out (id, seq, timestamp, kind, content)"
        " VALUES ('a', 1, 't', 'chat', CAST(x'00d83d00' AS TEXT))"
    )
    connection.close()
    try:
        found = victim.read()
    except DamagedError:
        return
    assert len(found.rows) == 1
