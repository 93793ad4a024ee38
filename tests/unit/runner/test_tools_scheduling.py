"""The tools for tasks, with a host that is played: what they ask, and what they tell the agent."""

import json
from typing import Any

import pytest
from runner_stage import Host
from tool_stage import Stage

TASK: dict[str, Any] = {
    "id": "abcdefghijkl",
    "status": "active",
    "prompt": "water the plants " * 10,
    "cron": "0 8 * * 1-5",
    "next_run_at": "2026-12-01T07:00:00.000Z",
}
LINE = "abcdefghijkl [active], next run 2026-12-01 08:00:00 CET, repeats 0 8 * * 1-5"


@pytest.fixture
def stage(host: Host) -> Stage:
    return Stage(host, timezone="Europe/Berlin")


def exchange(
    stage: Stage, tool: str, arguments: dict[str, object], reply: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """Have the agent call a tool and the host reply; return the call, and what the tool said."""
    stage.calls((tool, arguments), thread="t1")
    (row,) = stage.await_rows(1)
    content = row["content"]
    assert (row["kind"], content["action"]) == ("system", "control")
    told = {"type": "control_reply", "requestId": content["requestId"], "frame": json.dumps(reply)}
    stage.host.insert("", identifier=f"control-{row['id']}", kind="system", content=json.dumps(told), trigger=False)
    stage.ring()
    return json.loads(content["frame"]), stage.answered().removeprefix(f"call {tool}: ")


def test_a_task_is_planned_where_the_agent_is_asked(stage: Stage):
    """F-61, F-62, F-63, F-102, W-25: the text has id, local time and pattern; a turn that is repeated plans once."""
    arguments: dict[str, object] = {
        "prompt": "water the plants", "processAfter": "2026-12-01 08:00", "recurrence": "0 8 * * 1-5", "script": "true",
    }  # fmt: skip
    call, said = exchange(stage, "schedule_task", arguments, {"parameters": {"task": TASK}})
    key = call["parameters"].pop("key")
    assert key.startswith("k-")
    assert call == {
        "method": "io.nanoclaw.Tasks.Create",
        "parameters": {
            "prompt": "water the plants",
            "at": "2026-12-01 08:00",
            "cron": "0 8 * * 1-5",
            "script": "true",
            "chat": "cli:terminal",
            "thread": "t1",
        },
    }
    assert said == f"Task scheduled: {LINE}"


@pytest.mark.parametrize(("status", "asked"), [(None, None), ("pending", "active"), ("paused", "paused")])
def test_tasks_are_listed(stage: Stage, status: str | None, asked: str | None):
    """F-64, F-65: id, status, time, pattern and the first 80 characters of the prompt."""
    arguments: dict[str, object] = {} if status is None else {"status": status}
    call, said = exchange(stage, "list_tasks", arguments, {"parameters": {"tasks": [TASK, {**TASK, "prompt": "x"}]}})
    assert call["parameters"].get("status") == asked
    first, second = said.split("\n")[0], said.split("\n")[1]
    assert first == f"{LINE}: {TASK['prompt'][:80]}…"
    assert f"{LINE}: x" in second


def test_no_tasks(stage: Stage):
    """F-64"""
    assert exchange(stage, "list_tasks", {}, {"parameters": {"tasks": []}})[1] == "No tasks found."


@pytest.mark.parametrize("tool", ["cancel_task", "pause_task", "resume_task", "run_task_now"])
def test_an_unknown_task_is_an_error(stage: Stage, tool: str):
    """F-69: the host says so, and nothing is called done."""
    reply = {"error": "io.nanoclaw.Tasks.NotFound", "parameters": {"message": "there is no task 'x'", "hint": None}}
    call, said = exchange(stage, tool, {"taskId": "x"}, reply)
    assert call["parameters"]["task"] == "x"
    assert "there is no task 'x'" in said


def test_an_update_sends_what_was_given(stage: Stage):
    """An empty text or null takes away, what was left out stays."""
    arguments: dict[str, object] = {"taskId": "x", "recurrence": None, "script": ""}
    call, said = exchange(stage, "update_task", arguments, {"parameters": {"task": {**TASK, "cron": None}}})
    assert call["parameters"] == {"task": "x", "cron": "", "script": ""}
    assert said == "Task updated: abcdefghijkl [active], next run 2026-12-01 08:00:00 CET"
