"""What io.nanoclaw.Tasks carries."""

from dataclasses import dataclass
from enum import StrEnum


class TaskStatus(StrEnum):
    """Whether a task still runs."""

    ACTIVE = "active"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    """What became of one occurrence."""

    PENDING = "pending"
    DISPATCHED = "dispatched"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Task:
    """What an agent does at a time. See the interface for the fields."""

    id: str
    group: str
    status: TaskStatus
    prompt: str
    script: str | None
    cron: str | None
    zone: str
    next_run_at: str | None
    missed: str
    session: str | None
    channel: str | None
    chat: str | None
    thread: str | None
    created_by: str
    created_at: str
    last_run_at: str | None
    last_run: RunStatus | None


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What of a task can be changed. None: not given; an empty script or cron takes it away."""

    prompt: str | None = None
    at: str | None = None
    cron: str | None = None
    script: str | None = None
    missed: str | None = None


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Where a new task runs and answers. None: not given."""

    session: str | None = None
    chat: str | None = None
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One occurrence of a task. See the interface for the fields."""

    task: str
    occurrence: str
    status: RunStatus
    late: bool
    passed_over: int
    session: str | None
    reason: str | None
    dispatched_at: str | None
    ended_at: str | None
