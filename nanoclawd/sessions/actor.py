"""One session's life: asleep → waiting → waking → awake → stopping, with one container and one doorbell at most.

An actor exists while its session has something to do; a sleeping session is rows and files only. All of its work runs
in one task, so that its steps never overlap; other tasks only set flags and kick it. systemd starts containers and
keeps a second one from existing; the actor decides when, how often, and what the person is told.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import Unavailable
from nanoclawd.journal import Event, about
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.address_book import address_book
from nanoclawd.sessions.aftermath import CLOSED, STOPPED, Aftermath
from nanoclawd.sessions.container import Container, ContainerEvents
from nanoclawd.sessions.display import Display
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.hostile_vfs import DamagedError, NotNowError
from nanoclawd.sessions.inbound import Destination, NewMessage
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.pace import Alarm, LookPace, TurnBound
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.sessions.state import Phase, Snapshot
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import sessions as session_rows
from nanoclawd.supervision.units import SessionUnits

log = logging.getLogger(__name__)

_NOT_NOW_RETRY_SECONDS: Final = 0.05
_NOT_NOW_PATIENCE_SECONDS: Final = 5.0
_MAX_RECOVERIES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
UNSEEN: Final = "unseen"
"""Remembered in place of a file's identity where something waits to be seen: no file has it, so a restart looks."""


class SessionActor:
    """The one that acts for a session. Made and forgotten by :class:`~nanoclawd.sessions.registry.Sessions`."""

    def __init__(
        self,
        ref: SessionRef,
        paths: SessionPaths,
        around: Surroundings,
        *,
        quarantine_reason: str | None,
        closed: bool,
        look_first: bool,
        forget: Callable[["SessionActor"], None],
    ) -> None:
        self.ref = ref
        self.files = SessionFiles(ref.id, paths, around.jobs, around.reader, self._end_locks)
        self._around = around
        self._mailbox = Mailbox(ref, self.files, around.port, around.rules)
        self._display = Display(ref, self._mailbox, around.port)
        self._container = Container(
            SessionUnits(ref.group, ref.id, around.runtime_directory),
            around.manager,
            ContainerEvents(self._changed, self._display.partial, self._display.status, self._on_broken),
        )
        self._aftermath = Aftermath(ref, self._container, self._mailbox, around)
        self._forget = forget
        self._task: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._news = False
        self._look_first = look_first
        self._looked_at = now_text()
        self._quarantine_reason = quarantine_reason
        self._closed = closed
        self._dropped: frozenset[str] = frozenset()
        self._restart_due = False
        self.marked = False
        """Whether ``central.db`` knows that it is at work."""
        self._accepting = 0
        self._progressed = False
        self._claimed: frozenset[str] = frozenset()
        self._locked_since: float | None = None
        self._turn = TurnBound(around.timeouts.turn, lambda: self._container.end(Ended.FOR_TIME))
        self._again = Alarm(self._container.look)
        self._idle_since: float | None = None
        self._recoveries = 0
        self._pace = LookPace()

    # What other tasks may do.

    @property
    def snapshot(self) -> Snapshot:
        """Where the session is now, for ``ncl status``."""
        return self._display.snapshot

    @property
    def pending_count(self) -> int:
        """How many messages wait for an answer."""
        return self._mailbox.waiting

    @property
    def idle_since(self) -> float | None:
        """When the awake container ran out of work (loop time), or None where it has some."""
        return self._idle_since if self.snapshot.phase is Phase.AWAKE and not self._mailbox.busy else None

    @property
    def quarantined(self) -> bool:
        """Whether its container's database was found damaged."""
        return self._quarantine_reason is not None

    @property
    def at_work(self) -> bool:
        """Whether its task runs; else the next nudge begins it."""
        return self._task is not None

    @property
    def unseen(self) -> frozenset[tuple[str, str]]:
        """The chats for which something waits until somebody sees them."""
        return self._mailbox.unseen

    @contextmanager
    def accepting(self) -> Iterator[None]:
        """Keep the session from falling asleep: a message is on its way in."""
        self._accepting += 1
        try:
            yield
        finally:
            self._accepting -= 1
            self._kick.set()

    async def store(self, message: NewMessage) -> bool:
        """Store a message durably; False when it was stored before.

        The caller has marked the session as awake, inside of :meth:`accepting`, and nudges it afterwards.

        Raises:
            Unavailable: it could not be stored; nothing of it has remained.
        """
        if self._closed:
            raise Unavailable("this conversation was closed at this moment")
        return await self._mailbox.accept(message)

    def nudge(self) -> None:
        """There may be work: look again."""
        self._news = True
        if self._mailbox.busy:
            self._idle_since = None
        if self._container.connected:
            self._container.ring()
            self._watch_turn()
        self._display.sign()
        self._kick.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"session {self.ref.id}")

    def deliver_waiting(self) -> None:
        """A chat became reachable: what waits for it is due."""
        self._look_first = True
        self._container.look()
        self.nudge()

    async def stop(self, ended: Ended) -> bool:
        """End the container; False where there is none. What it worked on is told to the person, or tried again."""
        if not await self._container.running():
            return False
        await self._container.end_now(ended)
        return True

    async def restart_after_turn(self) -> bool:
        """End the container when it has answered what it was asked; False where there is none."""
        if not await self._container.running():
            return False
        self._restart_due = True
        self._restart_if_idle()
        return True

    async def stop_turn(self) -> bool:
        """Drop what was asked and not answered yet, with its container if there is one; False where nothing was.

        What somebody has planned for later stays.
        """
        if self._task is None:
            await self._mailbox.load()
        asked = self._mailbox.asked()
        if asked and await self._container.running():
            self._dropped = frozenset(asked)
            await self._container.end_now(Ended.BY_PERSON)
        elif asked:
            await self._mailbox.give_up(asked, "stopped", STOPPED)
        self.nudge()
        return bool(asked)

    async def close(self) -> None:
        """End the container and what waits for it, with a word to the people; its files are kept."""
        self._closed = True
        self._look_first = True
        await self.stop(Ended.BY_OPERATOR)
        self.nudge()

    async def project(self, destinations: Sequence[Destination]) -> None:
        """Let the agent know where it may write to."""
        await self.files.write(lambda inbound: inbound.set_destinations(destinations))

    def retire(self) -> None:
        """Send an idle container to sleep early: somebody needs its place."""
        if self.idle_since is not None:
            self._idle_since = None
            self._container.end(Ended.FOR_ROOM)

    async def release(self) -> str:
        """Lift the quarantine: move the damaged database aside, and return where it is."""
        kept = await self.files.replace_outbound()
        await self._around.database.run(session_rows.set_quarantine, self.ref.id, None)
        self._quarantine_reason = None
        self._recoveries = 0
        self._look_first = True
        return kept

    def show_place(self, number: int, reason: str) -> None:
        """Somebody counted the queue: pass it on to the person who waits."""
        self._display.place(number, reason)

    def detach(self) -> None:
        """The daemon stops: let the container be, and forget it without a word."""
        if self._task is not None:
            self._task.cancel()
        self._display.rest()
        self._container.let_go()

    # The task.

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._news = False
            try:
                again = await self._cycle()
                pause = _FIRST_PAUSE_SECONDS
            except Exception as error:
                await self._stumbled(error, tell=pause > _FIRST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                self._look_first = again = True
            if again or self._news:
                continue
            self._task = None
            self._forget(self)
            return

    async def _stumbled(self, error: Exception, *, tell: bool) -> None:
        """Something that should work did not: say so in the journal, when it persists to the person, and try again."""
        expected = isinstance(error, Unavailable)
        log.error(
            "session %s: %s",
            self.ref.id,
            error,
            exc_info=None if expected else error,
            extra=self._about(Event.SESSION_START_FAILED),
        )
        self._display.see(Phase.WAITING, reason=str(error))
        self._display.rest()
        if not tell:
            return
        await self._aftermath.stumbled(
            error.message if isinstance(error, Unavailable) else "something unexpected went wrong"
        )

    async def _cycle(self) -> bool:
        """Do what is to do; False when the session can be forgotten."""
        await self._mailbox.load()
        recovery = False
        if self._look_first:
            running = await self._container.find()
            self._look_first = False
            if running and self._quarantine_reason is None and not self._closed:
                await self._serve(adopt=True)
                return True
            if running:
                await self._container.end_now(Ended.BY_OPERATOR if self._closed else Ended.FOR_DAMAGE)
            elif self._quarantine_reason is None:
                recovery = await self._look()
        if recovery:
            self._recoveries += 1
            if self._recoveries > _MAX_RECOVERIES:
                await self._quarantine("it leaves a journal beside outbound.db that it does not roll back")
        if self._quarantine_reason is not None:
            await self._refuse()
        elif self._closed:
            await self._aftermath.refuse("closed", CLOSED)
        elif recovery or self._mailbox.due():
            await self._serve(adopt=False, recovery=recovery)
            return True
        return not await self._fall_asleep()

    async def _look(self) -> bool:
        """Drain without a container; True when a journal needs one to roll it back."""
        self._looked_at = now_text()
        try:
            await self._drained()
        except NotNowError:
            return True
        except DamagedError as error:
            await self._quarantine(str(error))
        return False

    async def _serve(self, *, adopt: bool, recovery: bool = False) -> None:
        """Have a container, from its start (or from finding it) to its end and what follows from that."""
        admission = self._around.admission
        self._look_first = True
        if adopt:
            admission.adopt(self.ref.id)
        else:
            self._display.see(Phase.WAITING, reason="waits for a place")
            await self._around.check_disk(self.ref.id)
            await admission.enter(self.ref.id, self.ref.group)
        try:
            if not adopt and not recovery and not self._mailbox.due():
                return  # somebody has dropped it meanwhile
            self._display.see(Phase.WAKING)
            self._progressed = self._restart_due = False
            self._claimed = frozenset()
            self._locked_since = None
            await self._mark_awake()
            destinations = await self._around.database.run(address_book, self.ref.agent_group_id)
            await self.files.write(lambda inbound: inbound.set_routing(self.ref.address))
            await self.project(destinations)
            self._container.begin(adopt=adopt)
            await self._container.wake()
            await self._attend()
            self._display.see(Phase.STOPPING)
            await self._container.wait_gone(self._kick)
        finally:
            self._container.hang_up()
            self._turn.end()
            self._again.at(None)
            self._idle_since = None
            admission.leave(self.ref.id)
        self._display.status("")
        await self._after_end()

    async def _attend(self) -> None:
        """Serve the awake container until its doorbell closes or its unit fails."""
        container = self._container
        while not container.closed and container.unit.active != "failed":
            self._kick.clear()
            if container.ever_active and self.snapshot.phase is Phase.WAKING:
                self._display.see(Phase.AWAKE)
                self._watch_turn()
            if container.rung:
                container.rung = False
                await self._drain_awake()
            else:
                await self._kick.wait()

    async def _drain_awake(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            drained = await self._drained()
        except NotNowError:
            self._locked_since = self._locked_since or loop.time()
            if loop.time() - self._locked_since > _NOT_NOW_PATIENCE_SECONDS:
                self._on_broken("it kept outbound.db locked for more than 5 s")
            else:
                loop.call_later(_NOT_NOW_RETRY_SECONDS, self._container.look)
            return
        except DamagedError as error:
            self._container.closed = True
            self._container.end(Ended.FOR_DAMAGE, str(error), kill=True)
            return
        self._locked_since = None
        self._display.sign()
        if drained:
            self._progressed = True
            self._recoveries = 0
            self._pace.fruitful()
            self._turn.end()
            self._watch_turn()
        elif pause := self._pace.fruitless(loop.time()):
            await asyncio.sleep(pause)
        if not self._mailbox.busy:
            self._idle_since = loop.time()
            self._restart_if_idle()
            if self._around.admission.anybody_waits:
                self._around.admission.make_room()

    async def _drained(self) -> bool:
        """Deliver and finish all that is there; True when anything was."""
        progressed = False
        while True:
            drained = await self._mailbox.drain()
            self._claimed = drained.claimed
            self._again.at(drained.again)
            if drained.outcomes and drained.claimed:
                # In the middle of a turn: a tool may wait for what became of its row.
                self._container.ring()
            progressed = progressed or bool(drained.finished or drained.delivered)
            if not drained.more:
                return progressed

    async def _after_end(self) -> None:
        """The container has gone: take its last words, then decide what becomes of what it left undone."""
        container = self._container
        if container.ended is Ended.FOR_DAMAGE:
            await self._quarantine(container.ended_text)
            return
        # A journal that waits for the next container hides what was said last; whatever was not finished by then has
        # used a try all the same, or a container that leaves one at each death would be woken for ever.
        await self._look()
        if self._quarantine_reason is not None:
            return
        await self._mailbox.load()
        if self._closed:
            return
        if container.ended is Ended.BY_PERSON:
            victims = self._mailbox.among(self._dropped)
        else:
            victims = self._mailbox.among(self._claimed)
            if not victims and not self._progressed:
                victims = self._mailbox.due()
        if victims and not container.ended.blameless:
            await self._aftermath.settle(victims)

    async def _quarantine(self, reason: str) -> None:
        log.error("session %s is quarantined: %s", self.ref.id, reason, extra=self._about(Event.SESSION_QUARANTINED))
        self._quarantine_reason = reason
        await self._around.database.run(session_rows.set_quarantine, self.ref.id, reason)
        await self._mailbox.load()
        await self._refuse()

    async def _refuse(self) -> None:
        """Answer every waiting message with why nobody will."""
        self._display.see(Phase.QUARANTINED, reason=self._quarantine_reason or "")
        await self._aftermath.refuse(
            "quarantine",
            f"This conversation is in quarantine: {self._quarantine_reason}."
            f" The operator can run: ncl sessions reset {self.ref.id}",
        )

    async def _fall_asleep(self) -> bool:
        """Leave nothing loaded; False when something has come in between."""
        if self._accepting:
            await self._kick.wait()
            return False
        await self._container.unload()
        next_due = await self.files.read(lambda inbound: inbound.next_due(self._looked_at))
        if next_due is not None and next_due <= now_text():
            self._look_first = True
            return False
        identity = await self.files.identity()
        remembered = UNSEEN if self.unseen else None if identity is None else str(identity)
        if self._news or self._accepting:
            return False
        # In one breath with the look above: who marks it as awake from here on is after it in the database's queue.
        self.marked = False
        await self._around.database.run(session_rows.mark_asleep, self.ref.id, remembered, next_due)
        await self.files.close()
        if self._news or self._accepting:
            return False
        self._display.see(Phase.ASLEEP)
        self._around.slept(next_due)
        return True

    # Small things.

    async def _mark_awake(self) -> None:
        if not self.marked:
            await self._around.database.run(session_rows.mark_awake, self.ref.id)
            self.marked = True

    async def _end_locks(self, reason: str) -> None:
        """A lock was held for too long: end who holds it."""
        log.error("session %s: %s", self.ref.id, reason, extra=self._about(Event.BOUND_BROKEN))
        await self._container.end_now(Ended.FOR_BOUND, reason, kill=True)

    def _restart_if_idle(self) -> None:
        if self._restart_due and not self._mailbox.busy:
            self._restart_due = False
            self._container.end(Ended.FOR_RESTART)

    def _watch_turn(self) -> None:
        # Before it is ready systemd watches its start, with a bound and words of its own.
        if self._container.ever_active and self._mailbox.busy:
            self._turn.begin()

    def _about(self, event: Event | None = None) -> dict[str, str]:
        channel = self.ref.address.channel_type if self.ref.address else None
        return about(session=self.ref.id, group=self.ref.group, channel=channel, event=event)

    # Events, from the doorbell and the bus.

    def _changed(self) -> None:
        self._kick.set()

    def _on_broken(self, reason: str) -> None:
        log.error("session %s broke a bound: %s", self.ref.id, reason, extra=self._about(Event.BOUND_BROKEN))
        self._container.end(Ended.FOR_BOUND, reason, kill=True)
