"""Behind io.nanoclaw.Tasks."""

import logging
from collections.abc import Sequence

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.control.values import Caller, RunStatus, Task, TaskPlace, TaskRun, TaskSettings, TaskStatus
from nanoclawd.errors import Refused
from nanoclawd.journal import about
from nanoclawd.store import resolve
from nanoclawd.store import tasks as rows
from nanoclawd.store.database import Database
from nanoclawd.tasks.service import TaskService, Where, Wish

log = logging.getLogger(__name__)


class TasksBackend:
    """Tasks as operators and agents handle them."""

    def __init__(self, database: Database, service: TaskService) -> None:
        self._database = database
        self._service = service

    async def list(self, group: str | None, status: TaskStatus | None, limit: int) -> Sequence[Task]:
        """Return the tasks by their next run."""
        return await self._database.run(_list, group, status, limit)

    async def get(self, task: str) -> Task:
        """Return one task."""
        return await self._database.run(_get, task)

    async def create(
        self, caller: Caller, group: str, settings: TaskSettings, place: TaskPlace, key: str | None
    ) -> Task:
        """Schedule a task."""
        group_id, where = await self._database.run(_where, group, place)
        made = await self._service.create(group_id, caller.user_id, _wish(settings), where, key)
        log.info(
            "%s scheduled task %s of %s: next run %s%s",
            caller.user_id,
            made.id,
            made.group,
            made.next_run_at,
            f", repeated by {made.cron}" if made.cron else "",
            extra=about(group=made.group),
        )
        return await self.get(made.id)

    async def update(self, caller: Caller, task: str, settings: TaskSettings) -> Task:
        """Change a task."""
        changed = await self._service.update(await self._id(task), _wish(settings))
        return await self._told(caller, "changed", changed)

    async def pause(self, caller: Caller, task: str) -> Task:
        """Have a task not run for a while."""
        return await self._told(caller, "paused", await self._service.pause(await self._id(task)))

    async def resume(self, caller: Caller, task: str) -> Task:
        """Have a paused task run again."""
        return await self._told(caller, "resumed", await self._service.resume(await self._id(task)))

    async def cancel(self, caller: Caller, task: str) -> Task:
        """Have a task never run again."""
        return await self._told(caller, "cancelled", await self._service.cancel(await self._id(task)))

    async def run(self, caller: Caller, task: str) -> TaskRun:
        """Run a task once more, now."""
        task_id = await self._id(task)
        run = await self._service.run_now(task_id)
        log.info("%s runs task %s now", caller.user_id, task_id)
        return _run(run)

    async def runs(self, task: str, limit: int) -> Sequence[TaskRun]:
        """Return a task's occurrences, the newest first."""
        return [_run(run) for run in await self._database.run(rows.runs_of, await self._id(task), limit)]

    async def _id(self, task: str) -> str:
        return (await self._database.run(resolve.task, task)).id

    async def _told(self, caller: Caller, did: str, task: rows.Task) -> Task:
        log.info("%s %s task %s of %s", caller.user_id, did, task.id, task.group, extra=about(group=task.group))
        return await self.get(task.id)


def _list(connection: apsw.Connection, group: str | None, status: TaskStatus | None, limit: int) -> list[Task]:
    group_id = None if group is None else resolve.group(connection, group).id
    return [_view(connection, task) for task in rows.listed(connection, group_id, status, limit)]


def _get(connection: apsw.Connection, text: str) -> Task:
    return _view(connection, resolve.task(connection, text))


def _where(connection: apsw.Connection, group: str, place: TaskPlace) -> tuple[str, Where]:
    group_id = resolve.group(connection, group).id
    session_id = None if place.session is None else resolve.session(connection, place.session).id
    if place.chat is None:
        if place.thread is not None:
            raise Refused("a thread is one of a chat: name that, too")
        return group_id, Where(session_id)
    channel, colon, chat = place.chat.partition(":")
    if not colon:
        found = resolve.chat(connection, place.chat)
        channel, chat = found.channel_type, found.platform_id
    return group_id, Where(session_id, Address(channel, chat, place.thread))


def _wish(settings: TaskSettings) -> Wish:
    return Wish(settings.prompt, settings.at, settings.cron, settings.script, settings.missed)


def _view(connection: apsw.Connection, task: rows.Task) -> Task:
    last = next(iter(rows.runs_of(connection, task.id, 1)), None)
    return Task(
        id=task.id,
        group=task.group,
        status=TaskStatus(task.status),
        prompt=task.prompt,
        script=task.script,
        cron=task.cron,
        zone=task.zone,
        next_run_at=task.next_run_at,
        missed=task.missed,
        session=task.session_id,
        channel=task.channel_type,
        chat=task.platform_id,
        thread=task.thread_id,
        created_by=task.created_by,
        created_at=task.created_at,
        last_run_at=last.occurrence if last else None,
        last_run=RunStatus(last.status) if last else None,
    )


def _run(run: rows.Run) -> TaskRun:
    return TaskRun(
        task=run.task_id,
        occurrence=run.occurrence,
        status=RunStatus(run.status),
        late=run.late,
        passed_over=run.passed_over,
        session=run.session_id,
        reason=run.reason,
        dispatched_at=run.dispatched_at,
        ended_at=run.ended_at,
    )
