"""What becomes of a task that is due: which occurrences run, which are left out, and when it is due next. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from cronsim import CronSimError

from nanoclaw_runner.contract.clock import parse, to_text
from nanoclawd.store.tasks import Run, Task
from nanoclawd.tasks.occurrences import between, latest_until, next_after, zone_of

LATE: Final = timedelta(seconds=10)
"""Who is handed over later than this after its time is late, and missed under the policy ``skip``."""

CATCH_UP: Final = timedelta(days=7)
"""How far back the policy ``all`` goes."""

CHUNK: Final = 200
"""Occurrences of one task that are begun in one commit."""

MOST_COUNTED: Final = 1000

MAX_OPEN: Final = 2000
"""Runs of one group that have not ended: each is a row of its session's, and agents plan without anybody's word."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be stored in one commit: the runs, then the next occurrence (None: it is done)."""

    task: Task
    runs: tuple[Run, ...]
    next_run_at: str | None


def plan(task: Task, now: datetime) -> Plan:
    """Decide about a task whose time has come."""
    if task.next_run_at is None:
        return Plan(task, (), None)
    first = parse(task.next_run_at)
    try:
        return _once(task, first, now) if task.cron is None else _series(task, task.cron, first, now)
    except CronSimError as error:
        broken = _run(task, first, now, "failed", reason=f"its pattern can't be read: {error}")
        return Plan(task, (broken,), None)


def _once(task: Task, first: datetime, now: datetime) -> Plan:
    if task.missed == "skip" and now - first > LATE:
        return Plan(task, (_left_out(task, first, now, 0),), None)
    return Plan(task, (_run(task, first, now),), None)


def _series(task: Task, cron: str, first: datetime, now: datetime) -> Plan:
    zone = zone_of(task.zone)
    if task.missed == "all":
        return _every(task, cron, first, now)
    last = latest_until(cron, zone, first, now)
    following = next_after(cron, zone, last)
    passed = sum(1 for _ in islice(between(cron, zone, first, last), MOST_COUNTED))
    run = _run(task, last, now, passed_over=passed)
    if task.missed == "skip" and now - last > LATE:
        run = _left_out(task, last, now, passed)
    return Plan(task, (run,), None if following is None else to_text(following))


def _every(task: Task, cron: str, first: datetime, now: datetime) -> Plan:
    """Run all of them; what is older than a week is told as left out."""
    zone = zone_of(task.zone)
    passed = 0
    begin: datetime | None = first
    if now - first > CATCH_UP:
        passed = 1 + sum(1 for _ in islice(between(cron, zone, first, now - CATCH_UP), MOST_COUNTED))
        begin = next_after(cron, zone, now - CATCH_UP)
    chosen: list[datetime] = []
    following = begin
    while following is not None and following <= now and len(chosen) < CHUNK:
        chosen.append(following)
        following = next_after(cron, zone, following)
    runs = [_run(task, moment, now, passed_over=passed if moment == begin else 0) for moment in chosen]
    return Plan(task, tuple(runs), None if following is None else to_text(following))


def _left_out(task: Task, occurrence: datetime, now: datetime, passed: int) -> Run:
    return _run(task, occurrence, now, "missed", passed_over=passed, reason="its time went by unseen")


def _run(
    task: Task,
    occurrence: datetime,
    now: datetime,
    status: str = "pending",
    *,
    passed_over: int = 0,
    reason: str | None = None,
) -> Run:
    moment = to_text(now)
    return Run(
        task_id=task.id,
        occurrence=to_text(occurrence),
        status=status,
        late=now - occurrence > LATE,
        passed_over=passed_over,
        session_id=None,
        reason=reason,
        created_at=moment,
        dispatched_at=None,
        ended_at=None if status == "pending" else moment,
    )
