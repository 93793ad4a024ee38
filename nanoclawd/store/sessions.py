"""Sessions: the runtime unit. One agent group, usually one chat, sometimes one thread; at most one container."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import NotFound
from nanoclawd.store.names import new_session_id

_COLUMNS = (
    "s.id, s.agent_group_id, g.folder, s.messaging_group_id, s.thread_id, s.status, s.container_status,"
    " s.quarantine_reason, s.next_due_at, s.outbound_identity, s.last_active, s.created_at, s.mode"
)
_FROM = "FROM sessions s JOIN agent_groups g ON g.id = s.agent_group_id"


@dataclass(frozen=True, slots=True)
class Session:
    """One session as ``central.db`` knows it.

    Attributes:
        group: the agent group's folder.
        mode: ``agent-shared`` belongs to no chat: its agent's messages from everywhere meet in it (W-22).
        container_status: a hint for the next start of the daemon; the unit's state is the truth.
        next_due_at: the earliest time at which a waiting row is due.
        outbound_identity: inode, size and change time of ``outbound.db`` when it was last read to its end.
    """

    id: str
    agent_group_id: str
    group: str
    messaging_group_id: str | None
    thread_id: str | None
    status: str
    container_status: str
    quarantine_reason: str | None
    next_due_at: str | None
    outbound_identity: str | None
    last_active: str | None
    created_at: str
    mode: str = "shared"


def create(
    connection: apsw.Connection,
    agent_group_id: str,
    messaging_group_id: str | None,
    thread_id: str | None = None,
    session_id: str | None = None,
    mode: str = "shared",
) -> Session:
    """Create an active session (its files are made by the caller before it is used)."""
    new_id = session_id or new_session_id()
    connection.execute(
        "INSERT INTO sessions (id, agent_group_id, messaging_group_id, thread_id, created_at, mode)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (new_id, agent_group_id, messaging_group_id, thread_id, now_text(), mode),
    )
    return by_id(connection, new_id)


def by_id(connection: apsw.Connection, session_id: str) -> Session:
    """Read a session by its id.

    Raises:
        NotFound: there is none.
    """
    found = _some(connection, "WHERE s.id = ?", (session_id,))
    if not found:
        raise NotFound(f"there is no session {session_id[:40]}", hint="ncl sessions list")
    return found[0]


def by_prefix(connection: apsw.Connection, prefix: str) -> list[Session]:
    """Read the sessions whose id begins so (two at most: enough to see that a prefix is not unique)."""
    return _some(connection, "WHERE s.id >= ? AND s.id < ? ORDER BY s.id LIMIT 2", (prefix, prefix + "\U0010ffff"))


def find_active(
    connection: apsw.Connection, agent_group_id: str, messaging_group_id: str, thread_id: str | None
) -> Session | None:
    """Find the active session of an agent in a chat and thread; no thread matches only no thread."""
    found = _some(
        connection,
        "WHERE s.agent_group_id = ? AND s.messaging_group_id = ? AND ifnull(s.thread_id, '') = ?"
        " AND s.status = 'active'",
        (agent_group_id, messaging_group_id, thread_id or ""),
    )
    return found[0] if found else None


def find_agent_shared(connection: apsw.Connection, agent_group_id: str) -> Session | None:
    """Find the one active session in which an agent's chats meet; never one that belongs to a chat (W-22)."""
    found = _some(
        connection,
        "WHERE s.agent_group_id = ? AND s.mode = 'agent-shared' AND s.status = 'active'",
        (agent_group_id,),
    )
    return found[0] if found else None


def of_group(connection: apsw.Connection, agent_group_id: str) -> list[Session]:
    """Read all sessions of a group, closed ones too, newest first."""
    return _some(connection, "WHERE s.agent_group_id = ? ORDER BY s.created_at DESC, s.id", (agent_group_id,))


def every(connection: apsw.Connection) -> list[Session]:
    """Read all sessions, newest first."""
    return _some(connection, "ORDER BY s.created_at DESC, s.id", ())


def count(connection: apsw.Connection, agent_group_id: str | None = None) -> int:
    """Count the active sessions, of one group or of all."""
    found = connection.execute(
        "SELECT count(*) FROM sessions WHERE status = 'active' AND (?1 IS NULL OR agent_group_id = ?1)",
        (agent_group_id,),
    ).get
    return int(found)


def awake(connection: apsw.Connection) -> list[Session]:
    """Read the active sessions that were awake (running or idle) when last seen."""
    return _some(connection, "WHERE s.container_status <> 'stopped' AND s.status = 'active'", ())


def outbound_identities(connection: apsw.Connection) -> list[tuple[str, str, str | None]]:
    """Read (group, session id, remembered identity) of every active session that sleeps."""
    rows = connection.execute(
        f"SELECT g.folder, s.id, s.outbound_identity {_FROM}"
        " WHERE s.status = 'active' AND s.container_status = 'stopped'"
    )
    return [(str(group), str(session_id), identity) for group, session_id, identity in rows]


def mark_awake(connection: apsw.Connection, session_id: str) -> None:
    """Note before the first wake that this session is at work, so that a restart looks at it."""
    connection.execute(
        "UPDATE sessions SET container_status = 'running', last_active = ? WHERE id = ?", (now_text(), session_id)
    )


def mark_asleep(
    connection: apsw.Connection, session_id: str, outbound_identity: str | None, next_due_at: str | None
) -> None:
    """Note that a session has nothing left to do: what its database looked like, and when it is next due."""
    connection.execute(
        "UPDATE sessions SET container_status = 'stopped', outbound_identity = ?, next_due_at = ? WHERE id = ?",
        (outbound_identity, next_due_at, session_id),
    )


def set_quarantine(connection: apsw.Connection, session_id: str, reason: str | None) -> None:
    """Put a session into quarantine with a reason, or release it (None)."""
    connection.execute("UPDATE sessions SET quarantine_reason = ? WHERE id = ?", (reason, session_id))


def quarantined(connection: apsw.Connection) -> list[str]:
    """Return the ids of the active sessions in quarantine (ten at most)."""
    rows = connection.execute(
        "SELECT id FROM sessions WHERE quarantine_reason IS NOT NULL AND status = 'active' ORDER BY id LIMIT 10"
    )
    return [str(row[0]) for row in rows]


def close(connection: apsw.Connection, session_id: str) -> None:
    """Close a session: it stays readable and is never found for a message again."""
    connection.execute("UPDATE sessions SET status = 'closed', next_due_at = NULL WHERE id = ?", (session_id,))


def earliest_due(connection: apsw.Connection, after: str) -> str | None:
    """Return the earliest due time after a moment over all sessions, or None."""
    row = connection.execute(
        "SELECT next_due_at FROM sessions WHERE next_due_at > ? AND status = 'active' ORDER BY next_due_at LIMIT 1",
        (after,),
    ).fetchone()
    return None if row is None else str(row[0])


def due(connection: apsw.Connection, moment: str) -> list[Session]:
    """Read the sleeping sessions that are due at a moment (one format of time: texts compare right)."""
    return _some(connection, "WHERE s.next_due_at <= ? AND s.status = 'active' ORDER BY s.next_due_at", (moment,))


def due_after(connection: apsw.Connection, moment: str) -> list[Session]:
    """Read the sleeping sessions that are due after a moment."""
    return _some(connection, "WHERE s.next_due_at > ? AND s.status = 'active' ORDER BY s.next_due_at", (moment,))


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str | None, ...]) -> list[Session]:
    return [Session(*row) for row in connection.execute(f"SELECT {_COLUMNS} {_FROM} {tail}", bindings)]
