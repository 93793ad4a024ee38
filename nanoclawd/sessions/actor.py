"""One session's life: asleep → waiting → waking → awake → stopping, with one container and one doorbell at most.

An actor exists while its session has something to do; a sleeping session is rows and files only. All of its work runs
in one task, so that its steps never overlap; other tasks set flags and kick it, or end the container, which takes turns
with what begins it. systemd starts containers and keeps a second one from existing; the actor decides when, how often,
and what the person is told.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import Unavailable
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.address_book import address_book
from nanoclawd.sessions.aftermath import CLOSED, Aftermath
from nanoclawd.sessions.attendance import Attendance
from nanoclawd.sessions.container import Container, ContainerEvents
from nanoclawd.sessions.display import Display
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.hostile_vfs import DamagedError, NotNowError
from nanoclawd.sessions.inbound import Destination, NewMessage
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.sessions.quarantine import Quarantine
from nanoclawd.sessions.state import Phase, Snapshot
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import sessions as session_rows
from nanoclawd.supervision.admission import Hold
from nanoclawd.supervision.units import SessionUnits

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
            ContainerEvents(self._changed, self._display.partial, self._display.status),
        )
        self._attendance = Attendance(
            self._container, self._mailbox, self._display, around.admission, turn_seconds=around.timeouts.turn
        )
        self._aftermath = Aftermath(ref, self._container, self._mailbox, around)
        self._quarantine = Quarantine(
            ref, around.database, self.files, self._mailbox, self._display, self._aftermath, quarantine_reason
        )
        self._forget = forget
        self._task: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._news = asyncio.Event()
        self._look_first = look_first
        self._looked_at = now_text()
        self._closed = closed
        self.marked = False
        """Whether ``central.db`` knows that it is at work."""
        self._accepting = 0

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
        return self._attendance.idle_since

    @property
    def quarantined(self) -> bool:
        """Whether its container's database was found damaged."""
        return self._quarantine.holds

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
        """Keep the session from falling asleep: something of it is under way in another task."""
        self._accepting += 1
        try:
            yield
        finally:
            self._accepting -= 1
            self._kick.set()

    async def store(self, message: NewMessage, check: Callable[[], None] = lambda: None) -> bool:
        """Store a message durably; False when it was stored before.

        The caller has marked the session as awake, inside of :meth:`accepting`, and nudges it afterwards.

        Args:
            message: the message.
            check: called in the thread that stores it, before that.

        Raises:
            Unavailable: it could not be stored; nothing of it has remained. Or the check has raised it.
        """
        if self._closed:
            raise Unavailable("this conversation was closed at this moment")
        return await self._mailbox.accept(message, check)

    def nudge(self) -> None:
        """There may be work: look again."""
        self._news.set()
        self._attendance.nudge()
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
        with self.accepting():
            stopped = await self._container.end_now(ended)
        self.nudge()
        return stopped

    async def restart(self, note: NewMessage | None = None) -> bool:
        """End the container, which is nobody's fault; False where there is none, and then nothing has changed.

        A note is stored before, for the next container alone: that begins once this one is really gone, at once.

        Raises:
            Unavailable: the note could not be stored; the container goes on.
        """
        with self.accepting():
            if not await self._container.running():
                return False
            if note is not None:
                await self.store(note)
            await self._container.end_now(Ended.FOR_RESTART)
        self.nudge()
        return True

    async def restart_after_turn(self, note: NewMessage | None = None) -> bool:
        """End the container when it has answered what it was asked; as :meth:`restart` in all else."""
        with self.accepting():
            if not await self._container.running():
                return False
            if note is not None:
                await self.store(note)
        self._attendance.restart_when_idle()
        return True

    async def stop_turn(self) -> bool:
        """Drop what was asked and not answered yet, with its container if there is one; False where nothing was.

        What somebody has planned for later stays.
        """
        with self.accepting():
            if self._task is None:
                await self._mailbox.load()
            asked = self._mailbox.asked()
            self._aftermath.drop(asked)
            if asked and not await self._container.end_now(Ended.BY_PERSON):
                await self._aftermath.settle_dropped()
        self.nudge()
        return bool(asked)

    async def close(self) -> None:
        """End the container and what waits for it, with a word to the people; its files are kept."""
        self._closed = True
        self._look_first = True
        await self.stop(Ended.BY_OPERATOR)

    async def project(self, destinations: Sequence[Destination]) -> None:
        """Let the agent know where it may write to."""
        await self.files.write(lambda inbound: inbound.set_destinations(destinations))

    def retire(self) -> None:
        """Send an idle container to sleep early: somebody needs its place."""
        self._attendance.retire()

    async def release(self) -> str:
        """Lift the quarantine: move the damaged database aside, and return where it is."""
        kept = await self._quarantine.lift()
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
            self._news.clear()
            try:
                again = await self._cycle()
                pause = _FIRST_PAUSE_SECONDS
            except Exception as error:
                self._display.see(Phase.WAITING, reason=str(error))
                self._display.rest()
                await self._aftermath.stumbled(error, tell=pause > _FIRST_PAUSE_SECONDS)
                await self._back_off(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                self._look_first = again = True
            if again or self._news.is_set():
                continue
            self._task = None
            self._forget(self)
            return

    async def _back_off(self, seconds: float) -> None:
        """Wait after a failure: whole for the first second, since news may come without end, then until there is some.

        What has failed (a disk, the bus) tells nobody here when it is well again; who knows nudges.
        """
        await asyncio.sleep(_FIRST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds - _FIRST_PAUSE_SECONDS)

    async def _cycle(self) -> bool:
        """Do what is to do; False when the session can be forgotten."""
        await self._mailbox.load()
        recovery = False
        if self._look_first:
            running = await self._container.find()
            self._look_first = False
            if running and not self._quarantine.holds and not self._closed:
                await self._serve(found=True)
                return True
            if running:
                await self._container.end_now(Ended.BY_OPERATOR if self._closed else Ended.FOR_DAMAGE)
            elif not self._quarantine.holds:
                recovery = await self._look()
        await self._aftermath.settle_dropped()
        if recovery:
            await self._quarantine.recovering()
        if self._quarantine.holds:
            await self._quarantine.refuse()
        elif self._closed:
            await self._aftermath.refuse("closed", CLOSED)
        elif self._wanted(recovery=recovery):
            await self._serve(found=False, recovery=recovery)
            return True
        return not await self._fall_asleep()

    async def _look(self) -> bool:
        """Drain without a container; True when a journal needs one to roll it back."""
        self._looked_at = now_text()
        try:
            await self._attendance.drained()
        except NotNowError:
            return True
        except DamagedError as error:
            await self._quarantine.impose(str(error))
        return False

    async def _serve(self, *, found: bool, recovery: bool = False) -> None:
        """Have a container, from its start (or from finding it) to its end and what follows from that."""
        admission = self._around.admission
        self._look_first = True
        self._attendance.begin()
        if found:
            admission.adopt(self.ref.id)
        else:
            self._display.see(Phase.WAITING, reason="waits for a place")
            await self._around.check_disk(self.ref.id)
            await admission.enter(self.ref.id, self.ref.group, self._held)
        try:
            if not found and not self._wanted(recovery=recovery):
                return  # somebody has dropped it meanwhile
            self._display.see(Phase.WAKING)
            await self._mark_awake()
            destinations = await self._around.database.run(address_book, self.ref.agent_group_id)
            await self.files.write(lambda inbound: inbound.set_routing(self.ref.address))
            await self.project(destinations)
            if found:
                await self._container.adopt()
            else:
                await self._mailbox.release()
                if not await self._container.wake(lambda: self._wanted(recovery=recovery)):
                    return
            await self._attendance.attend(self._kick)
            self._display.see(Phase.STOPPING)
            await self._container.wait_gone(self._kick)
        finally:
            self._container.hang_up()
            self._attendance.end()
            admission.leave(self.ref.id)
        if self._attendance.progressed:
            self._quarantine.recovered()
        self._display.status("")
        await self._after_end()

    def _wanted(self, *, recovery: bool) -> bool:
        """Tell whether there is something to start a container for."""
        if self._closed:
            return False
        return recovery or self._aftermath.wanted()

    async def _after_end(self) -> None:
        """The container has gone: take its last words, then decide what becomes of what it left undone."""
        container = self._container
        if container.ended is Ended.FOR_DAMAGE:
            await self._quarantine.impose(container.ended_text)
            return
        # A journal that waits for the next container hides what was said last; whatever was not finished by then has
        # used a try all the same, or a container that leaves one at each death would be woken for ever.
        await self._look()
        if self._quarantine.holds:
            return
        await self._mailbox.load()
        if self._closed:
            return
        await self._aftermath.settle_dropped()
        undone = self._attendance.undone()
        if undone and not container.ended.blameless:
            await self._aftermath.settle(undone)

    async def _fall_asleep(self) -> bool:
        """Leave nothing loaded; False when something has come in between."""
        if self._accepting:
            self._kick.clear()
            if not self._news.is_set():
                await self._kick.wait()
            return False
        await self._container.unload()
        next_due = await self.files.read(lambda inbound: inbound.next_due(self._looked_at))
        if next_due is not None and next_due <= now_text():
            self._look_first = True
            return False
        identity = await self.files.identity()
        remembered = UNSEEN if self.unseen else None if identity is None else str(identity)
        if self._news.is_set() or self._accepting:
            return False
        # In one breath with the look above: who marks it as awake from here on is after it in the database's queue.
        self.marked = False
        await self._around.database.run(session_rows.mark_asleep, self.ref.id, remembered, next_due)
        await self.files.close()
        if self._news.is_set() or self._accepting:
            return False
        self._display.see(Phase.ASLEEP)
        self._around.slept(next_due)
        return True

    # Small things.

    async def _held(self, hold: Hold) -> None:
        """Nobody of the group is woken for now: say so, and show no sign of work meanwhile."""
        self._display.hold(hold.reason)
        await self._aftermath.held(hold)

    async def _mark_awake(self) -> None:
        if not self.marked:
            await self._around.database.run(session_rows.mark_awake, self.ref.id)
            self.marked = True

    async def _end_locks(self, reason: str) -> None:
        # The files are made before the container, which shows its answers with their help.
        await self._container.end_locks(reason)

    def _changed(self) -> None:
        self._kick.set()
