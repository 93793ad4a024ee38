"""``inbound.db``: the host's file, read through a read-only mount.

Each read finishes its statements at once: no lock is held across an await, so a commit of the host's is blocked for no
longer than a read takes. The connection is kept from read to read (opening it costs as much as reading), and opened
anew where another file lies under the name.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import apsw

from nanoclaw_runner.contract.clock import normalised
from nanoclaw_runner.contract.rows import Address, InboundRow
from nanoclaw_runner.contract.schema import WAITING
from nanoclaw_runner.selection import Candidate
from nanoclaw_runner.store import address_of, whole_number
from nanoclaw_runner.system_rows import CONTROL_REPLY, QUESTION_RESPONSE, command_name

WINDOW_ROWS = 1000
"""Rows of either sort (asking, context) that one look takes in; a prompt has far fewer."""

_NOT_YET = (apsw.BusyError, apsw.ReadOnlyError, apsw.CantOpenError)

_PENDING = f"{WAITING} AND status = 'pending'"
_DUE = f"(process_after IS NULL OR {normalised('process_after')} <= :now)"


def _of_system(key: str) -> str:
    return f"CASE WHEN kind = 'system' AND json_valid(content) THEN json_extract(content, '$.{key}') END"


_COLUMNS = f"""id, seq, trigger, on_wake, kind, channel_type, platform_id, thread_id,
    {_of_system("type")}, {_of_system("name")}, {_of_system("requestId")}, {_of_system("reference")}"""
# Questions oldest first and context newest first, each within its own window, so that neither hides the other.
_CANDIDATES = f"""
SELECT * FROM (
  SELECT {_COLUMNS} FROM messages_in
  WHERE {_PENDING} AND trigger = 1 AND (on_wake = 0 OR :fresh) AND {_DUE}
  ORDER BY seq LIMIT {WINDOW_ROWS})
UNION ALL SELECT * FROM (
  SELECT {_COLUMNS} FROM messages_in
  WHERE {_PENDING} AND trigger = 0 AND (on_wake = 0 OR :fresh) AND {_DUE}
  ORDER BY seq DESC LIMIT {WINDOW_ROWS})
"""
_NEXT_DUE = f"""
SELECT min({normalised("process_after")}) FROM messages_in
WHERE {_PENDING} AND trigger = 1 AND {normalised("process_after")} > :now
"""
_ROWS = """
SELECT id, seq, kind, timestamp, content, trigger, on_wake, tries, channel_type, platform_id, thread_id
FROM messages_in WHERE id IN (SELECT value FROM json_each(?)) ORDER BY seq
"""
_ANSWER = """
SELECT id, seq, kind, timestamp, content, trigger, on_wake, tries, channel_type, platform_id, thread_id
FROM messages_in WHERE kind = 'system' AND json_valid(content)
AND json_extract(content, '$.type') = 'question_response' AND json_extract(content, '$.reference') = ?
ORDER BY seq LIMIT 1
"""

_OUTCOME = "SELECT status, attempts, reason FROM delivered WHERE message_out_id = ? AND status <> 'sending'"
_CONTROL_REPLY = "SELECT json_extract(content, '$.frame') FROM messages_in WHERE id = ? AND json_valid(content)"


_DESTINATIONS = """
SELECT name, display_name, coalesce(channel_type, 'agent'), coalesce(platform_id, agent_group)
FROM destinations ORDER BY name LIMIT 500
"""
_ROUTING = "SELECT channel_type, platform_id, thread_id FROM session_routing WHERE id = 1"
# Of a long conversation only the end is looked at: what is older is not gone on with.
_NEWEST = f"""
SELECT thread_id, id FROM (
  SELECT * FROM (SELECT seq, id, channel_type, platform_id, thread_id FROM messages_in ORDER BY seq DESC
                 LIMIT {WINDOW_ROWS})
  WHERE channel_type = ? AND platform_id = ?) ORDER BY seq DESC LIMIT 1
"""

_NUMBER = f"""
SELECT seq FROM (SELECT seq, platform_message_id, channel_type, platform_id FROM messages_in ORDER BY seq DESC
                 LIMIT {WINDOW_ROWS})
WHERE platform_message_id = ?1 AND channel_type = ?2 AND platform_id = ?3
"""
_SENT = f"""
SELECT message_out_id FROM (SELECT message_out_id, platform_message_id, channel_type, platform_id FROM delivered
                            ORDER BY rowid DESC LIMIT {WINDOW_ROWS})
WHERE platform_message_id = ?1 AND channel_type = ?2 AND platform_id = ?3
"""


class NotYetError(Exception):
    """The host is writing, or has yet to mend its file: look again later."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the inbox gave.

    Attributes:
        rows: the chosen rows, oldest first.
        next_due: the earliest due time that is still ahead, in the contract's one format.
    """

    rows: tuple[InboundRow, ...]
    next_due: str | None


@dataclass(frozen=True, slots=True)
class Directory:
    """Where a session belongs, and where else its agent may write to.

    Attributes:
        own: the session's own chat, None for a session of all chats.
        entries: name, name for people, and address of each destination, by name.
    """

    own: Address | None
    entries: tuple[tuple[str, str, Address], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the host knows of the delivery of a row.

    Attributes:
        status: ``delivered``, ``failed``, or ``pending``: it waits.
        attempts: how many there were; 0 and pending: nobody can be reached there now, or it is not to go yet.
        reason: why it has failed, or waits; may be empty.
    """

    status: str
    attempts: int
    reason: str


class Inbox:
    """Reads of ``inbound.db``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._file: tuple[int, int] | None = None

    def look(self, choose: Callable[[Sequence[Candidate]], Sequence[Candidate]], *, now: str, fresh: bool) -> Look:
        """Return the rows that ``choose`` takes of those that are pending and due.

        Args:
            choose: narrows the candidates down; it runs while the file is open, so it must be quick and not await.
            now: the present moment in the contract's one format.
            fresh: also show the rows that only a fresh container sees.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(_CANDIDATES, {"now": now, "fresh": int(fresh)}).fetchall()
            candidates = [_candidate(row) for row in found]
            chosen = [candidate.id for candidate in choose(candidates)] if candidates else []
            rows = connection.execute(_ROWS, (dumps(chosen),)).fetchall() if chosen else []
            next_due = connection.execute(_NEXT_DUE, {"now": now}).get
        return Look(rows=tuple(_row(row) for row in rows), next_due=str(next_due) if next_due else None)

    def highest_seq(self) -> int:
        """Return the greatest sequence number the host has given, 0 in an empty inbox.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            highest = connection.execute("SELECT max(seq) FROM messages_in").get
        return whole_number(highest)

    def answer(self, reference: str) -> InboundRow | None:
        """Return the row that answers the question of a reference, whoever has seen it already (F-30).

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(_ANSWER, (reference,)).fetchall()
        return _row(found[0]) if found else None

    def is_waiting(self, row_id: str) -> bool:
        """Tell whether the host still waits for what becomes of a row.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            query = f"SELECT 1 FROM messages_in WHERE id = ? AND {WAITING}"
            return connection.execute(query, (row_id,)).get is not None

    def message(self, seq: int) -> Address | None:
        """Return where the message of a number was written, None where there is none.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(
                "SELECT channel_type, platform_id, thread_id FROM messages_in WHERE seq = ? AND kind = 'chat'", (seq,)
            ).fetchall()
        return address_of(*found[0]) if found else None

    def outcome(self, row_id: str) -> Outcome | None:
        """Return what has become of a row of the outbox, None as long as nothing has.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(_OUTCOME, (row_id,)).fetchall()
        return Outcome(str(found[0][0]), whole_number(found[0][1]), str(found[0][2] or "")) if found else None

    def control_reply(self, row_id: str) -> str | None:
        """Return the frame with which the host has answered the call of a row, whoever has seen it already.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(_CONTROL_REPLY, (f"control-{row_id}",)).fetchall()
        return str(found[0][0]) if found and found[0][0] is not None else None

    def routing(self) -> Address | None:
        """Return where this session belongs, for an answer to a row without an address of its own.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(_ROUTING).fetchall()
        return address_of(*found[0]) if found else None

    def directory(self) -> Directory:
        """Return the session's own chat and the agent's destinations.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            own = connection.execute(_ROUTING).fetchall()
            found = connection.execute(_DESTINATIONS).fetchall()
        entries = tuple((str(name), str(shown), Address(str(kind), str(chat))) for name, shown, kind, chat in found)
        return Directory(address_of(*own[0]) if own else None, entries)

    def meant(self, platform_message_id: str, chat: Address) -> int | str | None:
        """Return which message has a platform's id: an inbound one's number, or an outbound one's id.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        given = (platform_message_id, chat.channel_type, chat.platform_id)
        with self._reading() as connection:
            number, sent = connection.execute(_NUMBER, given).get, connection.execute(_SENT, given).get
        if isinstance(number, int):
            return number
        return sent if isinstance(sent, str) else None

    def newest(self, chat: Address) -> tuple[str | None, str | None]:
        """Return the thread and the id of what was written last in a chat, both None where that is long ago.

        Raises:
            NotYetError: the file cannot be read right now.
        """
        with self._reading() as connection:
            found = connection.execute(_NEWEST, (chat.channel_type, chat.platform_id)).fetchall()
        if not found:
            return None, None
        thread, identifier = found[0]
        return thread if isinstance(thread, str) else None, str(identifier)

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        try:
            yield self._current()
        except (*_NOT_YET, FileNotFoundError) as error:
            raise NotYetError(f"{self._path.name}: {error}") from error

    def _current(self) -> apsw.Connection:
        """Return the kept connection if it is one to the file that lies there now, else a new one."""
        found = self._path.stat()
        file = (found.st_dev, found.st_ino)
        if self._connection is not None and self._file == file:
            return self._connection
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        # A file that shrinks under a mapping is a SIGBUS, and a mapping can show stale pages (F-206).
        connection.execute("PRAGMA mmap_size = 0").fetchall()
        self._connection, self._file = connection, file
        return connection


def _candidate(values: tuple[object, ...]) -> Candidate:
    identifier, seq, trigger, on_wake, kind, channel_type, platform_id, thread_id, row_type, name, *references = values
    request, answers = references
    return Candidate(
        id=str(identifier),
        seq=whole_number(seq),
        trigger=bool(trigger),
        on_wake=bool(on_wake),
        place=address_of(channel_type, platform_id, thread_id),
        command=command_name(str(kind), row_type, name),
        task=kind == "task",
        request=str(request or "?") if row_type == CONTROL_REPLY else "",
        answers=str(answers or "") if row_type == QUESTION_RESPONSE else "",
    )


def _row(values: tuple[object, ...]) -> InboundRow:
    identifier, seq, kind, timestamp, content, trigger, on_wake, tries, *address = values
    return InboundRow(
        id=str(identifier),
        seq=whole_number(seq),
        kind=str(kind),
        timestamp=str(timestamp),
        content=str(content),
        trigger=bool(trigger),
        on_wake=bool(on_wake),
        tries=whole_number(tries),
        address=address_of(*address),
    )
