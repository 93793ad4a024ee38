"""Reading a container's ``outbound.db``, bounded in every direction."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, MAX_FIELD_BYTES, Address, OutboundRow
from nanoclaw_runner.contract.schema import OUTBOUND_DDL
from nanoclawd.sessions.hostile_vfs import DamagedError, HostileVfs, NotNowError

MAX_ROWS_PER_READ: Final = 200
MAX_BYTES_PER_READ: Final = 4 * 1024 * 1024
"""One look takes no more content than this along (and one row at least)."""

MAX_BAD_ROWS_PER_READ: Final = 20
"""Each is told to the person and kept for the agent; a container that writes more is not mistaken, but hostile."""

MAX_SEQ: Final = 2**53
"""No conversation gets here; a row that did would hide all later ones behind the watermark."""

NOTICE_ID_PREFIX: Final = "notice-"
"""Ids of the host's own notices, which share ``delivered`` with rows: a row named like one would suppress it."""

_MAX_VALUE_BYTES: Final = 1024 * 1024
_MAX_SQL_BYTES: Final = 64 * 1024
_CPU_SECONDS: Final = 0.5
_STEPS_BETWEEN_CLOCKS: Final = 2000
_KINDS: Final = frozenset({"chat", "card", "system"})
_ACKS: Final = frozenset({"processing", "completed", "failed"})

_SCHEMA = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid LIMIT ?"


def _bounded(column: str) -> str:
    """Return the SQL that reads a short column, and an empty blob, which is no text, in place of a long one."""
    return f"CASE WHEN octet_length({column}) > :field THEN zeroblob(0) ELSE {column} END"


_FIELDS = ("kind", "timestamp", "in_reply_to", "deliver_after", "channel_type", "platform_id", "thread_id")
_ROWS = f"""SELECT {_bounded("id")}, seq, octet_length(content),
  CASE WHEN octet_length(content) <= :content THEN content END, {", ".join(map(_bounded, _FIELDS))}
FROM messages_out WHERE seq > :after ORDER BY seq LIMIT :rows"""
_IDS = f"SELECT seq, {_bounded('id')} FROM messages_out WHERE seq IN (SELECT value FROM json_each(:seqs))"
_ACK_ROWS = "SELECT message_id, status FROM processing_ack WHERE message_id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be delivered, and why. It is reported once, like a failed delivery."""

    id: str
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """What a look at ``outbound.db`` found.

    Attributes:
        rows: good and bad rows above the watermark, by seq.
        acks: inbound id → processing, completed or failed, of the ids that were asked for.
        more: there are rows beyond the bound of one look.
    """

    rows: tuple[OutboundRow | BadRow, ...]
    acks: dict[str, str]
    more: bool


class OutboundReader:
    """Reads container databases through :class:`HostileVfs`; one for the whole process, used from threads."""

    def __init__(self) -> None:
        self._vfs = HostileVfs()

    def read(self, path: Path, *, after_seq: int, pending_ids: Iterable[str]) -> Outbound:
        """Read the rows above a seq and the acknowledgements of some inbound ids.

        Raises:
            DamagedError: the database breaks the contract.
            NotNowError: a write is under way, or a journal waits for the runner.
        """
        with self._connection(path) as connection:
            rows, more = _rows(connection, after_seq)
            found = dict(connection.execute(_ACK_ROWS, (json.dumps(list(pending_ids)),)))
        acks = {str(key): status for key, status in found.items() if status in _ACKS}
        return Outbound(rows, acks, more=more)

    def ids_of(self, path: Path, seqs: Iterable[int]) -> dict[int, str]:
        """Read the ids of rows by their numbers; the container may have changed both since they were delivered.

        Raises:
            DamagedError: the database breaks the contract.
            NotNowError: a write is under way, or a journal waits for the runner.
        """
        bindings: dict[str, str | int] = {"seqs": json.dumps(list(seqs)), "field": MAX_FIELD_BYTES}
        with self._connection(path) as connection:
            found = connection.execute(_IDS, bindings).fetchall()
        return {seq: row_id for seq, row_id in found if isinstance(seq, int) and isinstance(row_id, str) and row_id}

    @contextmanager
    def _connection(self, path: Path) -> Iterator[apsw.Connection]:
        ticket = self._vfs.admit(path)
        connection: apsw.Connection | None = None
        try:
            connection = apsw.Connection(ticket, flags=apsw.SQLITE_OPEN_READONLY, vfs=self._vfs.name)
            _bound(connection)
            with connection:
                _check_schema(connection)
                yield connection
        except (apsw.BusyError, apsw.LockedError) as error:
            raise NotNowError(str(error)) from error
        except apsw.InterruptError as error:
            raise DamagedError("outbound.db takes too long to read") from error
        except UnicodeDecodeError as error:
            raise DamagedError("outbound.db has text that is not UTF-8") from error
        except apsw.Error as error:
            raise DamagedError(f"outbound.db can't be read: {error}") from error
        finally:
            self._vfs.forget(ticket)
            if connection is not None:
                connection.close()


def _bound(connection: apsw.Connection) -> None:
    """Take away what an attacker's schema could use, and bound time and size."""
    connection.set_busy_timeout(0)
    for setting, value in (
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 1),
        (apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    ):
        connection.config(setting, value)
    # A container that writes without taking locks can change the schema between our look at it and its use. What is
    # left to it then are expressions in a table's definition, and native functions that no deadline interrupts.
    for limit, value in (
        (apsw.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES),
        (apsw.SQLITE_LIMIT_SQL_LENGTH, _MAX_SQL_BYTES),
        (apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1),
        (apsw.SQLITE_LIMIT_EXPR_DEPTH, 50),
        (apsw.SQLITE_LIMIT_COLUMN, 100),
        (apsw.SQLITE_LIMIT_FUNCTION_ARG, 8),
        (apsw.SQLITE_LIMIT_ATTACHED, 0),
    ):
        connection.limit(limit, value)
    connection.execute("PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON").fetchall()
    # Processor time of this thread: a slow disk or a busy machine is not the container's fault, and the job around
    # this has a deadline of its own.
    ends = time.thread_time() + _CPU_SECONDS
    connection.set_progress_handler(lambda: time.thread_time() > ends, _STEPS_BETWEEN_CLOCKS)


def _check_schema(connection: apsw.Connection) -> None:
    found = [row[0] for row in connection.execute(_SCHEMA, (len(OUTBOUND_DDL) + 1,))]
    if tuple(found) != OUTBOUND_DDL:
        raise DamagedError("outbound.db has another schema than the contract's")


def _rows(connection: apsw.Connection, after_seq: int) -> tuple[tuple[OutboundRow | BadRow, ...], bool]:
    """Return the rows above a seq as far as one look takes them along, and whether there are more."""
    bindings = {
        "content": MAX_CONTENT_BYTES,
        "field": MAX_FIELD_BYTES,
        "after": after_seq,
        "rows": MAX_ROWS_PER_READ,
    }
    rows: list[OutboundRow | BadRow] = []
    ids: set[str] = set()
    size = bad = 0
    for found in connection.execute(_ROWS, bindings):
        row = _row(found)
        # An index that lies can hold what the table's constraints forbid.
        if row.seq <= (rows[-1].seq if rows else after_seq) or row.id in ids:
            raise DamagedError("outbound.db has a row twice")
        rows.append(row)
        ids.add(row.id)
        if isinstance(row, BadRow):
            bad += 1
            if bad > MAX_BAD_ROWS_PER_READ:
                raise DamagedError(f"outbound.db has more than {MAX_BAD_ROWS_PER_READ} bad rows at once")
            continue
        size += len(row.content)
        if size > MAX_BYTES_PER_READ:
            return tuple(rows), True
    return tuple(rows), len(rows) == MAX_ROWS_PER_READ


def _row(row: tuple[object, ...]) -> OutboundRow | BadRow:
    row_id, seq, size, content, kind, timestamp, in_reply_to, deliver_after, channel, platform, thread = row
    if not isinstance(row_id, str) or not isinstance(seq, int) or not row_id or not 0 < seq <= MAX_SEQ:
        raise DamagedError("outbound.db has a row without a usable id")
    if row_id.startswith(NOTICE_ID_PREFIX):
        raise DamagedError("outbound.db has a row that claims to be the host's")
    if seq % 2 == 0:
        return BadRow(row_id, seq, "its number is one of the host's")
    if content is None:
        if size is None:
            return BadRow(row_id, seq, "it has no content")
        return BadRow(row_id, seq, f"its content has {size} bytes, the limit is {MAX_CONTENT_BYTES}")
    optional = (in_reply_to, deliver_after, channel, platform, thread)
    if not all(value is None or isinstance(value, str) for value in optional):
        return BadRow(row_id, seq, "a field is too long or of the wrong type")
    if not isinstance(content, str) or not isinstance(timestamp, str) or kind not in _KINDS:
        return BadRow(row_id, seq, "a field has the wrong type")
    return OutboundRow(
        id=row_id,
        seq=seq,
        kind=str(kind),
        timestamp=timestamp,
        content=content,
        in_reply_to=_text(in_reply_to),
        deliver_after=_text(deliver_after),
        address=None if channel is None or platform is None else Address(str(channel), str(platform), _text(thread)),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
