"""Behind io.nanoclaw.Sessions."""

import logging
from collections.abc import Callable, Sequence

import apsw

from nanoclawd.control.values import Caller, Session, SessionState
from nanoclawd.errors import Refused
from nanoclawd.journal import about
from nanoclawd.sessions.actor import SessionActor
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import chats, resolve
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

type _Row = session_rows.Session
type _StateOf = Callable[[_Row], SessionState]


class SessionsBackend:
    """Sessions as operators handle them."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions

    async def list(self, group: str | None, state: SessionState | None, limit: int) -> Sequence[Session]:
        """Return the sessions, the last active first; closed ones only where that state is asked for."""
        # Read here, used in the database's thread: actors belong to the loop.
        phases = {actor.ref.id: SessionState(actor.snapshot.phase.value) for actor in self._sessions.actors}
        found = await self._database.run(_list, group, state, limit, lambda row: _state(row, phases.get(row.id)))
        return [self._view(row, address) for row, address in found]

    async def get(self, session_id: str) -> Session:
        """Return one session."""
        return self._view(*await self._database.run(_get, session_id))

    async def stop(self, caller: Caller, session_id: str) -> Session:
        """End the session's container; what waits wakes it again."""
        row, _ = await self._database.run(_get, session_id)
        _check_open(row)
        actor = await self._sessions.actor(row, look_first=True)
        if not await actor.stop(Ended.BY_OPERATOR):
            raise Refused(f"session {row.id} has no container now")
        self._tell(caller, "stopped", row)
        actor.nudge()
        return await self.get(row.id)

    async def close(self, caller: Caller, session_id: str) -> Session:
        """End the session for good."""
        row, _ = await self._database.run(_get, session_id)
        _check_open(row)
        await self._sessions.close_session(row)
        self._tell(caller, "closed", row)
        return await self.get(row.id)

    async def reset(self, caller: Caller, session_id: str) -> tuple[Session, str | None]:
        """Release a quarantined session."""
        row, _ = await self._database.run(_get, session_id)
        _check_open(row)
        actor = await self._sessions.actor(row)
        if not actor.quarantined:
            raise Refused(f"session {row.id} is not in quarantine")
        kept = await actor.release()
        self._tell(caller, "released", row)
        actor.nudge()
        return await self.get(row.id), kept

    def _tell(self, caller: Caller, what: str, row: _Row) -> None:
        log.info("%s %s session %s", caller.user_id, what, row.id, extra=about(session=row.id, group=row.group))

    def _view(self, row: _Row, address: tuple[str, str]) -> Session:
        actor = None if row.status == "closed" else self._sessions.living(row.id)
        snapshot = actor.snapshot if actor else None
        return Session(
            id=row.id,
            group=row.group,
            channel=address[0],
            chat=address[1],
            thread=row.thread_id,
            mode=row.mode,
            state=_state(row, SessionState(snapshot.phase.value) if snapshot else None),
            unit=f"nanoclaw-{row.group}@{row.id}.service",
            created_at=row.created_at,
            last_active=row.last_active,
            status=snapshot.status or None if snapshot else None,
            reason=row.quarantine_reason or (snapshot.reason or None if snapshot else None),
            place=snapshot.place if snapshot else None,
            pending=_pending(actor),
        )


def _pending(actor: SessionActor | None) -> int:
    return actor.pending_count if actor else 0


def _check_open(row: _Row) -> None:
    if row.status == "closed":
        raise Refused(f"session {row.id} is closed", hint="ncl sessions list")


def _state(row: _Row, phase: SessionState | None) -> SessionState:
    if row.status == "closed":
        return SessionState.CLOSED
    return phase or (SessionState.QUARANTINED if row.quarantine_reason else SessionState.ASLEEP)


def _list(
    connection: apsw.Connection, group: str | None, state: SessionState | None, limit: int, state_of: _StateOf
) -> list[tuple[_Row, tuple[str, str]]]:
    if group is None:
        rows = session_rows.every(connection)
    else:
        rows = session_rows.of_group(connection, resolve.group(connection, group).id)
    if state is None:
        rows = [row for row in rows if row.status != "closed"]
    else:
        rows = [row for row in rows if state_of(row) is state]
    rows.sort(key=lambda row: row.last_active or row.created_at, reverse=True)
    return [(row, _address(connection, row)) for row in rows[:limit]]


def _get(connection: apsw.Connection, text: str) -> tuple[_Row, tuple[str, str]]:
    row = resolve.session(connection, text)
    return row, _address(connection, row)


def _address(connection: apsw.Connection, row: _Row) -> tuple[str, str]:
    if row.messaging_group_id is None:
        return "", ""
    chat = chats.by_id(connection, row.messaging_group_id)
    return chat.channel_type, chat.platform_id
