"""A container's database and the ways to spoil it; and a second process, where SQLite's locks need one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from nanoclaw_runner.contract.schema import OUTBOUND_DDL, apply_session_pragmas
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.outbound import Outbound, OutboundReader

TIMESTAMP = "2026-04-16T14:37:00.000Z"


@dataclass
class Victim:
    """A session whose container is about to do its worst."""

    paths: SessionPaths
    reader: OutboundReader

    @property
    def database(self) -> Path:
        return self.paths.outbound_db

    def beside(self, suffix: str) -> Path:
        return self.database.with_name(self.database.name + suffix)

    def read(self, *, after_seq: int = 0, pending: tuple[str, ...] = ()) -> Outbound:
        return self.reader.read(self.database, after_seq=after_seq, pending_ids=pending)

    def sql(self, *statements: str) -> None:
        """Run statements as the container may: the file is its own to write."""
        connection = apsw.Connection(str(self.database))
        try:
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
            for statement in statements:
                connection.execute(statement).fetchall()
        finally:
            connection.close()

    def forge_schema(self, *pairs: tuple[str, str]) -> None:
        """Replace what the schema says, keeping what the file holds: (name, new sql)."""
        connection = apsw.Connection(str(self.database))
        try:
            connection.execute("PRAGMA writable_schema = ON")
            for name, sql in pairs:
                connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, name))
        finally:
            connection.close()

    @contextmanager
    def loosened(self) -> Iterator[apsw.Connection]:
        """Have the tables without any constraint, write what should not be, and put the contract's words back."""
        free = [
            (ddl.split(" ", 3)[2], ddl.split("(", 1)[0] + "(" + columns)
            for ddl, columns in zip(OUTBOUND_DDL[:2], (_LOOSE_ROWS, _LOOSE_ACKS), strict=True)
        ]
        self.forge_schema(*free)
        connection = apsw.Connection(str(self.database))
        try:
            yield connection
        finally:
            connection.close()
        self.forge_schema(*((ddl.split(" ", 3)[2], ddl) for ddl in OUTBOUND_DDL[:2]))


_LOOSE_ROWS = (
    "id PRIMARY KEY, seq UNIQUE, in_reply_to, timestamp, deliver_after, kind, channel_type, platform_id, thread_id,"
    " content)"
)
_LOOSE_ACKS = "message_id PRIMARY KEY, status, changed_at)"

INSERT = (
    "INSERT INTO messages_out (id, seq, in_reply_to, timestamp, kind, channel_type, platform_id, thread_id, content)"
    " VALUES (?, ?, NULL, ?, 'chat', 'terminal', 'ada/main', NULL, ?)"
)


def fill(path: Path, rows: int, *, content: str = '{"text": "hello"}') -> None:
    """Write honest rows."""
    connection = apsw.Connection(str(path))
    apply_session_pragmas(connection)
    with connection:
        connection.executemany(INSERT, [(f"out-{n}", 2 * n + 1, TIMESTAMP, content) for n in range(rows)])
        connection.execute("INSERT INTO processing_ack VALUES ('in-1', 'completed', ?)", (TIMESTAMP,))
    connection.close()


def child_environment() -> dict[str, str]:
    """Let another Python find our modules where this one finds them."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def another_process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python elsewhere until it prints its first line, and end it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()
