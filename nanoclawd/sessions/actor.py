"""One session's life: asleep → waiting → waking → awake → stopping, with one container and one doorbell at most.

An actor exists while its session has something to do; a sleeping session is rows and files only. All of its work runs
in one task, so that its steps never overlap; other tasks only set flags and kick it. systemd starts containers and
keeps a second one from existing; the actor decides when, how often, and what the person is told.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.doorbell import Partial
from nanoclawd.errors import Unavailable
from nanoclawd.journal import Event, about
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.container import Container, ContainerEvents
from nanoclawd.sessions.ending import Ended, describe, given_up, start_trouble, tries_again
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.hostile_vfs import DamagedError, NotNowError
from nanoclawd.sessions.inbound import MAX_TRIES, NewMessage, Pending
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.pace import LookPace
from nanoclawd.sessions.ports import PartialText, Place, Progress, SessionRef, StatusText
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
_MAX_STATUS_CHARACTERS: Final = 200


class SessionActor:
    """The one that acts for a session. Made and forgotten by :class:`~nanoclawd.sessions.registry.Sessions`."""

    def __init__(
        self,
        ref: SessionRef,
        paths: SessionPaths,
        around: Surroundings,
        *,
        quarantine_reason: str | None,
        look_first: bool,
        forget: Callable[["SessionActor"], None],
    ) -> None:
        self.ref = ref
        self.files = SessionFiles(ref.id, paths, around.jobs, around.reader, self._end_locks)
        self._around = around
        self._mailbox = Mailbox(ref, self.files, around.port, around.rules)
        self._container = Container(
            SessionUnits(ref.group, ref.id, around.runtime_directory),
            around.manager,
            ContainerEvents(self._changed, self._on_partial, self._on_status, self._on_broken),
        )
        self._forget = forget
        self._snapshot = Snapshot()
        self._task: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        self._news = False
        self._look_first = look_first
        self._looked_at = now_text()
        self._quarantine_reason = quarantine_reason
        self._marked = False
        self._accepting = 0
        self._progressed = False
        self._claimed: frozenset[str] = frozenset()
        self._locked_since: float | None = None
        self._turn_timer: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._recoveries = 0
        self._pace = LookPace()

    # What other tasks may do.

    @property
    def snapshot(self) -> Snapshot:
        """Where the session is now, for ``ncl status``."""
        return self._snapshot

    @property
    def pending_count(self) -> int:
        """How many messages wait for an answer."""
        return self._mailbox.waiting

    @property
    def idle_since(self) -> float | None:
        """When the awake container ran out of work (loop time), or None where it has some."""
        return self._idle_since if self._snapshot.phase is Phase.AWAKE and not self.pending_count else None

    @property
    def quarantined(self) -> bool:
        """Whether its container's database was found damaged."""
        return self._quarantine_reason is not None

    async def accept(self, message: NewMessage) -> bool:
        """Store a message durably and see to its answer; False when it was stored before.

        Raises:
            Unavailable: it could not be stored; nothing of it has remained.
        """
        await self._check_disk()
        self._accepting += 1
        try:
            # First, so that a daemon that dies between the two commits looks here when it is back.
            await self._mark_awake()
            stored = await self._mailbox.accept(message)
        finally:
            self._accepting -= 1
            self._kick.set()
        self.nudge()
        return stored

    def nudge(self) -> None:
        """There may be work: look again."""
        self._news = True
        self._idle_since = None
        if self._container.connected:
            self._container.ring()
            self._watch_turn()
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
        if self._snapshot.phase is Phase.WAITING:
            self._snapshot = self._snapshot.placed(number, reason)
            self._show(Place(number, reason))

    def detach(self) -> None:
        """The daemon stops: let the container be, and forget it without a word."""
        if self._task is not None:
            self._task.cancel()
        self._container.hang_up()

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
        self._see(Phase.WAITING, reason=str(error))
        if not tell:
            return
        text = error.message if isinstance(error, Unavailable) else "something unexpected went wrong"
        try:
            await self._mailbox.tell(
                self._mailbox.ids(), "stumbled", f"I can't work at the moment: {text}. I keep trying."
            )
            await self._mailbox.deliver_notices()
        except Exception:
            log.exception("session %s: the person could not be told", self.ref.id, extra=self._about())

    async def _cycle(self) -> bool:
        """Do what is to do; False when the session can be forgotten."""
        await self._mailbox.load()
        recovery = False
        if self._look_first:
            running = await self._container.find()
            self._look_first = False
            if running and self._quarantine_reason is None:
                await self._serve(adopt=True)
                return True
            if running:
                await self._container.end_now(Ended.FOR_DAMAGE)
            elif self._quarantine_reason is None:
                recovery = await self._look()
        if recovery:
            self._recoveries += 1
            if self._recoveries > _MAX_RECOVERIES:
                await self._quarantine("it leaves a journal beside outbound.db that it does not roll back")
        if self._quarantine_reason is not None:
            await self._refuse()
        elif recovery or self._mailbox.due():
            await self._serve(adopt=False)
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

    async def _serve(self, *, adopt: bool) -> None:
        """Have a container, from its start (or from finding it) to its end and what follows from that."""
        admission = self._around.admission
        self._look_first = True
        if adopt:
            admission.adopt(self.ref.id)
        else:
            self._see(Phase.WAITING, reason="waits for a place")
            await self._check_disk()
            await admission.enter(self.ref.id, self.ref.group)
        try:
            self._see(Phase.WAKING)
            self._progressed = False
            self._claimed = frozenset()
            self._locked_since = None
            await self._mark_awake()
            await self.files.write(lambda inbound: inbound.set_routing(self.ref.address))
            self._container.begin(adopt=adopt)
            await self._container.wake()
            self._watch_turn()
            await self._attend()
            self._see(Phase.STOPPING)
            await self._container.wait_gone(self._kick)
        finally:
            self._container.hang_up()
            self._cancel_turn()
            self._idle_since = None
            admission.leave(self.ref.id)
        self._show(StatusText(""))
        await self._after_end()

    async def _attend(self) -> None:
        """Serve the awake container until its doorbell closes or its unit fails."""
        container = self._container
        while not container.closed and container.unit.active != "failed":
            self._kick.clear()
            if container.ever_active and self._snapshot.phase is Phase.WAKING:
                self._see(Phase.AWAKE)
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
        if drained:
            self._progressed = True
            self._recoveries = 0
            self._pace.fruitful()
            self._cancel_turn()
            self._watch_turn()
        elif pause := self._pace.fruitless(loop.time()):
            await asyncio.sleep(pause)
        if not self.pending_count:
            self._idle_since = loop.time()
            if self._around.admission.anybody_waits:
                self._around.admission.make_room()

    async def _drained(self) -> bool:
        """Deliver and finish all that is there; True when anything was."""
        progressed = False
        while True:
            drained = await self._mailbox.drain()
            self._claimed = drained.claimed
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
        victims = self._mailbox.among(self._claimed)
        if not victims and not self._progressed:
            victims = self._mailbox.due()
        if victims and not container.ended.blameless:
            await self._settle(victims)

    async def _settle(self, victims: list[Pending]) -> None:
        """Give the messages that a container did not finish another try, or end them with a word."""
        container, mailbox = self._container, self._mailbox
        ids = [message.id for message in victims if message.trigger]
        log.warning(
            "session %s: its container ended %s (%s) with %d messages unfinished",
            self.ref.id,
            container.ended.value,
            container.ended_text or describe(container.unit),
            len(victims),
            extra=self._about(),
        )
        everything = [message.id for message in victims]
        if container.ended is Ended.BY_OPERATOR:
            await mailbox.give_up(everything, "stopped", "The operator has stopped me while I worked on this.")
            return
        if container.ended is Ended.FOR_TIME:
            minutes = self._around.timeouts.turn / 60
            text = f"I worked on this for {minutes:g} minutes, which is the limit, and was ended."
            await mailbox.give_up(everything, "time", text)
            return
        without_a_try = await mailbox.retry(victims)
        again = [message.id for message in victims if message.tries and message.trigger]
        if container.ended is Ended.FOR_BOUND and container.ended_text and ids:
            await mailbox.tell(ids, "bound", f"My container was ended: {container.ended_text}.")
        elif not container.ever_active and ids:
            await self._tell_start_trouble(ids)
        elif again and not without_a_try:
            await mailbox.tell(again, "again", tries_again(container.unit))
        if without_a_try:
            await mailbox.give_up(without_a_try, "failed", given_up(MAX_TRIES + 1, container.unit, self.ref.id))
        else:
            await mailbox.deliver_notices()

    async def _tell_start_trouble(self, message_ids: list[str]) -> None:
        trouble = start_trouble(
            self._container.unit,
            self.ref.id,
            image_present=await self._around.image_present(),
            ready_seconds=self._around.timeouts.ready,
        )
        log.error("session %s: %s", self.ref.id, trouble.what, extra=self._about(Event.SESSION_START_FAILED))
        await self._mailbox.tell(message_ids, "start", f"{trouble.sentence()}. I will try again.")

    async def _quarantine(self, reason: str) -> None:
        log.error("session %s is quarantined: %s", self.ref.id, reason, extra=self._about(Event.SESSION_QUARANTINED))
        self._quarantine_reason = reason
        await self._around.database.run(session_rows.set_quarantine, self.ref.id, reason)
        await self._mailbox.load()
        await self._refuse()

    async def _refuse(self) -> None:
        """Answer every waiting message with why nobody will."""
        self._see(Phase.QUARANTINED, reason=self._quarantine_reason or "")
        text = (
            f"This conversation is in quarantine: {self._quarantine_reason}."
            f" The operator can run: ncl sessions reset {self.ref.id}"
        )
        waiting = self._mailbox.ids()
        if waiting:
            await self._mailbox.give_up(waiting, "quarantine", text)
        else:
            await self._mailbox.deliver_notices()

    async def _fall_asleep(self) -> bool:
        """Leave nothing loaded; False when something has come in between."""
        if self._accepting:
            await self._kick.wait()
            return False
        self._marked = False
        await self._container.unload()
        next_due = await self.files.read(lambda inbound: inbound.next_due(self._looked_at))
        if next_due is not None and next_due <= now_text():
            self._look_first = True
            return False
        identity = await self.files.identity()
        await self._around.database.run(
            session_rows.mark_asleep, self.ref.id, None if identity is None else str(identity), next_due
        )
        await self.files.close()
        if self._news or self._accepting:
            return False
        self._see(Phase.ASLEEP)
        self._around.slept(next_due)
        return True

    # Small things.

    async def _mark_awake(self) -> None:
        if not self._marked:
            await self._around.database.run(session_rows.mark_awake, self.ref.id)
            self._marked = True

    async def _check_disk(self) -> None:
        """A full disk loses messages: below the bound nothing is accepted and nothing woken.

        Raises:
            Unavailable: the disk is below its bound.
        """
        if await self._around.jobs.run(self.ref.id, self._around.admission.disk_is_low):
            log.error("the disk is almost full", extra=self._about(Event.DISK_LOW))
            raise Unavailable("the appliance's disk is almost full", hint="df -h; ncl doctor")

    async def _end_locks(self, reason: str) -> None:
        """A lock was held for too long: end who holds it."""
        log.error("session %s: %s", self.ref.id, reason, extra=self._about(Event.BOUND_BROKEN))
        await self._container.end_now(Ended.FOR_BOUND, reason, kill=True)

    def _watch_turn(self) -> None:
        """The daemon keeps a wall-time bound per turn: a watchdog is only as honest as the container that feeds it."""
        if self._turn_timer is None and self.pending_count:
            loop = asyncio.get_running_loop()
            self._turn_timer = loop.call_later(self._around.timeouts.turn, self._container.end, Ended.FOR_TIME)

    def _cancel_turn(self) -> None:
        if self._turn_timer is not None:
            self._turn_timer.cancel()
            self._turn_timer = None

    def _see(self, phase: Phase, *, reason: str = "") -> None:
        # A container may tell its status in the same breath as its READY.
        status = self._snapshot.status if phase is Phase.AWAKE else ""
        self._snapshot = Snapshot(phase=phase, since=now_text(), status=status, reason=reason)

    def _show(self, progress: Progress) -> None:
        if self.ref.address is not None:
            self._around.port.show_progress(self.ref.address, progress)

    def _about(self, event: Event | None = None) -> dict[str, str]:
        channel = self.ref.address.channel_type if self.ref.address else None
        return about(session=self.ref.id, group=self.ref.group, channel=channel, event=event)

    # Events, from the doorbell and the bus.

    def _changed(self) -> None:
        self._kick.set()

    def _on_partial(self, partial: Partial) -> None:
        self._show(PartialText(partial.in_reply_to, partial.text))

    def _on_status(self, text: str) -> None:
        shown = text[:_MAX_STATUS_CHARACTERS]
        self._snapshot = self._snapshot.with_status(shown)
        self._show(StatusText(shown))

    def _on_broken(self, reason: str) -> None:
        log.error("session %s broke a bound: %s", self.ref.id, reason, extra=self._about(Event.BOUND_BROKEN))
        self._container.end(Ended.FOR_BOUND, reason, kill=True)
