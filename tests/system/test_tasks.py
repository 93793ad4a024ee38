"""Tasks with the real daemon and real containers: due to the second, late once, in everybody's hands."""

import json
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventually import wait_until
from system.appliance import SessionNames, call, daemon_stopped, kill_daemon, restart_daemon, rows, run
from system.loopback import Account
from system.people import ControlError

pytestmark = pytest.mark.usefixtures("group")
PLANNED = re.compile(r"Task scheduled: ([0-9a-z]{12}) \[active\], next run (\S+ \S+ \S+)")


@pytest.fixture
def chat(loop: Account, group: str) -> str:
    """A public chat of two that the group's agent hears."""
    name = f"c-{group}"
    call("Chats.Create", channel="loop", chat=name, unknown_sender_policy="public")
    call("Wirings.Create", chat=f"loop:{name}", group=group)
    return name


def uses(loop: Account, chat: str, tool: str, **arguments: Any) -> str:
    """Have the agent call a tool; return what the tool said."""
    told = loop.asks(chat, f"!call {tool} {json.dumps(arguments)}", "")
    return told.removeprefix(f"call {tool}: ")


def ncl(*words: str) -> Any:
    return json.loads(run("ncl", *words, "--json"))


def ended(task: str) -> dict[str, Any]:
    """Return a task's newest run when its outcome is known."""
    found: list[dict[str, Any]] = []

    def known() -> bool:
        found[:] = call("Tasks.Runs", task=task)["runs"]
        return bool(found) and found[0]["status"] not in ("pending", "dispatched")

    wait_until(known, f"the run of {task} has an outcome")
    return found[0]


def soon(seconds: float = 3) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


def lag(session: SessionNames, row_id: str, due: datetime) -> float:
    ((stored,),) = rows(session.inbound_db, "SELECT timestamp FROM messages_in WHERE id = ?", row_id)
    return (datetime.fromisoformat(stored) - due).total_seconds()


def session(group: str) -> SessionNames:
    (found,) = call("Sessions.List", group=group)["sessions"]
    return SessionNames(group, found["id"])


def test_an_agents_task_runs_to_the_second_and_answers_where_it_was_asked(loop: Account, chat: str, group: str) -> None:
    """F-61, F-64, F-100…102, F-104, W-25, W-35: its words come back to the agent, and its answer to the same chat."""
    due = soon(4)
    told = uses(loop, chat, "schedule_task", prompt="good morning", processAfter=due.isoformat())
    found = PLANNED.fullmatch(told)
    assert found, told
    task = found[1]
    assert uses(loop, chat, "list_tasks").startswith(f"{task} [active], next run {found[2]}: good morning")
    before = len(loop.deliveries)
    loop.hears(chat, "good morning", after=before)
    ran = ended(task)
    assert (ran["status"], ran["late"], ran["occurrence"]) == (
        "completed",
        False,
        due.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    row = f"task-{task}-{due:%Y%m%dT%H%M%SZ}"
    assert 0 <= lag(session(group), row, due) < 1
    assert uses(loop, chat, "list_tasks") == "No tasks found."
    assert call("Tasks.Get", task=task)["task"]["created_by"] == f"agent:{group}"
    # What the tools ask of the host are rows of the session, too; no chat has seen one of them.
    asked = rows(session(group).outbound_db, "SELECT content FROM messages_out WHERE kind = 'system'")
    assert len(asked) == 3
    assert not [one for one in loop.deliveries if "io.nanoclaw" in one.text]


def test_a_task_that_was_due_while_the_daemon_was_away_runs_late_and_once(loop: Account, chat: str, group: str) -> None:
    """W-41: killed right after, it does not run again."""
    loop.asks(chat, "hello", "echo: hello")
    due = soon(2)
    task = call("Tasks.Create", group=group, prompt="I was away", at=due.isoformat())["task"]["id"]
    skipped = call("Tasks.Create", group=group, prompt="x", at=due.isoformat(), missed="skip")["task"]["id"]
    before = len(loop.deliveries)
    with daemon_stopped():
        wait_until(lambda: datetime.now(UTC) > due + timedelta(seconds=11), "its time has gone by")
    loop.hears(chat, "I was away", after=before)
    assert (ended(task)["status"], ended(task)["late"]) == ("completed", True)
    assert ended(skipped)["status"] == "missed"
    kill_daemon()
    restart_daemon()
    assert len(call("Tasks.Runs", task=task)["runs"]) == 1
    asked = rows(session(group).inbound_db, "SELECT id FROM messages_in WHERE kind = 'task'")
    assert len(asked) == 1


def test_killed_at_the_moment_that_it_is_due_it_runs_once(loop: Account, chat: str, group: str) -> None:
    """W-16: ten times over; the series goes on whatever dies."""
    loop.asks(chat, "hello", "echo: hello")
    tasks = []
    for number in range(10):
        due = soon(1)
        tasks.append(call("Tasks.Create", group=group, prompt=f"run {number}", at=due.isoformat())["task"]["id"])
        # From just before the moment to just after it.
        time.sleep(max((due - datetime.now(UTC)).total_seconds() + (number - 4) * 0.004, 0))
        kill_daemon()
        wait_until(lambda: call("Tasks.List", group=group, status="done") is not None, "a new daemon is there")
    for task in tasks:
        ended(task)
        assert len(call("Tasks.Runs", task=task)["runs"]) == 1
    asked = [row for (row,) in rows(session(group).inbound_db, "SELECT id FROM messages_in WHERE kind = 'task'")]
    assert sorted(row[5:17] for row in asked) == sorted(tasks)


def test_what_an_agent_may_do_ncl_does_and_both_see_the_same(loop: Account, chat: str, group: str) -> None:
    """F-65, F-66, F-67, F-68, F-69: pause, resume, update, cancel and run now, by the tools and by ncl."""
    told = uses(loop, chat, "schedule_task", prompt="tick", recurrence="0 4 1 1 *")
    assert "repeats 0 4 1 1 *" in told
    task = PLANNED.match(told)[1]  # type: ignore[index]
    assert f"Task paused: {task} [paused]" in uses(loop, chat, "pause_task", taskId=task)
    assert ncl("tasks", "get", task)["status"] == "paused"
    assert task in uses(loop, chat, "list_tasks", status="paused")
    assert uses(loop, chat, "list_tasks", status="active") == "No tasks found."
    assert ncl("tasks", "resume", task[:8])["status"] == "active"
    assert "[active]" in uses(loop, chat, "update_task", taskId=task, prompt="tock", recurrence="0 5 1 1 *")
    assert (ncl("tasks", "get", task)["prompt"], ncl("tasks", "get", task)["cron"]) == ("tock", "0 5 1 1 *")
    before = len(loop.deliveries)
    assert "runs now" in uses(loop, chat, "run_task_now", taskId=task)
    loop.hears(chat, "echo: tock", after=before)
    assert ended(task)["reason"] is None
    assert task in run("ncl", "tasks")
    assert "completed" in run("ncl", "tasks", "runs", task)
    assert "Task cancelled" in uses(loop, chat, "cancel_task", taskId=task)
    assert ncl("tasks", "list", "--group", group) == []
    for tool in ("cancel_task", "pause_task", "resume_task", "run_task_now"):
        assert "it runs no more" in uses(loop, chat, tool, taskId=task)
        assert "there is no task 'nosuchtask00'" in uses(loop, chat, tool, taskId="nosuchtask00")
    assert "is in the past" in uses(loop, chat, "schedule_task", prompt="x", processAfter="2020-01-01 09:00")
    assert "no cron pattern" in uses(loop, chat, "schedule_task", prompt="x", recurrence="61 * * * *")
    assert "needs a time" in uses(loop, chat, "schedule_task", prompt="x")
    # In the container ncl is the same, without anybody's word; and another group's tasks are none.
    made = loop.asks(chat, f"!ncl tasks create {group} later --at 'in 3 hours'", "")
    assert "status:" in made, made
    (own,) = call("Tasks.List", group=group)["tasks"]
    call("Groups.Create", name=f"{group}-b", provider="scripted")
    other = call("Tasks.Create", group=f"{group}-b", prompt="x", at="in 3 hours")["task"]["id"]
    assert f"there is no task '{other}'" in uses(loop, chat, "cancel_task", taskId=other)
    assert "there is no group" in loop.asks(chat, f"!ncl tasks create {group}-b x --at 'in 1 hour'", "")
    call("Groups.Delete", name=f"{group}-b", force=True, seconds=90)
    with pytest.raises(ControlError):
        call("Tasks.Get", task=other)
    call("Groups.Update", name=group, cli_scope="disabled")
    assert own["id"] in uses(loop, chat, "list_tasks")


def test_scripts_say_whether_the_agent_is_called(loop: Account, chat: str, group: str) -> None:
    """F-63: true with data, false, failed, too long, too much; a series goes on after each."""
    loop.asks(chat, "hello", "echo: hello")
    cases = {
        "skipped": ("echo noise; echo '{\"wakeAgent\": false}'", "nothing to do"),
        "failed": ("echo broken >&2; exit 3", "it ended with 3: broken"),
        "completed": ('echo \'{"wakeAgent": true, "data": {"mails": 3}}\'', None),
    }
    before = len(loop.deliveries)
    for status, (script, reason) in cases.items():
        task = call("Tasks.Create", group=group, prompt=f"case {status}", cron="0 4 1 1 *", script=script)["task"]["id"]
        call("Tasks.Run", task=task)
        found = ended(task)
        assert found["status"] == status
        assert (reason or "") in (found["reason"] or "")
        assert call("Tasks.Get", task=task)["task"]["status"] == "active"
    loop.hears(chat, "case completed", after=before)
    assert not [one for one in loop.deliveries[before:] if "case failed" in one.text or "case skipped" in one.text]


def test_a_minute_for_real(loop: Account, chat: str, group: str) -> None:
    """F-62, F-103: a series by the wall clock, whose daemon is killed before the minute: one run, and the next planned.

    Many minutes in a row are simulated by the unit tests.
    """
    loop.asks(chat, "hello", "echo: hello")
    # Not at a minute's very end, when the next daemon would come too late for it.
    wait_until(lambda: datetime.now(UTC).second < 50, "there is time left in the minute")
    task = call("Tasks.Create", group=group, prompt="tick", cron="* * * * *", missed="all")["task"]
    first = datetime.fromisoformat(task["next_run_at"])
    kill_daemon()
    before = len(loop.deliveries)
    loop.hears(chat, "echo: tick", after=before, seconds=75)
    (ran,) = call("Tasks.Runs", task=task["id"])["runs"]
    assert datetime.fromisoformat(ran["occurrence"]) == first
    planned = datetime.fromisoformat(call("Tasks.Get", task=task["id"])["task"]["next_run_at"])
    assert planned == first + timedelta(minutes=1)
    assert 0 <= lag(session(group), f"task-{task['id']}-{first:%Y%m%dT%H%M%SZ}", first) < 1
    call("Tasks.Cancel", task=task["id"])
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["ncl", "tasks", "resume", task["id"]], check=True, capture_output=True)
