"""All sessions of the appliance: who acts for which, who wakes when it is due, and what a restart has to look at."""

import asyncio
import logging
from collections.abc import Coroutine
from datetime import timedelta

from nanoclaw_runner.contract.clock import now, parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.paths import StatePaths
from nanoclawd.scheduling.timer import WallTimer
from nanoclawd.sessions.actor import SessionActor
from nanoclawd.sessions.directory import make, outbound_identity
from nanoclawd.sessions.inbound import FIRST_BACKOFF_SECONDS, MAX_TRIES
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.store.names import is_session_id, new_session_id
from nanoclawd.store.sessions import Session
from nanoclawd.supervision.units import SESSION_UNITS_PATTERN, parse_session_unit

log = logging.getLogger(__name__)

_LONGEST_BACKOFF = timedelta(seconds=FIRST_BACKOFF_SECONDS * 2 ** (MAX_TRIES - 1))
_PLACES_SHOWN = 100


class Sessions:
    """The actors, and the timer that wakes sleeping sessions."""

    def __init__(self, paths: StatePaths, database: Database) -> None:
        self._paths = paths
        self._database = database
        self._around: Surroundings | None = None
        self._actors: dict[str, SessionActor] = {}
        self._timer: WallTimer | None = None
        self._next_due: str | None = None
        self._background: set[asyncio.Task[None]] = set()

    def bind(self, around: Surroundings) -> None:
        """Give what actors share; once, before anything else."""
        self._around = around
        around.admission.make_room = self._make_room
        around.admission.queue_changed = self._show_places
        around.manager.on_reconnect = self._look_again

    async def resume(self) -> int:
        """After a start: find the containers that are still there and the sessions with unfinished work.

        Only sessions that were awake, whose unit runs, or whose ``outbound.db`` looks different from what was
        remembered are opened; the return value counts them.
        """
        manager = self._surroundings().manager
        running = {
            parsed
            for unit, state in (await manager.running_units(SESSION_UNITS_PATTERN)).items()
            if state.running and (parsed := parse_session_unit(unit)) is not None
        }
        found = {session.id for session in await self._database.run(session_rows.awake)}
        remembered = await self._database.run(session_rows.outbound_identities)
        found |= await asyncio.get_running_loop().run_in_executor(None, self._changed, remembered)
        for _group, session_id in running:
            if is_session_id(session_id):
                found.add(session_id)
        count = 0
        for session_id in sorted(found):
            matches = await self._database.run(session_rows.by_prefix, session_id)
            if not matches or matches[0].status != "active":
                continue
            (await self.actor(matches[0], look_first=True)).nudge()
            count += 1
        for group, session_id in sorted(running):
            if session_id not in self._actors:
                # A container whose session was deleted: nobody will ever answer for it.
                await manager.begin_stop(f"nanoclaw-{group}@{session_id}.service")
        self._timer = WallTimer(self._on_due, self._on_jump)
        await self._wake_due()
        return count

    async def create(self, agent_group_id: str, group: str, chat_id: str | None, thread_id: str | None) -> Session:
        """Make a session: its directories first, so that a row never lacks them.

        Raises:
            Unavailable: the disk is full or not writable.
        """
        session_id = new_session_id()
        await self._surroundings().jobs.run(session_id, make, self._paths.session(group, session_id))
        return await self._database.run(session_rows.create, agent_group_id, chat_id, thread_id, session_id)

    async def actor(self, session: Session, *, look_first: bool = False) -> SessionActor:
        """Return the one that acts for a session, made when there is none."""
        existing = self._actors.get(session.id)
        if existing is not None:
            return existing
        address = await self._address(session)
        existing = self._actors.get(session.id)
        if existing is not None:
            return existing
        actor = SessionActor(
            SessionRef(session.id, session.group, address, session.agent_group_id),
            self._paths.session(session.group, session.id),
            self._surroundings(),
            quarantine_reason=session.quarantine_reason,
            look_first=look_first or session.container_status != "stopped",
            forget=self._forget,
        )
        self._actors[session.id] = actor
        return actor

    def living(self, session_id: str) -> SessionActor | None:
        """Return a session's actor if it has one now."""
        return self._actors.get(session_id)

    def drop(self, session_id: str) -> None:
        """Forget a session's actor: the session is being deleted."""
        actor = self._actors.pop(session_id, None)
        if actor is not None:
            self._surroundings().admission.leave(session_id)

    @property
    def actors(self) -> tuple[SessionActor, ...]:
        """All sessions that do not sleep."""
        return tuple(self._actors.values())

    def close(self) -> None:
        """The daemon stops; containers go on."""
        if self._timer is not None:
            self._timer.close()
        for task in self._background:
            task.cancel()
        for actor in self._actors.values():
            actor.detach()

    def attached(self, address: Address) -> None:
        """A chat became reachable: deliver what waits for it."""
        self._spawn(self._deliver_waiting(address))

    def slept(self, next_due: str | None) -> None:
        """A session fell asleep: the timer may have to ring earlier."""
        if next_due is not None and (self._next_due is None or next_due < self._next_due):
            self._set_timer(next_due)

    async def _deliver_waiting(self, address: Address) -> None:
        for session in await self._database.run(session_rows.of_address, address.channel_type, address.platform_id):
            (await self.actor(session, look_first=True)).deliver_waiting()

    async def _address(self, session: Session) -> Address | None:
        if session.messaging_group_id is None:
            return None
        chat = await self._database.run(chats.by_id, session.messaging_group_id)
        return Address(chat.channel_type, chat.platform_id, session.thread_id)

    def _changed(self, remembered: list[tuple[str, str, str | None]]) -> set[str]:
        return {
            session_id
            for group, session_id, identity in remembered
            if identity is not None and str(outbound_identity(self._paths.session(group, session_id))) != identity
        }

    def _forget(self, actor: SessionActor) -> None:
        self._actors.pop(actor.ref.id, None)

    def _make_room(self) -> None:
        """Somebody waits: the container that has been idle longest gives its place up."""
        idle = [actor for actor in self._actors.values() if actor.idle_since is not None]
        if idle:
            min(idle, key=lambda actor: actor.idle_since or 0.0).retire()

    def _show_places(self) -> None:
        for waiting in self._surroundings().admission.waiting()[:_PLACES_SHOWN]:
            actor = self._actors.get(waiting.session_id)
            if actor is not None:
                actor.show_place(waiting.place, waiting.reason)

    def _look_again(self) -> None:
        """The bus was away: signals were missed."""
        for actor in self._actors.values():
            actor.nudge()

    def _on_due(self) -> None:
        self._next_due = None
        self._spawn(self._wake_due())

    def _on_jump(self) -> None:
        log.warning("the system clock was set; looking at what is due anew")
        self._spawn(self._after_jump())

    async def _wake_due(self) -> None:
        """Wake what is due, and arm for what is due next: by one moment, or what is due in between would be missed."""
        moment = to_text(now())
        for session in await self._database.run(session_rows.due, moment):
            (await self.actor(session, look_first=True)).nudge()
        self._set_timer(await self._database.run(session_rows.earliest_due, moment))

    async def _after_jump(self) -> None:
        """A clock that was set back would keep retries waiting for as long: no back-off is longer than the longest."""
        latest = to_text(now() + _LONGEST_BACKOFF)
        for session in await self._database.run(session_rows.due_after, latest):
            actor = await self.actor(session, look_first=True)
            await actor.files.write(lambda inbound: inbound.bring_forward(latest))
            actor.nudge()
        await self._wake_due()

    def _set_timer(self, moment: str | None) -> None:
        self._next_due = moment
        if self._timer is not None:
            self._timer.arm(None if moment is None else parse(moment).timestamp())

    def _surroundings(self) -> Surroundings:
        if self._around is None:
            raise RuntimeError("Sessions.bind() comes first")
        return self._around

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("looking at sessions failed", exc_info=task.exception())
