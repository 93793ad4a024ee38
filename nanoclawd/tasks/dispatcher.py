"""Due to the second: one timer for the earliest task, and each occurrence handed to its session exactly once.

In one commit the next occurrence is stored and the runs of what is due; then their rows go to the sessions, under
ids made of task and occurrence; then the runs are marked. Whatever kills the daemon in between, the next one finds the
runs that are not marked, and a row that is there already is not stored again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol
from weakref import WeakValueDictionary

import apsw
from cronsim import CronSimError

from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.clock import parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NanoclawError, NotFound, Unavailable
from nanoclawd.journal import about
from nanoclawd.scheduling.background import Background
from nanoclawd.scheduling.timer import WallTimer
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import sessions as session_rows
from nanoclawd.store import tasks
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session
from nanoclawd.store.tasks import Run, Task
from nanoclawd.store.transaction import together
from nanoclawd.tasks import places, rows
from nanoclawd.tasks.occurrences import next_after, zone_of
from nanoclawd.tasks.planning import MAX_OPEN, Plan, plan

log = logging.getLogger(__name__)

BATCH: Final = 200
AGAIN_SECONDS: Final = 60.0
"""What can't be handed over now (a full disk, a session that is being closed) is tried again after this."""

MAX_UNFINISHED: Final = 2
"""Runs of one series that its session may have at once: one that is worked on, and one that waits."""

KEPT_RUNS: Final = 200
KEPT_TASKS: Final = timedelta(days=30)
"""So long a task that is done or cancelled can be looked at."""

_FINAL: Final = {"completed": "completed", "failed": "failed"}


class RunSessions(Protocol):
    """What is needed of :class:`~nanoclawd.sessions.registry.Sessions`."""

    async def create(
        self, agent_group_id: str, group: str, chat_id: str | None, thread_id: str | None = None, mode: str = "shared"
    ) -> Session:
        """Make a session."""

    async def accept_all(self, messages: Sequence[tuple[Session, NewMessage]]) -> list[bool | Exception]:
        """Store messages, each in its session; False: it was there before."""

    async def row_status(self, session_id: str, row_id: str) -> str | None:
        """Return what became of a row that a session was handed; None where it has none, or is gone.

        Raises:
            Unavailable: the session's database can't be read now.
        """


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A run that is to be handed over."""

    task: Task
    run: Run
    session: Session


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A run that its session may not have yet, and the session that it was meant for, where one was chosen."""

    task: Task
    run: Run
    session: Session | None

    @property
    def has_session(self) -> bool:
        """Whether the run can be handed over as it is."""
        return self.session is not None and self.session.status == "active"


class Dispatcher:
    """Runs what is due."""

    def __init__(
        self,
        database: Database,
        sessions: RunSessions,
        has_threads: places.HasThreads,
        *,
        clock_is_right: Callable[[], Awaitable[None]],
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            sessions: take the rows.
            has_threads: tells whether a channel's threads are conversations.
            clock_is_right: returns when the machine's clock can be trusted; nothing runs before that.
            now: the present moment.
        """
        self._database = database
        self._sessions = sessions
        self._has_threads = has_threads
        self._clock_is_right = clock_is_right
        self._now = now
        self.refusal: Callable[[str, str], str | None] = lambda _group_id, _group: None
        """Says why an agent (by its group's id and folder) takes nothing now: its runs are left out for that reason."""
        self._timer: WallTimer | None = None
        self._ready = False
        self._jumped = True
        self._working = asyncio.Lock()
        self._places: WeakValueDictionary[tuple[str, Address | None], asyncio.Lock] = WeakValueDictionary()
        self._asked = False
        self._background = Background(log, "running tasks", self._once_more, AGAIN_SECONDS)

    def start(self) -> None:
        """Carry on where the last daemon stopped, as soon as the clock is right."""
        self._timer = WallTimer(self.look, self._on_jump)
        self._background.spawn(self._begin())

    async def close(self) -> None:
        """Stop; everything is in the databases."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        await self._background.close()

    async def rest(self) -> None:
        """Return when nothing is under way any more."""
        await self._background.rest()

    def look(self) -> None:
        """Look for what is due, and when the next is: something has changed, or the time has come."""
        if self._timer is not None and self._ready and not self._asked:
            self._asked = True
            self._background.spawn(self._work())

    def ended(self, message_id: str, *, completed: bool) -> None:
        """Note what became of a session's row; every row but a run's is passed over."""
        named = rows.run_of(message_id)
        if named is not None and self._timer is not None:
            self._background.spawn(self._end(*named, "completed" if completed else "failed", None))

    async def report(self, session_id: str, message_id: str, status: str, reason: str | None) -> None:
        """Note what a task's script came to, as its session says: only of the runs that it was given."""
        named = rows.run_of(message_id)
        if named is None:
            return
        run = await self._database.run(tasks.run_of, *named)
        if run is not None and run.session_id == session_id:
            await self._end(*named, status, reason)

    async def catch_up(self) -> None:
        """Do all that is due now, and arm the timer for what comes next."""
        async with self._working:
            self._asked = False
            if self._jumped:
                self._jumped = False
                await self._bring_forward()
            while await self._begin_due():
                await self._hand_over()
            again = await self._hand_over()
            if self._timer is not None:
                self._timer.arm(await self._next_look(again=again))

    async def _begin(self) -> None:
        await self._clock_is_right()
        await self._database.run(tasks.prune, to_text(self._now() - KEPT_TASKS))
        await self._reconcile(await self._database.run(tasks.dispatched_runs))
        self._ready = True
        await self._work()

    async def _work(self) -> None:
        try:
            await self.catch_up()
        finally:
            self._asked = False

    def _once_more(self) -> None:
        """Go on after a fault, wherever it was."""
        if self._timer is not None and not self._ready:
            self._background.spawn(self._begin())
        self.look()

    def _on_jump(self) -> None:
        log.warning("the system clock was set; looking at the tasks anew")
        self._jumped = True
        self.look()

    async def _next_look(self, *, again: bool) -> float | None:
        earliest = await self._database.run(tasks.earliest)
        moments = [] if earliest is None else [parse(earliest).timestamp()]
        if again:
            moments.append(self._now().timestamp() + AGAIN_SECONDS)
        return min(moments, default=None)

    async def _bring_forward(self) -> None:
        """After the clock was set back no series waits for the time that was wrong. What ran once is not run again."""
        now = self._now()
        for task in await self._database.run(tasks.due_after, to_text(now)):
            if task.cron is None or task.next_run_at is None or parse(task.not_before) > now:
                continue
            try:
                first = await asyncio.to_thread(next_after, task.cron, zone_of(task.zone), now)
            except CronSimError:
                continue  # planning says so when its time has come
            if first is not None and first < parse(task.next_run_at):
                await self._database.run(tasks.move, task.id, to_text(first))

    async def _begin_due(self) -> bool:
        """Store the runs of what is due together with the next occurrences; False where nothing is."""
        now = self._now()
        due = await self._database.run(tasks.due, to_text(now), BATCH)
        if not due:
            return False
        for task in due:
            open_runs = await self._database.run(tasks.open_runs_of, task.id) if task.cron else []
            if len(open_runs) >= MAX_UNFINISHED:
                await self._reconcile(open_runs)
        plans = await asyncio.to_thread(lambda: [plan(task, now) for task in due])
        await self._database.run(self._take, plans)
        return True

    def _take(self, connection: apsw.Connection, plans: Iterable[Plan]) -> None:
        with together(connection):
            for one in plans:
                try:
                    present = tasks.by_id(connection, one.task.id)
                except NotFound:
                    continue
                if (present.status, present.next_run_at) != ("active", one.task.next_run_at):
                    continue  # somebody has changed it in this moment
                tasks.move(connection, present.id, one.next_run_at)
                for run in one.runs:
                    self._begin_run(connection, present, run)
                tasks.prune_runs(connection, present.id, KEPT_RUNS)

    def _begin_run(self, connection: apsw.Connection, task: Task, run: Run) -> None:
        if run.status == "pending" and task.cron is not None and task.missed != "all":
            for older in tasks.open_runs_of(connection, task.id):
                if older.status == "pending":
                    tasks.end_run(connection, task.id, older.occurrence, "missed", "a later one came first")
            if len(tasks.open_runs_of(connection, task.id)) >= MAX_UNFINISHED:
                run = _left_out(run, "the runs before it are not done yet")
        if run.status == "pending" and tasks.count_open_runs(connection, task.agent_group_id) >= MAX_OPEN:
            run = _left_out(run, f"{MAX_OPEN} runs of its agent are not done yet")
        if tasks.begin_run(connection, run) and run.status == "pending":
            found = places.session_for(connection, task, self._has_threads)
            if isinstance(found, Session):
                tasks.assign(connection, task.id, run.occurrence, found.id)
        if run.status == "missed":
            log.warning("a run of task %s at %s is left out: %s", task.id, run.occurrence, run.reason)

    async def _hand_over(self) -> bool:
        """Give the sessions what they don't have yet; tell whether something has to be tried again later."""
        pending = await self._database.run(_waiting)
        ready = [one for one in pending if one.has_session]
        others = [one for one in pending if not one.has_session]
        # Those first that have a session: to make one takes a while.
        again = False
        for waiting in (ready, others):
            for start in range(0, len(waiting), BATCH):
                found = await asyncio.gather(*(self._parcel(one) for one in waiting[start : start + BATCH]))
                again |= any(one is True for one in found)
                again |= await self._deliver([one for one in found if isinstance(one, _Parcel)])
        return again

    async def _parcel(self, one: _Waiting) -> _Parcel | bool:
        """Find out where a run goes; True: that is to be tried again later, False: nowhere any more."""
        run = one.run
        refused = self.refusal(one.task.agent_group_id, one.task.group)
        if refused is not None:
            await self._end(run.task_id, run.occurrence, "skipped", refused)
            return False
        try:
            session = await self._session(one)
        except Unavailable as error:
            log.warning("task %s waits: %s", run.task_id, error)
            return True
        except NanoclawError as error:
            await self._end(run.task_id, run.occurrence, "failed", error.message)
            return False
        except Exception:
            # One task's trouble is no other's (W-14).
            log.exception("task %s can't be handed over now", run.task_id)
            return True
        return session is not None and _Parcel(one.task, run, session)

    async def _session(self, one: _Waiting) -> Session | None:
        """Find a run's session; None where a session that was closed meanwhile had the run already."""
        task, run, assigned = one.task, one.run, one.session
        if assigned is not None and assigned.status == "active":
            return assigned
        if assigned is not None and await self._has_it(run, assigned.id):
            return None
        # One after the other where they may want the same session, which is made once.
        place = (task.agent_group_id, task.address)
        async with self._places.setdefault(place, asyncio.Lock()):
            found = await self._database.run(places.session_for, task, self._has_threads)
            session = found if isinstance(found, Session) else await self._make(task, found)
        await self._database.run(_settle, task, run, session.id)
        return session

    async def _has_it(self, run: Run, session_id: str) -> bool:
        """Tell whether a session that was closed meanwhile was handed a run; its outcome is noted then."""
        status = await self._sessions.row_status(session_id, rows.row_id(run.task_id, run.occurrence))
        if status is None:
            return False
        await self._end(run.task_id, run.occurrence, _FINAL.get(status, "failed"), "its session was closed")
        return True

    async def _make(self, task: Task, wanted: places.Wanted) -> Session:
        try:
            return await self._sessions.create(
                wanted.agent_group_id, wanted.group, wanted.chat_id, wanted.thread_id, wanted.mode
            )
        except apsw.ConstraintError as error:
            # A message has made it at the same time, or the group has gone.
            found = await self._database.run(places.session_for, task, self._has_threads)
            if isinstance(found, Session):
                return found
            raise NotFound("the chat or the agent of this task was deleted") from error

    async def _deliver(self, parcels: Sequence[_Parcel]) -> bool:
        if not parcels:
            return False
        letters = [
            (parcel.session, rows.letter(parcel.task, parcel.run, address))
            for parcel, address in zip(parcels, await self._database.run(_addresses, parcels), strict=True)
        ]
        outcomes = await self._sessions.accept_all(letters)
        done: list[tuple[str, str]] = []
        again = False
        for parcel, outcome in zip(parcels, outcomes, strict=True):
            run = parcel.run
            if not isinstance(outcome, Exception):
                done.append((run.task_id, run.occurrence))
            elif isinstance(outcome, (Unavailable, NotFound)):
                log.warning("task %s waits: %s", run.task_id, outcome, extra=about(session=parcel.session.id))
                again = True
            else:
                log.error("task %s can't be run", run.task_id, exc_info=outcome, extra=about(session=parcel.session.id))
                await self._end(run.task_id, run.occurrence, "failed", "a fault of the appliance, see its journal")
        await self._database.run(_mark, done)
        return again

    async def _reconcile(self, runs: Iterable[Run]) -> None:
        """Learn what became of runs while nobody listened."""
        for run in runs:
            if run.status != "dispatched" or run.session_id is None:
                continue
            try:
                status = await self._sessions.row_status(run.session_id, rows.row_id(run.task_id, run.occurrence))
            except Unavailable as error:
                log.warning("what became of task %s is not known: %s", run.task_id, error)
                continue
            if status is None:
                await self._end(run.task_id, run.occurrence, "failed", "its session has gone")
            elif status in _FINAL:
                await self._end(run.task_id, run.occurrence, _FINAL[status], None)

    async def _end(self, task_id: str, occurrence: str, status: str, reason: str | None) -> None:
        if await self._database.run(tasks.end_run, task_id, occurrence, status, reason):
            level = logging.WARNING if status == "failed" else logging.INFO
            log.log(level, "task %s of %s: %s%s", task_id, occurrence, status, f": {reason}" if reason else "")


def _left_out(run: Run, reason: str) -> Run:
    return Run(
        run.task_id,
        run.occurrence,
        "missed",
        run.late,
        run.passed_over,
        None,
        reason,
        run.created_at,
        None,
        run.created_at,
    )


def _waiting(connection: apsw.Connection) -> list[_Waiting]:
    """Read the runs that are to be handed over, with all that is known of their places."""
    pending = tasks.pending_runs(connection)
    known = {task_id: tasks.by_id(connection, task_id) for task_id in {run.task_id for run in pending}}
    sessions: dict[str, Session | None] = {}
    for session_id in {run.session_id for run in pending if run.session_id is not None}:
        try:
            sessions[session_id] = session_rows.by_id(connection, session_id)
        except NotFound:
            sessions[session_id] = None
    return [_Waiting(known[run.task_id], run, sessions.get(run.session_id or "")) for run in pending]


def _settle(connection: apsw.Connection, task: Task, run: Run, session_id: str) -> None:
    with together(connection):
        tasks.assign(connection, run.task_id, run.occurrence, session_id)
        tasks.settle_in(connection, task.id, session_id)


def _addresses(connection: apsw.Connection, parcels: Sequence[_Parcel]) -> list[Address]:
    return [places.address_for(connection, parcel.task, parcel.session) for parcel in parcels]


def _mark(connection: apsw.Connection, done: Sequence[tuple[str, str]]) -> None:
    with together(connection):
        tasks.mark_dispatched(connection, done)
