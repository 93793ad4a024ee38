"""A run as a row of its session: its id says which occurrence of which task it is, so that twice is once."""

import json
import re
from datetime import UTC, datetime

from nanoclaw_runner.contract.clock import parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store.tasks import Run, Task

KIND = "task"
_ID = re.compile(r"task-([0-9a-z]{12})-(\d{8}T\d{6}Z)")
_COMPACT = "%Y%m%dT%H%M%SZ"


def row_id(task_id: str, occurrence: str) -> str:
    """Return the id of the row that asks for a run.

    >>> row_id("abcdefghijkl", "2026-12-01T08:00:00.000Z")
    'task-abcdefghijkl-20261201T080000Z'
    """
    return f"task-{task_id}-{parse(occurrence):{_COMPACT}}"


def run_of(message_id: str) -> tuple[str, str] | None:
    """Return the task and the occurrence that a row's id names; None for every other row."""
    found = _ID.fullmatch(message_id)
    if found is None:
        return None
    try:
        return found[1], to_text(datetime.strptime(found[2], _COMPACT).replace(tzinfo=UTC))
    except ValueError:
        return None


def letter(task: Task, run: Run, address: Address) -> NewMessage:
    """Return the row that the agent gets."""
    content = {
        "prompt": task.prompt,
        "script": task.script,
        "taskId": task.id,
        "occurrence": run.occurrence,
        "late": run.late,
    }
    return NewMessage(
        id=row_id(task.id, run.occurrence), content=json.dumps(content, ensure_ascii=False), address=address, kind=KIND
    )
