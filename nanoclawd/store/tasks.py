"""Tasks: what an agent is to do at a time, once or again and again, and the runs that came of it.

A run's occurrence is the moment for which it was planned: (task, occurrence) names it for ever, so it is made once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound
from nanoclawd.store.constraints import is_missing_parent

LIVE = ("active", "paused")
_COLUMNS = (
    "t.id, t.agent_group_id, g.folder, t.session_id, t.channel_type, t.platform_id, t.thread_id, t.created_by,"
    " t.prompt, t.script, t.cron, t.zone, t.not_before, t.next_run_at, t.status, t.missed, t.key, t.created_at,"
    " t.changed_at"
)
_FROM = "FROM tasks t JOIN agent_groups g ON g.id = t.agent_group_id"
_LIVE_SQL = "t.status IN ('active', 'paused')"
_RUN_COLUMNS = "task_id, occurrence, status, late, passed_over, session_id, reason, created_at, dispatched_at, ended_at"
_OPEN = "status IN ('pending', 'dispatched')"
"""As the index of open runs says it, word for word: in a query that says it otherwise all runs ever made are read."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as ``central.db`` knows it. Times are UTC text in the one format.

    Attributes:
        group: the agent group's folder.
        session_id: the session in which it runs as long as that is active.
        created_by: a user's id, ``terminal:<unix name>`` or ``agent:<folder>``.
        cron: the pattern of a series, in ``zone``; None for a task that runs once.
        not_before: the first moment at which it may run.
        next_run_at: the next occurrence; None when it is done or cancelled.
        missed: what becomes of occurrences whose time went by unseen: latest, all or skip.
        key: what whoever scheduled it calls it: the same key again is the same task.
    """

    id: str
    agent_group_id: str
    group: str
    session_id: str | None
    channel_type: str | None
    platform_id: str | None
    thread_id: str | None
    created_by: str
    prompt: str
    script: str | None
    cron: str | None
    zone: str
    not_before: str
    next_run_at: str | None
    status: str
    missed: str
    key: str | None
    created_at: str
    changed_at: str

    @property
    def address(self) -> Address | None:
        """Where it was scheduled, and so where its answers go; None where it belongs to no chat."""
        if self.channel_type is None or self.platform_id is None:
            return None
        return Address(self.channel_type, self.platform_id, self.thread_id)

    @property
    def is_live(self) -> bool:
        """Whether it can still run."""
        return self.status in LIVE


@dataclass(frozen=True, slots=True)
class Run:
    """One occurrence of a task.

    Attributes:
        status: pending (its session does not have it yet), dispatched, completed, failed, skipped (by the task's
            script) or missed (by the task's policy).
        late: it was handed over noticeably after its time.
        passed_over: how many occurrences before it the policy has left out.
    """

    task_id: str
    occurrence: str
    status: str
    late: bool
    passed_over: int
    session_id: str | None
    reason: str | None
    created_at: str
    dispatched_at: str | None
    ended_at: str | None


def add(connection: apsw.Connection, task: Task) -> Task:
    """Store a new task whose key, if it has one, is new.

    Raises:
        NotFound: its group has gone.
    """
    try:
        connection.execute(
            "INSERT INTO tasks (id, agent_group_id, session_id, channel_type, platform_id, thread_id, created_by,"
            " prompt, script, cron, zone, not_before, next_run_at, status, missed, key, created_at, changed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                task.id,
                task.agent_group_id,
                task.session_id,
                task.channel_type,
                task.platform_id,
                task.thread_id,
                task.created_by,
                task.prompt,
                task.script,
                task.cron,
                task.zone,
                task.not_before,
                task.next_run_at,
                task.status,
                task.missed,
                task.key,
                task.created_at,
                task.changed_at,
            ),
        )
    except apsw.ConstraintError as error:
        if not is_missing_parent(error):
            raise
        raise NotFound("the group or the session of this task has gone", hint="ncl groups list") from error
    return by_id(connection, task.id)


def save(connection: apsw.Connection, task: Task) -> Task:
    """Write what of a task can change."""
    changed = replace(task, changed_at=now_text())
    connection.execute(
        "UPDATE tasks SET session_id = ?, prompt = ?, script = ?, cron = ?, not_before = ?, next_run_at = ?,"
        " status = ?, missed = ?, changed_at = ? WHERE id = ?",
        (
            changed.session_id,
            changed.prompt,
            changed.script,
            changed.cron,
            changed.not_before,
            changed.next_run_at,
            changed.status,
            changed.missed,
            changed.changed_at,
            changed.id,
        ),
    )
    return changed


def move(connection: apsw.Connection, task_id: str, next_run_at: str | None) -> None:
    """Set when a task runs next; None: it is done."""
    connection.execute(
        "UPDATE tasks SET next_run_at = ?2, status = iif(?2 IS NULL, 'done', status), changed_at = ?3 WHERE id = ?1",
        (task_id, next_run_at, now_text()),
    )


def settle_in(connection: apsw.Connection, task_id: str, session_id: str) -> None:
    """Have a task run in another session from now on."""
    connection.execute("UPDATE tasks SET session_id = ? WHERE id = ?", (session_id, task_id))


def by_id(connection: apsw.Connection, task_id: str) -> Task:
    """Read a task.

    Raises:
        NotFound: there is none.
    """
    found = _some(connection, "WHERE t.id = ?", (task_id,))
    if not found:
        raise NotFound(f"there is no task {task_id[:40]!r}", hint="ncl tasks list")
    return found[0]


def by_key(connection: apsw.Connection, agent_group_id: str, key: str) -> Task | None:
    """Return the task to which somebody has given this key, or None."""
    found = _some(connection, "WHERE t.agent_group_id = ? AND t.key = ?", (agent_group_id, key))
    return found[0] if found else None


def listed(
    connection: apsw.Connection, agent_group_id: str | None, status: str | None, limit: int = 10_000
) -> list[Task]:
    """Read tasks in the order of their next runs: of a group or of all, of a status or those that can still run."""
    return _some(
        connection,
        f"WHERE (?1 IS NULL OR t.agent_group_id = ?1) AND (t.status = ?2 OR ?2 IS NULL AND {_LIVE_SQL})"
        " ORDER BY t.next_run_at, t.changed_at DESC, t.id LIMIT ?3",
        (agent_group_id, status, limit),
    )


def of_prefix(connection: apsw.Connection, agent_group_id: str, prefix: str) -> list[Task]:
    """Read those of a group's tasks whose id begins so (two at most)."""
    return _some(
        connection,
        "WHERE t.agent_group_id = ? AND t.id >= ? AND t.id < ? ORDER BY t.id LIMIT 2",
        (agent_group_id, prefix, prefix + "\U0010ffff"),
    )


def count_live(connection: apsw.Connection, agent_group_id: str) -> int:
    """Count the tasks of a group that can still run."""
    counted = connection.execute(
        f"SELECT count(*) FROM tasks t WHERE t.agent_group_id = ? AND {_LIVE_SQL}", (agent_group_id,)
    ).get
    return int(counted)


def count_open_runs(connection: apsw.Connection, agent_group_id: str) -> int:
    """Count the runs of a group's tasks that have not ended."""
    counted = connection.execute(
        "SELECT count(*) FROM task_runs r CROSS JOIN tasks t ON t.id = r.task_id"
        f" WHERE r.{_OPEN} AND t.agent_group_id = ?",
        (agent_group_id,),
    ).get
    return int(counted)


def due(connection: apsw.Connection, moment: str, limit: int) -> list[Task]:
    """Read the active tasks that are due at a moment, the longest due first."""
    return _some(
        connection,
        "WHERE t.status = 'active' AND t.next_run_at <= ? ORDER BY t.next_run_at, t.id LIMIT ?",
        (moment, limit),
    )


def due_after(connection: apsw.Connection, moment: str) -> list[Task]:
    """Read the active series whose next run is after a moment."""
    return _some(
        connection, "WHERE t.status = 'active' AND t.cron IS NOT NULL AND t.next_run_at > ? ORDER BY t.id", (moment,)
    )


def earliest(connection: apsw.Connection) -> str | None:
    """Return when the next task is due, or None."""
    row = connection.execute(
        "SELECT next_run_at FROM tasks WHERE status = 'active' ORDER BY next_run_at LIMIT 1"
    ).fetchone()
    return None if row is None else str(row[0])


def begin_run(connection: apsw.Connection, run: Run) -> bool:
    """Store a run; False where this occurrence has one already."""
    connection.execute(
        f"INSERT INTO task_runs ({_RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (task_id, occurrence) DO NOTHING",
        (
            run.task_id,
            run.occurrence,
            run.status,
            int(run.late),
            run.passed_over,
            run.session_id,
            run.reason,
            run.created_at,
            run.dispatched_at,
            run.ended_at,
        ),
    )
    return bool(connection.changes())


def run_of(connection: apsw.Connection, task_id: str, occurrence: str) -> Run | None:
    """Read one run, or None where there is none."""
    found = _runs(connection, "WHERE task_id = ? AND occurrence = ?", (task_id, occurrence))
    return found[0] if found else None


def runs_of(connection: apsw.Connection, task_id: str, limit: int) -> list[Run]:
    """Read a task's runs, the newest first."""
    return _runs(connection, "WHERE task_id = ? ORDER BY occurrence DESC LIMIT ?", (task_id, limit))


def pending_runs(connection: apsw.Connection, limit: int = 10_000) -> list[Run]:
    """Read the runs that their sessions may not have yet, the oldest first."""
    return _runs(connection, f"WHERE {_OPEN} AND status = 'pending' ORDER BY created_at, occurrence LIMIT ?", (limit,))


def dispatched_runs(connection: apsw.Connection, limit: int = 1000) -> list[Run]:
    """Read the runs that sessions have and whose outcome is not known, the newest first."""
    return _runs(connection, f"WHERE {_OPEN} AND status = 'dispatched' ORDER BY created_at DESC LIMIT ?", (limit,))


def open_runs_of(connection: apsw.Connection, task_id: str) -> list[Run]:
    """Read the runs of a task that have not ended, the oldest first."""
    return _runs(connection, f"WHERE task_id = ? AND {_OPEN} ORDER BY occurrence", (task_id,))


def assign(connection: apsw.Connection, task_id: str, occurrence: str, session_id: str) -> None:
    """Note which session is about to get a run."""
    connection.execute(
        "UPDATE task_runs SET session_id = ? WHERE task_id = ? AND occurrence = ?", (session_id, task_id, occurrence)
    )


def mark_dispatched(connection: apsw.Connection, runs: Sequence[tuple[str, str]]) -> None:
    """Note that the sessions have these runs (task, occurrence). One that has ended meanwhile stays ended."""
    connection.executemany(
        "UPDATE task_runs SET status = 'dispatched', dispatched_at = ? WHERE task_id = ? AND occurrence = ?"
        " AND status IN ('pending', 'missed')",
        [(now_text(), *run) for run in runs],
    )


def end_run(connection: apsw.Connection, task_id: str, occurrence: str, status: str, reason: str | None = None) -> bool:
    """Note a run's outcome; the first one counts. False where it has one, or is unknown."""
    connection.execute(
        f"UPDATE task_runs SET status = ?, reason = ?, ended_at = ?, dispatched_at = coalesce(dispatched_at, ?)"
        f" WHERE task_id = ? AND occurrence = ? AND {_OPEN}",
        (status, reason, now := now_text(), now if status != "missed" else None, task_id, occurrence),
    )
    return bool(connection.changes())


def prune_runs(connection: apsw.Connection, task_id: str, keep: int) -> int:
    """Forget all but the newest runs of a task, and none that is not over; return how many went."""
    connection.execute(
        f"DELETE FROM task_runs WHERE task_id = ?1 AND NOT {_OPEN} AND occurrence <"
        " (SELECT occurrence FROM task_runs WHERE task_id = ?1 ORDER BY occurrence DESC LIMIT 1 OFFSET ?2)",
        (task_id, keep - 1),
    )
    return int(connection.changes())


def prune(connection: apsw.Connection, before: str) -> int:
    """Forget the tasks that ended before a moment, with their runs; return how many."""
    connection.execute("DELETE FROM tasks WHERE status IN ('done', 'cancelled') AND changed_at < ?", (before,))
    return int(connection.changes())


def prune_group(connection: apsw.Connection, agent_group_id: str, keep: int) -> int:
    """Forget all but the newest of a group's tasks that ended, and none that has a run under way; return how many."""
    connection.execute(
        "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE agent_group_id = ?"
        " AND status IN ('done', 'cancelled') ORDER BY changed_at DESC, id LIMIT -1 OFFSET ?)"
        f" AND id NOT IN (SELECT task_id FROM task_runs WHERE {_OPEN})",
        (agent_group_id, keep),
    )
    return int(connection.changes())


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str | int | None, ...]) -> list[Task]:
    return [Task(*row) for row in connection.execute(f"SELECT {_COLUMNS} {_FROM} {tail}", bindings)]


def _runs(connection: apsw.Connection, tail: str, bindings: tuple[str | int | None, ...]) -> list[Run]:
    return [_run(row) for row in connection.execute(f"SELECT {_RUN_COLUMNS} FROM task_runs {tail}", bindings)]


def _run(row: tuple[Any, ...]) -> Run:
    values = list(row)
    values[3] = bool(row[3])
    return Run(*values)
