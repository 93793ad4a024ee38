"""``outbound.db``: the container's file; the runner is its writer.

The host only reads it, and never rolls back its journal: whatever a killed runner left half-written is undone here,
before READY.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from json import dumps
from pathlib import Path

import apsw

from nanoclaw_runner.contract import CONTRACT_VERSION
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.schema import apply_session_pragmas
from nanoclaw_runner.contract.sequence import next_container_seq
from nanoclaw_runner.contract.transaction import writing
from nanoclaw_runner.store import address_of, whole_number

BUSY_MILLISECONDS = 5000
"""How long a statement waits for another process of this container, or for a read of the host's."""

_INSERT_REPLY = """
INSERT INTO messages_out (id, seq, in_reply_to, timestamp, kind, channel_type, platform_id, thread_id, content)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CLAIM = """
INSERT INTO processing_ack (message_id, status, changed_at) VALUES (?, 'processing', ?)
ON CONFLICT (message_id) DO NOTHING
"""
_COMPLETE = """
INSERT INTO processing_ack (message_id, status, changed_at) VALUES (?, 'completed', ?)
ON CONFLICT (message_id) DO UPDATE SET status = excluded.status, changed_at = excluded.changed_at
"""
_SET_STATE = """
INSERT INTO session_state (key, value, changed_at) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, changed_at = excluded.changed_at
"""

_SET_TOOL = """
INSERT INTO container_state (id, current_tool, tool_timeout_seconds, tool_started_at, changed_at) VALUES (1, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET current_tool = excluded.current_tool, changed_at = excluded.changed_at,
  tool_timeout_seconds = excluded.tool_timeout_seconds, tool_started_at = excluded.tool_started_at
"""


class ContractError(Exception):
    """The database is of a contract that this runner does not speak."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A row of ``messages_out`` that is yet to be written.

    Attributes:
        id: None: one of its own. A row that is there already under it stays as it is.
    """

    content: str
    in_reply_to: str | None = None
    address: Address | None = None
    kind: str = "chat"
    id: str | None = None


class Outbox:
    """The one connection that writes ``outbound.db``."""

    def __init__(self, path: Path) -> None:
        """Open the file and roll back what a killed runner left.

        Raises:
            apsw.Error: the file is missing, locked for too long or no database.
            ContractError: the file is newer than this runner.
        """
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="claim")
        self._begun: Future[None] | None = None
        # Of session_state, what is certain to be there: it is asked for in each turn.
        self._kept: dict[str, str] = {}
        self._open = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        self._open.set_busy_timeout(BUSY_MILLISECONDS)
        apply_session_pragmas(self._open)
        # The first write lock is what rolls a hot journal back.
        with writing(self._connection):
            version = whole_number(self._connection.execute("PRAGMA user_version").get)
        if version > CONTRACT_VERSION:
            raise ContractError(f"{path.name} has contract {version}, this runner speaks {CONTRACT_VERSION}")

    def close(self) -> None:
        """Close the file; a claim that is being written has its end before."""
        with suppress(apsw.Error):
            self.settle()
        self._beside.shutdown()
        self._open.close()

    def drop_claims(self) -> list[str]:
        """Forget what a runner before this one had begun and not finished; return those ids (F-90)."""
        with writing(self._connection):
            found = self._connection.execute(
                "DELETE FROM processing_ack WHERE status = 'processing' RETURNING message_id"
            ).fetchall()
        return [str(row[0]) for row in found]

    def acknowledged(self, ids: Iterable[str]) -> set[str]:
        """Return those of the ids that have any acknowledgement (F-89)."""
        found = self._connection.execute(
            "SELECT message_id FROM processing_ack WHERE message_id IN (SELECT value FROM json_each(?))",
            (dumps(list(ids)),),
        ).fetchall()
        return {str(row[0]) for row in found}

    def claim(self, ids: Iterable[str]) -> None:
        """Say that these messages are being worked on; of one that is done with nothing is said."""
        _claim(self._connection, tuple(ids))

    def begin_claim(self, ids: Iterable[str]) -> None:
        """Begin to do as :meth:`claim` in a thread; whatever is asked of this next comes after that."""
        self._begun = self._beside.submit(_claim, self._connection, tuple(ids))

    def settle(self) -> None:
        """Return when a claim that was begun is written, at once where there is none.

        Raises:
            apsw.Error: it could not be written.
        """
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.result()

    def release(self, ids: Iterable[str]) -> None:
        """Take claims back: what was claimed is not worked on yet."""
        with writing(self._connection):
            self._connection.executemany(
                "DELETE FROM processing_ack WHERE message_id = ? AND status = 'processing'", [(one,) for one in ids]
            )

    def finish(
        self, replies: Sequence[Reply], completed: Iterable[str], highest_in: int, *, forget: str | None = None
    ) -> None:
        """Write replies and acknowledge what they answer, all or nothing.

        Args:
            replies: rows in the order in which they are to be delivered.
            completed: ids of the messages that are done.
            highest_in: the greatest sequence number of the inbox.
            forget: the beginning of the keys of ``session_state`` that go with it.
        """
        if forget is not None:
            self._kept.clear()
        with writing(self._connection):
            for reply in replies:
                self._insert(reply, highest_in)
            if forget is not None:
                self._connection.execute("DELETE FROM session_state WHERE substr(key, 1, length(?1)) = ?1", (forget,))
            moment = now_text()
            self._connection.executemany(_COMPLETE, [(identifier, moment) for identifier in completed])

    def add(self, reply: Reply, highest_in: int, *, state: tuple[str, str] | None = None) -> int:
        """Write one row and return its number, or that of the one which is there already under its id.

        Args:
            reply: the row.
            highest_in: the greatest sequence number of the inbox.
            state: key and value that are kept along with it.
        """
        if state is not None:
            self._kept.pop(state[0], None)
        with writing(self._connection):
            if state is not None:
                self._connection.execute(_SET_STATE, (*state, now_text()))
            return self._insert(reply, highest_in)

    def number_of(self, identifier: str) -> int | None:
        """Return the number of the row of an id, None where there is none."""
        found = self._connection.execute("SELECT seq FROM messages_out WHERE id = ?", (identifier,)).get
        return found if isinstance(found, int) else None

    def message(self, seq: int) -> Address | None:
        """Return where the row of a number was sent, None where there is no such message."""
        found = self._connection.execute(
            "SELECT channel_type, platform_id, thread_id FROM messages_out WHERE seq = ? AND kind <> 'system'", (seq,)
        ).fetchall()
        return address_of(*found[0]) if found else None

    def state(self, key: str) -> str | None:
        """Return a value of ``session_state``."""
        known = self._kept.get(key)
        if known is not None:
            return known
        found = self._connection.execute("SELECT value FROM session_state WHERE key = ?", (key,)).get
        if not isinstance(found, str):
            return None
        self._kept[key] = found
        return found

    def states(self, beginning: str) -> dict[str, str]:
        """Return all that is kept in ``session_state`` under keys of one beginning."""
        found = self._connection.execute(
            "SELECT key, value FROM session_state WHERE substr(key, 1, length(?1)) = ?1", (beginning,)
        )
        return {str(key): str(value) for key, value in found}

    def drop_state(self, *keys: str) -> None:
        """Keep something no longer."""
        self._kept.clear()
        with writing(self._connection):
            self._connection.execute(
                "DELETE FROM session_state WHERE key IN (SELECT value FROM json_each(?))", (dumps(keys),)
            )

    def is_finished(self, message_id: str) -> bool:
        """Tell whether a message has been dealt with."""
        query = "SELECT 1 FROM processing_ack WHERE message_id = ? AND status <> 'processing'"
        return self._connection.execute(query, (message_id,)).get is not None

    def set_state(self, key: str, value: str) -> None:
        """Keep a value in ``session_state``."""
        self._kept.pop(key, None)
        with writing(self._connection):
            self._connection.execute(_SET_STATE, (key, value, now_text()))
        self._kept[key] = value

    def set_tool(self, name: str | None, timeout: float | None = None, started_at: str | None = None) -> None:
        """Note which tool runs, since when, and how many seconds it may take; None: none does."""
        with writing(self._connection):
            self._connection.execute(_SET_TOOL, (name, timeout, started_at, now_text()))

    @property
    def _connection(self) -> apsw.Connection:
        """The connection, with nobody at it: a transaction that is under way would take in what others do."""
        self.settle()
        return self._open

    def _insert(self, reply: Reply, highest_in: int) -> int:
        known = None if reply.id is None else self.number_of(reply.id)
        if known is not None:
            return known
        highest_out = whole_number(self._connection.execute("SELECT max(seq) FROM messages_out").get)
        seq = next_container_seq(highest_in, highest_out)
        address = reply.address
        self._connection.execute(
            _INSERT_REPLY,
            (
                reply.id or f"out-{os.urandom(12).hex()}",
                seq,
                reply.in_reply_to,
                now_text(),
                reply.kind,
                address.channel_type if address else None,
                address.platform_id if address else None,
                address.thread_id if address else None,
                reply.content,
            ),
        )
        return seq


def _claim(connection: apsw.Connection, ids: Sequence[str]) -> None:
    moment = now_text()
    with writing(connection):
        connection.executemany(_CLAIM, [(identifier, moment) for identifier in ids])
