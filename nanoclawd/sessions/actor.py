"""One session's life: asleep → waiting → waking → awake → stopping, with one container and one doorbell at most.

An actor exists while its session has something to do; a sleeping session is rows and files only. All of its work runs
in one task, so that its steps never overlap; other tasks only set flags and kick it. systemd starts containers and
keeps a second one from existing; the actor decides when, how often, and what the person is told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.doorbell import Partial
from nanoclaw_runner.contract.rows import Address
from nanoclawd.config import Timeouts
from nanoclawd.errors import Unavailable
from nanoclawd.journal import Event, about
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.drain import Drain, Drained
from nanoclawd.sessions.ending import Ended, describe, given_up, start_trouble
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.hostile_vfs import DamagedError, NotNowError
from nanoclawd.sessions.inbound import MAX_TRIES, NewMessage, Notice, Pending
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.ports import DeliveryPort, PartialText, Place, SessionRef, StatusText
from nanoclawd.sessions.state import Phase, Snapshot
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission
from nanoclawd.supervision.doorbell import Doorbell, DoorbellEvents
from nanoclawd.supervision.units import SessionUnits
from nanoclawd.supervision.user_manager import UnitState, UserManager

log = logging.getLogger(__name__)

_STOP_SECONDS: Final = 15.0
_NOT_NOW_RETRY_SECONDS: Final = 0.05
_NOT_NOW_PATIENCE_SECONDS: Final = 5.0
_MAX_RECOVERIES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all actors share."""

    database: Database
    manager: UserManager
    admission: Admission
    jobs: SessionJobs
    reader: OutboundReader
    port: DeliveryPort
    timeouts: Timeouts
    runtime_directory: Path
    image_present: Callable[[], Awaitable[bool]]
    slept: Callable[[str | None], None]
    """A session fell asleep; its next due time."""


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
        self._units = SessionUnits(ref.group, ref.id, around.runtime_directory)
        self._drain = Drain(ref, self.files, around.port)
        self._forget = forget
        self._snapshot = Snapshot()
        self._task: asyncio.Task[None] | None = None
        self._kick = asyncio.Event()
        # What is known of the session's work.
        self._pending: dict[str, Pending] = {}
        self._fresh: dict[str, Pending] = {}
        self._looked_at = now_text()
        self._marked = False
        self._accepting = 0
        self._news = False
        self._look_first = look_first
        self._quarantine_reason = quarantine_reason
        # What is known of the container that is there.
        self._doorbell: Doorbell | None = None
        self._unit = UnitState()
        self._socket_started = look_first
        self._ever_active = False
        self._rung = False
        self._closed = False
        self._progressed = False
        self._claimed: frozenset[str] = frozenset()
        self._ended = Ended.BY_ITSELF
        self._ended_text = ""
        self._locked_since: float | None = None
        self._turn_timer: asyncio.TimerHandle | None = None
        self._locks_ended = 0
        self._recoveries = 0
        self._idle_since: float | None = None

    # What other tasks may do.

    @property
    def snapshot(self) -> Snapshot:
        """Where the session is now, for ``ncl status``."""
        return self._snapshot

    @property
    def pending_count(self) -> int:
        """How many messages wait for an answer, as far as known here."""
        return sum(message.trigger for message in self._pending.values())

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
        self._check_disk()
        self._accepting += 1
        try:
            if not self._marked:
                # First, so that a daemon that dies between the two commits looks here when it is back.
                await self._around.database.run(session_rows.mark_awake, self.ref.id)
                self._marked = True
            stored = await self.files.append(message)
        finally:
            self._accepting -= 1
            self._kick.set()
        if stored:
            entry = Pending(
                id=message.id,
                tries=0,
                trigger=message.trigger,
                process_after=message.process_after,
                timestamp=now_text(),
                address=message.address,
                content="",
            )
            self._fresh[message.id] = entry
            self._pending[message.id] = entry
        self.nudge()
        return stored

    def nudge(self) -> None:
        """There may be work: look again."""
        self._news = True
        self._idle_since = None
        if self._doorbell is not None:
            self._doorbell.ring()
            self._watch_turn()
        self._kick.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"session {self.ref.id}")

    def deliver_waiting(self) -> None:
        """A chat became reachable: what waits for it is due."""
        self._rung = True
        self._look_first = True
        self.nudge()

    async def stop(self, ended: Ended) -> bool:
        """End the container; False where there is none. What it worked on is told to the person, or tried again."""
        if not (await self._around.manager.state(self._units.service)).running:
            return False
        self._end(ended, "")
        await self._around.manager.stop_unit(self._units.service)
        return True

    def retire(self) -> None:
        """Send an idle container to sleep early: somebody needs its place."""
        if self.idle_since is None:
            return
        self._idle_since = None
        self._end(Ended.FOR_ROOM, "")
        self._stop_soon()

    async def release(self) -> str:
        """Lift the quarantine: move the damaged database aside, and return where it is."""
        kept = await self.files.replace_outbound()
        await self._around.database.run(session_rows.set_quarantine, self.ref.id, None)
        self._quarantine_reason = None
        self._recoveries = 0
        return kept

    async def settle(self) -> None:
        """Wait until the session sleeps (used before its files are deleted)."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def detach(self) -> None:
        """The daemon stops: let the container be, and forget it without a word."""
        if self._task is not None:
            self._task.cancel()
        if self._doorbell is not None:
            self._doorbell.close()

    # The task.

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._news = False
            try:
                again = await self._cycle()
                pause = _FIRST_PAUSE_SECONDS
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self._stumbled(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                self._look_first = again = True
            if again or self._news:
                continue
            self._task = None
            self._forget(self)
            return

    async def _stumbled(self, error: Exception) -> None:
        """Something that should work did not: say so, in the journal and to the person, and try again later."""
        log.error(
            "session %s: %s",
            self.ref.id,
            error,
            exc_info=None if isinstance(error, Unavailable) else error,
            extra=self._about(Event.SESSION_START_FAILED),
        )
        self._hang_up()
        self._around.admission.leave(self.ref.id)
        self._see(Phase.WAITING, reason=str(error))
        text = error.message if isinstance(error, Unavailable) else "something unexpected went wrong"
        try:
            await self._tell(self._waiting_ids(), "stumbled", f"I can't work at the moment: {text}. I keep trying.")
            await self._drained()
        except Exception:
            log.exception("session %s: the person could not be told", self.ref.id, extra=self._about())

    async def _cycle(self) -> bool:
        """Do what is to do; False when the session can be forgotten."""
        await self._load_pending()
        if self._quarantine_reason is not None:
            await self._stop_quarantined()
            await self._refuse_pending()
            return not await self._fall_asleep()
        if self._look_first:
            unit = await self._around.manager.state(self._units.service)
            if unit.running:
                await self._serve(adopt=True)
                return True
            recovery = await self._look()
        else:
            recovery = False
        self._look_first = False
        if self._quarantine_reason is None and (recovery or self._due()):
            await self._serve(adopt=False)
            self._look_first = True
            return True
        return not await self._fall_asleep()

    async def _look(self) -> bool:
        """Drain without a container; True when a journal needs one to roll it back."""
        self._looked_at = now_text()
        try:
            await self._drained()
        except NotNowError:
            self._recoveries += 1
            if self._recoveries <= _MAX_RECOVERIES:
                return True
            await self._quarantine("it leaves a journal beside outbound.db that it does not roll back")
        except DamagedError as error:
            await self._quarantine(str(error))
        return False

    async def _serve(self, *, adopt: bool) -> None:
        """Have a container, from its start (or from finding it) to its end and what follows from that."""
        admission = self._around.admission
        if adopt:
            admission.adopt(self.ref.id)
        else:
            self._see(Phase.WAITING, reason="waits for a place")
            self._check_disk()
            await admission.enter(self.ref.id, self.ref.group)
        try:
            self._begin(adopt=adopt)
            await self._wake()
            await self._attend()
            await self._wait_stopped()
        finally:
            self._hang_up()
            admission.leave(self.ref.id)
        await self._after_end()

    def _begin(self, *, adopt: bool) -> None:
        self._see(Phase.WAKING)
        self._ever_active = adopt
        self._rung = adopt
        self._closed = self._progressed = False
        self._claimed = frozenset()
        self._ended, self._ended_text = Ended.BY_ITSELF, ""
        self._locked_since = None
        self._unit = UnitState()

    async def _wake(self) -> None:
        """Start the socket unit and connect, which makes systemd start the container."""
        manager = self._around.manager
        if not self._marked:
            await self._around.database.run(session_rows.mark_awake, self.ref.id)
            self._marked = True
        await self.files.write(lambda inbound: inbound.set_routing(self.ref.address))
        manager.watch(self._units.service, self._on_unit)
        for _ in range(2):
            self._socket_started = True
            if await manager.start_unit(self._units.socket) == "done":
                try:
                    self._doorbell = await Doorbell.connect(
                        self._units.doorbell,
                        DoorbellEvents(self._on_rung, self._on_partial, self._on_closed, self._on_broken),
                    )
                except OSError as error:
                    log.debug("session %s: %s", self.ref.id, error)
                else:
                    self._doorbell.ring()
                    self._watch_turn()
                    return
            # Failed earlier, or its service runs without it: both are mended by beginning anew.
            await manager.stop_unit(self._units.service)
            await manager.reset_failed(self._units.service)
            await manager.reset_failed(self._units.socket)
        raise Unavailable(f"systemd could not start {self._units.socket}", hint="ncl doctor")

    async def _attend(self) -> None:
        """Serve the awake container until its doorbell closes or its unit ends."""
        while not self._closed:
            self._kick.clear()
            if self._unit.active == "active" and not self._ever_active:
                self._ever_active = True
            if self._ever_active and self._snapshot.phase is Phase.WAKING:
                self._see(Phase.AWAKE)
            if self._unit.active == "failed":
                return
            if self._rung:
                self._rung = False
                await self._drain_awake()
                continue
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
                loop.call_later(_NOT_NOW_RETRY_SECONDS, self._on_rung)
            return
        except DamagedError as error:
            self._end(Ended.FOR_DAMAGE, str(error))
            self._closed = True
            await self._around.manager.kill_unit(self._units.service)
            return
        self._locked_since = None
        self._recoveries = 0
        if drained.finished or drained.delivered:
            self._progressed = True
            self._restart_turn()
        if drained.more:
            self._rung = True
        if not self.pending_count:
            self._idle_since = loop.time()
            if self._around.admission.anybody_waits:
                self._around.admission.make_room()

    async def _drained(self) -> Drained:
        """Drain once; what is finished is told after its answers were delivered."""
        drained = await self._drain.run(tuple(self._pending))
        self._claimed = drained.claimed
        for message_id, ack in drained.finished.items():
            message = self._pending.pop(message_id, None)
            self._fresh.pop(message_id, None)
            if message is not None and message.address is not None and message.trigger:
                await self._around.port.end_turn(message.address, message_id, completed=ack == "completed")
        if drained.problems:
            await self._tell((), f"undelivered-{now_text()}", " ".join(drained.problems))
        return drained

    async def _wait_stopped(self) -> None:
        """Wait until systemd has ended the unit and its container."""
        self._see(Phase.STOPPING)
        manager = self._around.manager
        loop = asyncio.get_running_loop()
        asked = self._ended is not Ended.BY_ITSELF
        deadline = loop.time() + _STOP_SECONDS
        while (await self._read_unit()).running:
            self._kick.clear()
            if not asked:
                asked = True
                await manager.begin_stop(self._units.service)
            try:
                await asyncio.wait_for(self._kick.wait(), max(0.0, deadline - loop.time()))
            except TimeoutError:
                await manager.kill_unit(self._units.service)
                deadline = loop.time() + _STOP_SECONDS

    async def _read_unit(self) -> UnitState:
        self._unit = await self._around.manager.state(self._units.service)
        return self._unit

    async def _after_end(self) -> None:
        """The container has gone: take its last words, then decide what becomes of what it left undone."""
        unit = self._unit
        if unit.active == "failed":
            await self._around.manager.reset_failed(self._units.service)
        if self._ended is Ended.FOR_DAMAGE:
            await self._quarantine(self._ended_text)
            return
        last_words_wait = await self._look()
        if self.ref.address is not None:
            self._around.port.show_progress(self.ref.address, StatusText(""))
        if self._quarantine_reason is not None or last_words_wait:
            return
        await self._load_pending()
        victims = [message for message in self._pending.values() if message.id in self._claimed]
        if not victims and not self._progressed:
            victims = self._due()
        if not victims or self._ended.blameless:
            return
        await self._settle_victims(victims, unit)

    async def _settle_victims(self, victims: list[Pending], unit: UnitState) -> None:
        """Give the messages that a container did not finish another try, or end them with a word."""
        ids = [message.id for message in victims]
        log.warning(
            "session %s: its container ended %s (%s) with %d messages unfinished",
            self.ref.id,
            self._ended.value,
            self._ended_text or describe(unit),
            len(victims),
            extra=self._about(),
        )
        if self._ended is Ended.BY_OPERATOR:
            await self._give_up(ids, "stopped", "The operator has stopped me while I worked on this.")
            return
        if self._ended is Ended.FOR_TIME:
            minutes = self._around.timeouts.turn / 60
            await self._give_up(
                ids, "time", f"I worked on this for {minutes:g} minutes, which is the limit, and was ended."
            )
            return
        retries = await self.files.write(lambda inbound: inbound.retry(victims))
        if self._ended is Ended.FOR_BOUND and self._ended_text:
            await self._tell(ids, "bound", f"My container was ended: {self._ended_text}.")
        if not self._ever_active:
            trouble = start_trouble(
                unit,
                self.ref.id,
                image_present=await self._around.image_present(),
                ready_seconds=self._around.timeouts.ready,
            )
            log.error("session %s: %s", self.ref.id, trouble.what, extra=self._about(Event.SESSION_START_FAILED))
            await self._tell(ids, "start", trouble.sentence() + " I will try again.")
        failed = [retry.message.id for retry in retries if retry.failed]
        if failed:
            await self._give_up(failed, "failed", given_up(MAX_TRIES + 1, unit, self.ref.id), stored=True)

    async def _give_up(self, message_ids: list[str], kind: str, text: str, *, stored: bool = False) -> None:
        """End messages with a word to the person, once it is delivered or waits for them."""
        if not stored:
            await self.files.write(lambda inbound: inbound.fail(message_ids))
        await self._tell(message_ids, kind, text)
        ended = [self._pending.pop(key) for key in message_ids if key in self._pending]
        for key in message_ids:
            self._fresh.pop(key, None)
        await self._look()
        for message in ended:
            if message.address is not None and message.trigger:
                await self._around.port.end_turn(message.address, message.id, completed=False)

    async def _quarantine(self, reason: str) -> None:
        log.error("session %s is quarantined: %s", self.ref.id, reason, extra=self._about(Event.SESSION_QUARANTINED))
        self._quarantine_reason = reason
        await self._around.database.run(session_rows.set_quarantine, self.ref.id, reason)
        await self._refuse_pending()

    async def _stop_quarantined(self) -> None:
        if self._look_first and (await self._around.manager.state(self._units.service)).running:
            await self._around.manager.stop_unit(self._units.service)
        self._look_first = False

    async def _refuse_pending(self) -> None:
        """Answer every waiting message with why nobody will."""
        self._see(Phase.QUARANTINED, reason=self._quarantine_reason or "")
        waiting = self._waiting_ids()
        if not waiting:
            await self._drain.run_notices()
            return
        await self.files.write(lambda inbound: inbound.fail(waiting))
        text = (
            f"This conversation is in quarantine: {self._quarantine_reason}."
            f" The operator can run: ncl sessions reset {self.ref.id}"
        )
        await self._tell(waiting, "quarantine", text)
        await self._drain.run_notices()
        for key in waiting:
            message = self._pending.pop(key)
            self._fresh.pop(key, None)
            if message.address is not None and message.trigger:
                await self._around.port.end_turn(message.address, key, completed=False)

    async def _fall_asleep(self) -> bool:
        """Leave nothing loaded; False when something has come in between."""
        if self._accepting:
            await self._kick.wait()
            return False
        self._marked = False
        if self._socket_started:
            await self._around.manager.stop_unit(self._units.socket)
            self._socket_started = False
        self._around.manager.unwatch(self._units.service)
        next_due = await self.files.read(lambda inbound: inbound.next_due(self._looked_at))
        if next_due is not None and next_due <= now_text():
            self._look_first = True
            return False
        identity = await self.files.identity()
        await self._around.database.run(
            session_rows.mark_asleep, self.ref.id, None if identity is None else str(identity), next_due
        )
        if self._news or self._accepting:
            return False
        await self.files.close()
        if self._news or self._accepting:
            return False
        self._see(Phase.QUARANTINED if self._quarantine_reason else Phase.ASLEEP)
        self._around.slept(next_due)
        return True

    # Small things.

    async def _load_pending(self) -> None:
        self._fresh.clear()
        rows = await self.files.read(lambda inbound: inbound.pending())
        self._pending = {row.id: row for row in rows} | self._fresh

    def _due(self) -> list[Pending]:
        now = now_text()
        return [message for message in self._pending.values() if message.trigger and message.due(now)]

    def _waiting_ids(self) -> list[str]:
        return [message.id for message in self._pending.values() if message.trigger]

    async def _tell(self, message_ids: Iterable[str], kind: str, text: str) -> None:
        """Store a notice for each message (or one for the chat), each kind once per message."""
        notices = [
            Notice(f"notice-{kind}-{key}", text, address, now_text(), in_reply_to=key)
            for key in message_ids
            if (address := self._address_of(key)) is not None
        ]
        if not message_ids and self.ref.address is not None:
            notices = [Notice(f"notice-{kind}", text, self.ref.address, now_text())]

        for notice in notices:
            await self.files.add_notice(notice)
        self._rung = True
        self._kick.set()

    def _address_of(self, message_id: str) -> Address | None:
        message = self._pending.get(message_id)
        return self.ref.address if message is None else message.address or self.ref.address

    async def _end_locks(self, reason: str) -> None:
        """A lock was held for too long: end who holds it. Told to the person when it happens again."""
        self._locks_ended += 1
        self._end(Ended.FOR_BOUND, reason if self._locks_ended > 1 else "")
        log.error("session %s: %s", self.ref.id, reason, extra=self._about(Event.BOUND_BROKEN))
        await self._around.manager.kill_unit(self._units.service)
        await self._around.manager.stop_unit(self._units.service)

    def _end(self, ended: Ended, text: str) -> None:
        if self._ended is Ended.BY_ITSELF:
            self._ended, self._ended_text = ended, text

    def _stop_soon(self) -> None:
        stop = asyncio.create_task(self._around.manager.begin_stop(self._units.service))
        stop.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _hang_up(self) -> None:
        if self._doorbell is not None:
            self._doorbell.close()
            self._doorbell = None
        self._cancel_turn()
        self._idle_since = None

    def _watch_turn(self) -> None:
        """The daemon keeps a wall-time bound per turn: a watchdog is only as honest as the container that feeds it."""
        if self._turn_timer is None and self.pending_count:
            loop = asyncio.get_running_loop()
            self._turn_timer = loop.call_later(self._around.timeouts.turn, self._on_turn_time)

    def _restart_turn(self) -> None:
        self._cancel_turn()
        self._watch_turn()

    def _cancel_turn(self) -> None:
        if self._turn_timer is not None:
            self._turn_timer.cancel()
            self._turn_timer = None

    def _check_disk(self) -> None:
        """A full disk loses messages: below the bound nothing is accepted and nothing woken.

        Raises:
            Unavailable: the disk is below its bound.
        """
        if self._around.admission.disk_is_low():
            log.error("the disk is almost full", extra=self._about(Event.DISK_LOW))
            raise Unavailable("the appliance's disk is almost full", hint="df -h; ncl doctor")

    def show_place(self, number: int, reason: str) -> None:
        """Somebody counted the queue: pass it on to the person who waits."""
        if self._snapshot.phase is Phase.WAITING and self.ref.address is not None:
            self._snapshot = self._snapshot.placed(number, reason)
            self._around.port.show_progress(self.ref.address, Place(number, reason))

    def _see(self, phase: Phase, *, reason: str = "") -> None:
        self._snapshot = Snapshot(phase=phase, since=now_text(), reason=reason)

    def _about(self, event: Event | None = None) -> dict[str, str]:
        channel = self.ref.address.channel_type if self.ref.address else None
        return about(session=self.ref.id, group=self.ref.group, channel=channel, event=event)

    # Events, from the doorbell and the bus.

    def _on_rung(self) -> None:
        self._rung = True
        self._kick.set()

    def _on_partial(self, partial: Partial) -> None:
        if self.ref.address is not None:
            self._around.port.show_progress(self.ref.address, PartialText(partial.in_reply_to, partial.text))

    def _on_closed(self) -> None:
        self._closed = True
        self._kick.set()

    def _on_broken(self, reason: str) -> None:
        log.error("session %s broke a bound: %s", self.ref.id, reason, extra=self._about(Event.BOUND_BROKEN))
        self._end(Ended.FOR_BOUND, reason)
        self._stop_soon()
        self._on_closed()

    def _on_turn_time(self) -> None:
        self._turn_timer = None
        self._end(Ended.FOR_TIME, "")
        self._stop_soon()

    def _on_unit(self, _unit: str, state: UnitState) -> None:
        if state.status_text != self._unit.status_text and self.ref.address is not None:
            self._around.port.show_progress(self.ref.address, StatusText(state.status_text))
        self._unit = state
        self._snapshot = self._snapshot.with_status(state.status_text)
        self._kick.set()
