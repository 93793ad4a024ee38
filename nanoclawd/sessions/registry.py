"""All sessions of the appliance: who acts for which, who wakes when it is due, and what a restart has to look at."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import apsw

from nanoclaw_runner.contract.clock import now, parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import NotFound, Unavailable
from nanoclawd.paths import StatePaths
from nanoclawd.scheduling.background import Background
from nanoclawd.scheduling.timer import WallTimer
from nanoclawd.sessions.actor import UNSEEN, SessionActor
from nanoclawd.sessions.address_book import address_book
from nanoclawd.sessions.directory import make, outbound_identity, unmake
from nanoclawd.sessions.inbound import FIRST_BACKOFF_SECONDS, MAX_TRIES, Ancestry, Inbound, NewMessage
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.store.names import is_session_id, new_session_id
from nanoclawd.store.sessions import Session
from nanoclawd.supervision.units import SESSION_UNITS_PATTERN, SessionUnits, parse_session_unit

log = logging.getLogger(__name__)

_LONGEST_BACKOFF = timedelta(seconds=FIRST_BACKOFF_SECONDS * 2 ** (MAX_TRIES - 1))
_PLACES_SHOWN = 100
_TOGETHER_SECONDS = 0.05
"""For so long wakes wait for one another: enough for the commits of a healthy disk."""


class Sessions:
    """The actors, and the timer that wakes sleeping sessions."""

    def __init__(self, paths: StatePaths, database: Database) -> None:
        self._paths = paths
        self._database = database
        self._around: Surroundings | None = None
        self._actors: dict[str, SessionActor] = {}
        self._timer: WallTimer | None = None
        self._next_due: str | None = None
        self._places_due = False
        self._unseen: dict[tuple[str, str], set[str]] = {}
        self._background = Background(log, "looking at sessions")

    def bind(self, around: Surroundings) -> None:
        """Give what actors share; once, before anything else."""
        self._around = around
        around.admission.make_room = self._make_room
        around.admission.queue_changed = self._queue_changed
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

    async def create(
        self, agent_group_id: str, group: str, chat_id: str | None, thread_id: str | None = None, mode: str = "shared"
    ) -> Session:
        """Make a session: its directories first, so that a row never lacks them.

        Args:
            agent_group_id: whose session.
            group: its folder.
            chat_id: the chat that it belongs to; None for one of mode agent-shared.
            thread_id: the thread of the chat, or None.
            mode: shared, per-thread or agent-shared.

        Raises:
            Unavailable: the disk is full or not writable.
        """
        session_id = new_session_id()
        paths = self._paths.session(group, session_id)
        await self._surroundings().jobs.run(session_id, make, paths)
        try:
            return await self._database.run(session_rows.create, agent_group_id, chat_id, thread_id, session_id, mode)
        except Exception:
            # Its place was taken, or its group has gone: what nobody will ever find must not stay.
            await self._surroundings().jobs.run(session_id, unmake, paths)
            raise

    async def actor(self, session: Session, *, look_first: bool = False) -> SessionActor:
        """Return the one that acts for a session, made when there is none."""
        (actor,) = await self._actors_of([session], look_first=look_first)
        return actor

    async def accept_all(self, messages: Sequence[tuple[Session, NewMessage]]) -> list[bool | Exception]:
        """Store messages durably, each in its session, and see to their answers.

        One commit notes that all of these sessions are at work, and the messages are stored side by side: what goes
        wrong with one (its result is the exception) is nothing to the others. True: stored; False: it was before.
        """
        if not messages:
            return []
        around = self._surroundings()
        try:
            if not all(self._is_marked(session.id) for session, _ in messages):
                # Before central.db is written. Who is at work finds it out where its message is stored: no visit more.
                await around.check_disk(messages[0][0].id)
            actors = await self._actors_of([session for session, _ in messages])
        except Exception as error:
            return [error] * len(messages)
        with ExitStack() as accepting:
            for actor in actors:
                accepting.enter_context(actor.accepting())
            try:
                gone = await self._mark_awake(actors)
            except Exception as error:
                return [error] * len(messages)
            storing = {
                asyncio.create_task(self._store(actor, message, gone=actor.ref.id in gone)): actor
                for actor, (_, message) in zip(actors, messages, strict=True)
            }
            await self._wake_stored(storing)
        return [_outcome(task) for task in storing]

    async def deliver_system(self, session_id: str, message: NewMessage) -> bool:
        """Hand a session a row of the host's own: an answer, a reply, a note. Wakes it if the row asks for a turn.

        False: nothing new, since the session is closed or gone, or has the row already.

        Raises:
            Unavailable: it could not be stored.
        """
        try:
            session = await self._database.run(session_rows.by_id, session_id)
        except NotFound:
            return False
        if session.status != "active":
            return False
        (result,) = await self.accept_all([(session, message)])
        if isinstance(result, Exception):
            raise result
        return result

    async def stop_turn(self, session: Session) -> bool:
        """Drop what the session was asked and has not answered; False where nothing was."""
        return await (await self.actor(session)).stop_turn()

    async def close_session(self, session: Session) -> None:
        """Close a session: it answers nothing more and is found by no message; its conversation stays readable."""
        await self._database.run(session_rows.close, session.id)
        await (await self.actor(session, look_first=True)).close()

    async def stored_content(self, session_id: str, row_id: str) -> str | None:
        """Return what a row says that a session was handed; None where it has none, is closed or gone.

        Raises:
            Unavailable: the session's database can't be read now.
        """
        try:
            session = await self._database.run(session_rows.by_id, session_id)
        except NotFound:
            return None
        if session.status != "active":
            return None
        return await self._look(session, lambda inbound: inbound.content_of(row_id))

    async def ancestry(self, session_id: str, in_reply_to: str | None, other: str) -> Ancestry:
        """Find what a session's message to another agent (its folder) follows from.

        Raises:
            NotFound: the session has gone.
            Unavailable: its database can't be read now.
        """
        living = self._actors.get(session_id)
        actor = living or await self.actor(await self._database.run(session_rows.by_id, session_id))
        found = await actor.files.read(lambda inbound: inbound.ancestry(in_reply_to, other))
        if living is None:
            actor.nudge()
        return found

    async def row_status(self, session_id: str, row_id: str) -> str | None:
        """Return what became of a row that a session was handed, also a closed one; None: it has none, or is gone.

        Raises:
            Unavailable: the session's database can't be read now.
        """
        try:
            session = await self._database.run(session_rows.by_id, session_id)
        except NotFound:
            return None
        return await self._look(session, lambda inbound: inbound.status_of(row_id))

    async def _look[T](self, session: Session, query: Callable[[Inbound], T]) -> T:
        actor = await self.actor(session)
        found = await actor.files.read(query)
        actor.nudge()
        return found

    async def platform_message_id(self, session_id: str, row_id: str) -> str | None:
        """Return what the platform calls an agent's row that was delivered, e.g. to close its card; None if unknown."""
        session = await self._database.run(session_rows.by_id, session_id)
        actor = await self.actor(session)
        known = await actor.files.read(lambda inbound: inbound.deliveries([row_id]))
        actor.nudge()
        return known[row_id].platform_message_id if row_id in known else None

    async def project_destinations(self, agent_group_id: str) -> None:
        """Let a group's awake agents know where they may write to now; the others are told when they wake."""
        destinations = await self._database.run(address_book, agent_group_id)
        living = [actor for actor in self._actors.values() if actor.ref.agent_group_id == agent_group_id]
        await asyncio.gather(*(actor.project(destinations) for actor in living if actor.at_work))

    def living(self, session_id: str) -> SessionActor | None:
        """Return a session's actor if it has one now."""
        return self._actors.get(session_id)

    def drop(self, session_id: str) -> None:
        """Forget all of a session: it is being deleted."""
        self._remember_unseen(session_id, frozenset())
        actor = self._actors.pop(session_id, None)
        if actor is None:
            return
        actor.detach()
        self._surroundings().admission.leave(session_id)
        self._background.spawn(actor.files.close())

    def doorbells_of(self, group: str) -> Path:
        """Return the directory of a group's doorbells, which is left empty when systemd has removed what was in it."""
        return SessionUnits(group, "", self._surroundings().runtime_directory).doorbell.parent

    @property
    def actors(self) -> tuple[SessionActor, ...]:
        """All sessions that do not sleep."""
        return tuple(self._actors.values())

    def close(self) -> None:
        """The daemon stops; containers go on."""
        if self._timer is not None:
            self._timer.close()
        self._background.cancel()
        for actor in self._actors.values():
            actor.detach()

    def waiting_by_channel(self) -> Counter[str]:
        """Return in how many conversations something waits for a channel, as far as it is known without a look."""
        known = {(channel, one) for (channel, _), ids in self._unseen.items() for one in ids}
        known |= {(channel, actor.ref.id) for actor in self._actors.values() for channel, _ in actor.unseen}
        return Counter(channel for channel, _ in known)

    def attached(self, address: Address) -> None:
        """A chat became reachable: deliver what waits for it."""
        self._background.spawn(self._deliver_waiting(address))

    def slept(self, next_due: str | None) -> None:
        """A session fell asleep: the timer may have to ring earlier."""
        if next_due is not None and (self._next_due is None or next_due < self._next_due):
            self._set_timer(next_due)

    async def _deliver_waiting(self, address: Address) -> None:
        # Who is at work looks again whatever it knows: it may be about to learn that nobody is there.
        for actor in list(self._actors.values()):
            actor.deliver_waiting()
        for session_id in sorted(self._unseen.get((address.channel_type, address.platform_id), ())):
            try:
                session = await self._database.run(session_rows.by_id, session_id)
            except NotFound:
                continue
            (await self.actor(session, look_first=True)).deliver_waiting()

    async def _actors_of(self, sessions: Sequence[Session], *, look_first: bool = False) -> list[SessionActor]:
        sleeping = [session for session in sessions if session.id not in self._actors]
        addresses = await self._database.run(_addresses, sleeping) if sleeping else {}
        return [
            self._actors.get(session.id) or self._new_actor(session, addresses.get(session.id), look_first=look_first)
            for session in sessions
        ]

    def _new_actor(self, session: Session, address: Address | None, *, look_first: bool) -> SessionActor:
        actor = SessionActor(
            SessionRef(session.id, session.group, address, session.agent_group_id),
            self._paths.session(session.group, session.id),
            self._surroundings(),
            quarantine_reason=session.quarantine_reason,
            closed=session.status != "active",
            look_first=look_first or session.container_status != "stopped" or session.outbound_identity == UNSEEN,
            forget=self._forget,
        )
        self._actors[session.id] = actor
        return actor

    def _is_marked(self, session_id: str) -> bool:
        actor = self._actors.get(session_id)
        return actor is not None and actor.marked

    async def _mark_awake(self, actors: Sequence[SessionActor]) -> set[str]:
        """Note that sessions are at work, in one commit; return the ids of those that are closed or gone."""
        new = {actor.ref.id: actor for actor in actors if not actor.marked}
        if not new:
            return set()
        active = await self._database.run(_mark_awake, list(new))
        for session_id in active:
            new[session_id].marked = True
        return set(new) - active

    async def _wake_stored(self, storing: Mapping[asyncio.Task[bool], SessionActor]) -> None:
        """Wake whose message is stored: together, so that their wakes don't hold up the storing of the others.

        A session whose database is locked holds the rest up for a moment only.
        """
        try:
            done, slow = await asyncio.wait(storing, timeout=_TOGETHER_SECONDS)
            while True:
                for task in done:
                    if not task.exception():
                        storing[task].nudge()
                if not slow:
                    return
                done, slow = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # What is stored all the same, or will be in this moment, has to be answered.
            for task, actor in storing.items():
                if task.cancel() or not task.exception():
                    actor.nudge()
            raise

    async def _store(self, actor: SessionActor, message: NewMessage, *, gone: bool) -> bool:
        if not gone:
            return await actor.store(message, partial(self._surroundings().judge_disk, actor.ref.id))
        if not actor.at_work:
            self._actors.pop(actor.ref.id, None)
        raise Unavailable("this conversation was closed at this moment")

    def _changed(self, remembered: list[tuple[str, str, str | None]]) -> set[str]:
        return {
            session_id
            for group, session_id, identity in remembered
            if identity is not None and str(outbound_identity(self._paths.session(group, session_id))) != identity
        }

    def _forget(self, actor: SessionActor) -> None:
        self._actors.pop(actor.ref.id, None)
        self._remember_unseen(actor.ref.id, actor.unseen)

    def _remember_unseen(self, session_id: str, chats: frozenset[tuple[str, str]]) -> None:
        """Note which chats a sleeping session's deliveries wait for; the next start finds it by its identity."""
        for chat in [chat for chat, ids in self._unseen.items() if session_id in ids]:
            self._unseen[chat].discard(session_id)
            if not self._unseen[chat]:
                del self._unseen[chat]
        for chat in chats:
            self._unseen.setdefault(chat, set()).add(session_id)

    def _make_room(self) -> None:
        """Containers of groups that are held go to sleep: what comes next waits until it can be answered.

        Where somebody waits for a place, the one that has been idle longest gives its own up.
        """
        admission = self._surroundings().admission
        idle = [actor for actor in self._actors.values() if actor.idle_since is not None]
        if admission.held is not None and admission.held.outage:
            held = [actor for actor in idle if admission.is_held(actor.ref.group)]
            for actor in held:
                actor.retire()
            idle = [actor for actor in idle if actor not in held]
        if idle and admission.anybody_waits:
            min(idle, key=lambda actor: actor.idle_since or 0.0).retire()

    def _queue_changed(self) -> None:
        """Many may come at once: who waits is told once of all of them."""
        if not self._places_due:
            self._places_due = True
            asyncio.get_running_loop().call_soon(self._show_places)

    def _show_places(self) -> None:
        self._places_due = False
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
        self._background.spawn(self._wake_due())

    def _on_jump(self) -> None:
        log.warning("the system clock was set; looking at what is due anew")
        self._background.spawn(self._after_jump())

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


def _addresses(connection: apsw.Connection, sessions: Sequence[Session]) -> dict[str, Address]:
    """Find the chats that sessions belong to."""
    found: dict[str, Address] = {}
    for session in sessions:
        if session.messaging_group_id is not None:
            chat = chats.by_id(connection, session.messaging_group_id)
            found[session.id] = Address(chat.channel_type, chat.platform_id, session.thread_id)
    return found


def _mark_awake(connection: apsw.Connection, session_ids: Sequence[str]) -> set[str]:
    """Note that sessions are at work; return those that are there and not closed."""
    active: set[str] = set()
    with writing(connection):
        for session_id in session_ids:
            try:
                session = session_rows.by_id(connection, session_id)
            except NotFound:
                continue
            if session.status == "active":
                session_rows.mark_awake(connection, session_id)
                active.add(session_id)
    return active


def _outcome(task: asyncio.Task[bool]) -> bool | Exception:
    error = task.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error or task.result()
