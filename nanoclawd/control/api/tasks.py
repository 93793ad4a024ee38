"""Behind io.nanoclaw.Tasks: what agents do at a time."""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import Caller, Task, TaskPlace, TaskRun, TaskSettings, TaskStatus


class TasksBackend(Protocol):
    """Behind io.nanoclaw.Tasks. A task is named by its id or the beginning of it.

    Raises:
        NotFound: there is no such task.
        InvalidName: several are meant.
        Refused: what is asked for can't be done with it.
    """

    async def list(self, group: str | None, status: TaskStatus | None, limit: int) -> Sequence[Task]:
        """Return the tasks (of a group) by their next run; without a status those that can still run."""

    async def get(self, task: str) -> Task:
        """Return one task."""

    async def create(
        self, caller: Caller, group: str, settings: TaskSettings, place: TaskPlace, key: str | None
    ) -> Task:
        """Schedule a task, or return the one that has the key.

        Raises:
            TooLarge: a text is over its bound.
        """

    async def update(self, caller: Caller, task: str, settings: TaskSettings) -> Task:
        """Change a task. Raises as :meth:`create`."""

    async def pause(self, caller: Caller, task: str) -> Task:
        """Have a task not run for a while."""

    async def resume(self, caller: Caller, task: str) -> Task:
        """Have a paused task run again."""

    async def cancel(self, caller: Caller, task: str) -> Task:
        """Have a task never run again."""

    async def run(self, caller: Caller, task: str) -> TaskRun:
        """Run a task once more, now."""

    async def runs(self, task: str, limit: int) -> Sequence[TaskRun]:
        """Return a task's occurrences, the newest first."""
