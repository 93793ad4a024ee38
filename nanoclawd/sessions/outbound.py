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
MAX_VALUE_BYTES: Final = 1024 * 1024
_DEADLINE_SECONDS: Final = 0.5
_STEPS_BETWEEN_CLOCKS: Final = 2000
_KINDS: Final = frozenset({"chat", "card", "system"})
_ACKS: Final = frozenset({"processing", "completed", "failed"})

_SCHEMA = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid LIMIT ?"
_ROWS = """SELECT id, seq, octet_length(content), CASE WHEN octet_length(content) <= :content THEN content END,
  kind, timestamp, in_reply_to, deliver_after, channel_type, platform_id, thread_id
FROM messages_out WHERE seq > :after ORDER BY seq LIMIT :rows"""
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
            rows = list(connection.execute(_ROWS, _bindings(after_seq)))
            found = dict(connection.execute(_ACK_ROWS, (json.dumps(list(pending_ids)),)))
        acks = {str(key): status for key, status in found.items() if status in _ACKS}
        return Outbound(tuple(_row(row) for row in rows), acks, more=len(rows) == MAX_ROWS_PER_READ)

    @contextmanager
    def _connection(self, path: Path) -> Iterator[apsw.Connection]:
        ticket = self._vfs.admit(path)
        connection: apsw.Connection | None = None
        try:
            connection = apsw.Connection(ticket, flags=apsw.SQLITE_OPEN_READONLY, vfs=HostileVfs.NAME)
            _bound(connection)
            with connection:
                _check_schema(connection)
                yield connection
        except (apsw.BusyError, apsw.LockedError) as error:
            raise NotNowError(str(error)) from error
        except apsw.InterruptError as error:
            raise DamagedError("outbound.db could not be read in time") from error
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
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.execute("PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON").fetchall()
    ends = time.monotonic() + _DEADLINE_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > ends, _STEPS_BETWEEN_CLOCKS)


def _check_schema(connection: apsw.Connection) -> None:
    found = [row[0] for row in connection.execute(_SCHEMA, (len(OUTBOUND_DDL) + 1,))]
    if tuple(found) != OUTBOUND_DDL:
        raise DamagedError("outbound.db has another schema than the contract's")


def _bindings(after_seq: int) -> dict[str, int]:
    return {"content": MAX_CONTENT_BYTES, "after": after_seq, "rows": MAX_ROWS_PER_READ}


def _row(row: tuple[object, ...]) -> OutboundRow | BadRow:
    row_id, seq, size, content, kind, timestamp, in_reply_to, deliver_after, channel, platform, thread = row
    if not isinstance(row_id, str) or not isinstance(seq, int) or not 0 < len(row_id) <= MAX_FIELD_BYTES:
        raise DamagedError("outbound.db has a row without a usable id")
    if content is None:
        return BadRow(row_id, seq, f"its content has {size} bytes, the limit is {MAX_CONTENT_BYTES}")
    optional = (in_reply_to, deliver_after, channel, platform, thread)
    if not all(value is None or (isinstance(value, str) and len(value) <= MAX_FIELD_BYTES) for value in optional):
        return BadRow(row_id, seq, "a field is too long or of the wrong type")
    if not isinstance(content, str) or not isinstance(timestamp, str) or kind not in _KINDS:
        return BadRow(row_id, seq, "a field has the wrong type")
    return OutboundRow(
        id=row_id,
        seq=seq,
        kind=str(kind),
        timestamp=timestamp[:MAX_FIELD_BYTES],
        content=content,
        in_reply_to=_text(in_reply_to),
        deliver_after=_text(deliver_after),
        address=None if channel is None or platform is None else Address(str(channel), str(platform), _text(thread)),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
