"""Scripts of tasks, in a real runner: what they say, what they may cost, and what the host is told."""

import asyncio
import json
from pathlib import Path

import pytest
from runner_stage import Host

from nanoclaw_runner import scripts
from nanoclaw_runner.contract import doorbell
from nanoclaw_runner.scripts import _ScriptError, run

TRUE = 'echo \'{"wakeAgent": true, "data": {"mails": ["<b>", 3]}}\''


def task(script: str | None, prompt: str = "look at the mail") -> str:
    occurrence = "2026-12-01T08:00:00.000Z"
    return json.dumps({"prompt": prompt, "script": script, "taskId": "t", "occurrence": occurrence, "late": False})


def reports(host: Host) -> list[tuple[str, str, str]]:
    found = [json.loads(str(row[0])) for row in host.outbound("SELECT content FROM messages_out WHERE kind = 'system'")]
    return [(one["row"], one["outcome"], one["reason"]) for one in found if one["action"] == "task"]


def insert(host: Host, content: str) -> str:
    """Add a task's row; return its id."""
    host.insert("x")
    (row,) = [row[0] for row in host.inbound.execute("SELECT id FROM messages_in ORDER BY seq DESC LIMIT 1")]
    host.inbound.execute("UPDATE messages_in SET kind = 'task', content = ? WHERE id = ?", (content, row))
    return str(row)


@pytest.mark.parametrize(
    ("script", "outcome", "reason"),
    [
        ("echo '{\"wakeAgent\": false}'", "skipped", "nothing to do"),
        ("exit 7", "failed", "ended with 7"),
        ("true", "failed", "printed nothing"),
        ("echo yes", "failed", "no JSON"),
        ("echo '{}'", "failed", 'no "wakeAgent"'),
        ("echo '{\"wakeAgent\": 1}'", "failed", 'no "wakeAgent"'),
        ("yes | head -c 2000000", "failed", "more than 1024 KiB"),
    ],
)
def test_a_run_is_over_without_the_agent(host: Host, script: str, outcome: str, reason: str):
    """F-63: the row is completed, and the host is told why nobody was called."""
    row = insert(host, task(script))
    host.start_ready()
    connection = host.connect()
    host.await_ring_until(connection, lambda: host.acks() == {row: "completed"})
    ((told, said, why),) = reports(host)
    assert (told, said) == (row, outcome)
    assert reason in why
    assert host.outbound("SELECT id FROM messages_out WHERE kind = 'chat'") == []
    # The session lives on.
    host.insert("hello")
    connection.send(doorbell.RING)
    assert host.await_replies(connection, 1) == ["echo: hello"]


def test_true_calls_the_agent_with_the_data(host: Host):
    """F-63: what else it prints is nobody's."""
    row = insert(host, task(f"echo noise; pwd > where; {TRUE}", "there is mail"))
    host.start_ready()
    connection = host.connect()
    (answer,) = host.await_replies(connection, 1)
    assert "echo: there is mail" in answer
    assert host.acks() == {row: "completed"}
    assert reports(host) == []
    assert (host.places.workspace / "where").read_text().strip() == str(host.places.workspace)


def test_a_task_without_a_script_needs_none(host: Host):
    insert(host, task(None, "just do it"))
    host.start_ready()
    connection = host.connect()
    assert "echo: just do it" in host.await_replies(connection, 1)[0]


def test_one_script_holds_up_no_other_row(host: Host):
    """Of a batch the task that needs nobody goes, and the message beside it is answered."""
    row = insert(host, task("echo '{\"wakeAgent\": false}'"))
    host.insert("and me?")
    host.start_ready()
    connection = host.connect()
    assert host.await_replies(connection, 1) == ["echo: and me?"]
    assert host.acks()[row] == "completed"
    assert [one[1] for one in reports(host)] == ["skipped"]


def test_where_scripts_are_not_allowed_none_is_run(host: Host):
    host.configure(task_scripts=False)
    row = insert(host, task(f"touch ran; {TRUE}"))
    host.start_ready()
    connection = host.connect()
    host.await_ring_until(connection, lambda: host.acks() == {row: "completed"})
    assert reports(host)[0][1:] == ("failed", "its script: scripts of tasks are not run here")
    assert not (host.places.workspace / "ran").exists()


def is_over(pid_file: Path) -> bool:
    status = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    return not status.exists() or status.read_text().split()[2] == "Z"


async def test_a_script_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path):
    with pytest.raises(_ScriptError, match=r"ended after 0\.5 seconds"):
        await run("sleep 600 & echo $! > child; wait", tmp_path, 0.5)
    assert is_over(tmp_path / "child")


async def test_what_a_script_leaves_behind_holds_nothing_up(tmp_path: Path):
    for left in ("sleep 600", "setsid sleep 2", "setsid timeout 2 yes >/dev/null"):
        said = await run(f"{left} & {TRUE}", tmp_path, 10)
        assert (said.wake, said.data) == (True, {"mails": ["<b>", 3]})


async def test_the_file_is_the_agents_alone_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = await run('stat -c %a "$0" > mode; echo "{\\"wakeAgent\\": true, \\"data\\": \\"$(cat mode)\\"}"', tmp_path)
    assert said.data == "700"
    assert [path.name for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))] == ["mode"]
    assert scripts.SCRIPT_SECONDS == 30
