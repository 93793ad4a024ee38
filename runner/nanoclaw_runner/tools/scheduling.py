"""Tasks: what the agent is to do later, by the same methods as ``ncl tasks``; the host checks and keeps all of it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.rows import AGENT
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.tools.base import Tool
from nanoclaw_runner.tools.clock import zone

_PROMPT_CHARACTERS: Final = 80
_TIME: Final = "2026-12-01 09:00 (the owner's local time), with an offset 2026-12-01T09:00+01:00, or: in 20 minutes"
_CRON: Final = "repeat by this cron pattern in the owner's zone: minute hour day-of-month month day-of-week"
_SCRIPT: Final = (
    'a bash script that runs first; its last line is JSON: {"wakeAgent": true or false, "data": ...}. You are called'
    " only for true, and are given the data"
)
_MISSED: Final = "what becomes of runs while the machine is off: the latest of them runs late (default), all, or none"


type _Task = Annotated[str, Meta(description="the task's id")]
type _Missed = Annotated[Literal["latest", "all", "skip"] | None, Meta(description=_MISSED)]


class ScheduleTask(Struct, frozen=True, rename="camel"):
    """Arguments of ``schedule_task``."""

    prompt: Annotated[str, Meta(description="what you are to do then, in full: you may not remember this talk")]
    process_after: Annotated[str | None, Meta(description=f"when it runs, or runs first: {_TIME}")] = None
    recurrence: Annotated[str | None, Meta(description=_CRON)] = None
    script: Annotated[str | None, Meta(description=_SCRIPT)] = None
    missed: _Missed = None


class ListTasks(Struct, frozen=True):
    """Arguments of ``list_tasks``."""

    status: Annotated[
        Literal["active", "pending", "paused", "done", "cancelled"] | None,
        Meta(description="only tasks of this status; without it those that can still run"),
    ] = None


class UpdateTask(Struct, frozen=True, rename="camel"):
    """Arguments of ``update_task``."""

    task_id: _Task
    prompt: Annotated[str | None, Meta(description="what you are to do then")] = None
    process_after: Annotated[str | None, Meta(description=f"when it runs next: {_TIME}")] = None
    recurrence: Annotated[str | UnsetType | None, Meta(description=f"{_CRON}; empty: it runs once more")] = UNSET
    script: Annotated[str | UnsetType | None, Meta(description=f"{_SCRIPT}; empty: none")] = UNSET
    missed: _Missed = None


class OneTask(Struct, frozen=True, rename="camel"):
    """Arguments of what is done with one task."""

    task_id: _Task


def tools(config: AgentConfig, desk: Desk) -> list[Tool[Any]]:
    """Return the tools of this family."""
    scheduling = _Scheduling(config.timezone, desk)
    return [
        Tool(
            "schedule_task",
            "Have yourself called at a time, once or again and again; answers go to where this is asked.",
            ScheduleTask,
            scheduling.schedule,
        ),
        Tool("list_tasks", "List your tasks by their next runs.", ListTasks, scheduling.list),
        Tool("update_task", "Change a task: what is not given stays as it is.", UpdateTask, scheduling.update),
        Tool("cancel_task", "Have a task never run again.", OneTask, scheduling.cancel),
        Tool("pause_task", "Have a task not run until it is resumed.", OneTask, scheduling.pause),
        Tool("resume_task", "Have a paused task run again.", OneTask, scheduling.resume),
        Tool("run_task_now", "Run a task once more, now; its plan stays as it is.", OneTask, scheduling.run_now),
    ]


class _Scheduling:
    def __init__(self, zone_name: str, desk: Desk) -> None:
        self._zone = zone(zone_name)
        self._desk = desk

    async def schedule(self, given: ScheduleTask) -> str:
        key = self._desk.key("schedule_task", given)
        here = self._desk.here()
        if here is not None and here.channel_type == AGENT:
            # Another agent has asked for it, in this session: what comes of it is this agent's own affair.
            here = None
        parameters = {
            "prompt": given.prompt,
            "at": given.process_after or None,
            "cron": given.recurrence or None,
            "script": given.script or None,
            "missed": given.missed,
            "chat": f"{here.channel_type}:{here.platform_id}" if here else None,
            "thread": here.thread_id if here else None,
            "key": key,
        }
        task = (await self._desk.call("io.nanoclaw.Tasks.Create", parameters, key))["task"]
        return f"Task scheduled: {self._line(task)}"

    async def list(self, given: ListTasks) -> str:
        status = "active" if given.status == "pending" else given.status
        tasks = (await self._desk.call("io.nanoclaw.Tasks.List", {"status": status, "limit": 500}))["tasks"]
        lines = [f"{self._line(task)}: {_short(str(task['prompt']))}" for task in tasks]
        return "\n".join(lines) or "No tasks found."

    async def update(self, given: UpdateTask) -> str:
        parameters = {
            "task": given.task_id,
            "prompt": given.prompt,
            "at": given.process_after or None,
            "cron": _cleared(given.recurrence),
            "script": _cleared(given.script),
            "missed": given.missed,
        }
        return await self._change("Update", "update_task", given, parameters, "Task updated")

    async def cancel(self, given: OneTask) -> str:
        return await self._change("Cancel", "cancel_task", given, {"task": given.task_id}, "Task cancelled")

    async def pause(self, given: OneTask) -> str:
        return await self._change("Pause", "pause_task", given, {"task": given.task_id}, "Task paused")

    async def resume(self, given: OneTask) -> str:
        return await self._change("Resume", "resume_task", given, {"task": given.task_id}, "Task resumed")

    async def run_now(self, given: OneTask) -> str:
        key = self._desk.key("run_task_now", given)
        await self._desk.call("io.nanoclaw.Tasks.Run", {"task": given.task_id}, key)
        return f"Task {given.task_id} runs now."

    async def _change(self, method: str, tool: str, given: Struct, parameters: Mapping[str, object], done: str) -> str:
        reply = await self._desk.call(f"io.nanoclaw.Tasks.{method}", parameters, self._desk.key(tool, given))
        return f"{done}: {self._line(reply['task'])}"

    def _line(self, task: Mapping[str, Any]) -> str:
        words = [f"{task['id']} [{task['status']}]"]
        if task.get("next_run_at"):
            words.append(f"next run {self._shown(str(task['next_run_at']))}")
        if task.get("cron"):
            words.append(f"repeats {task['cron']}")
        return ", ".join(words)

    def _shown(self, moment: str) -> str:
        """Return a time as the owner's clock has it (W-25)."""
        return datetime.fromisoformat(moment).astimezone(self._zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def _cleared(value: str | UnsetType | None) -> str | None:
    """Return what the host takes: null clears as an empty text does, and what was not given is left out."""
    return None if isinstance(value, UnsetType) else value or ""


def _short(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= _PROMPT_CHARACTERS else f"{line[:_PROMPT_CHARACTERS]}…"
