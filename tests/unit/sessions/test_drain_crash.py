"""Delivery across kill -9: a real process, real files, a real signal at each point between intent and outcome."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from crashing_daemon import POINTS
from session_stage import Stage, message

CHILD = Path(__file__).parent / "crashing_daemon.py"


def deliver(root: Path, point: str, row: str, *options: str) -> int:
    """Run a daemon's delivery in a process of its own; returns its exit status (negative: the signal)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(CHILD), str(root), point, row, *options]
    done = subprocess.run(command, env=environment, check=False, timeout=60)
    return done.returncode


def said_on_platform(root: Path) -> list[str]:
    path = root / "platform"
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize("victim", [0, 2])
@pytest.mark.parametrize("point", [point for point in POINTS if point != "never"])
async def test_killed_at(stage: Stage, tmp_path: Path, point: str, victim: int):
    """F-99: what was delivered before is not said again; the one in flight once more at most; nothing is lost."""
    await stage.files.append(message("m1"))
    stage.reply("a", "b", "c", completed=("m1",))
    await stage.files.close()
    rows = stage.outbound_ids()
    row = rows[victim]

    assert deliver(tmp_path, point, row) == -signal.SIGKILL
    journals = [path.name for path in stage.paths.inbound.glob("*-journal")]
    if point.startswith("in the"):
        assert journals == ["inbound.db-journal"], "the kill was meant to leave a hot journal"
    if point == "intent recorded":
        assert stage.query_inbound("SELECT status FROM delivered WHERE message_out_id = ?", row) == "sending"
        assert stage.query_inbound("SELECT attempts FROM delivered WHERE message_out_id = ?", row) == 1
        # Nobody is told that a message is answered before its answers were delivered.
        assert stage.query_inbound("SELECT status FROM messages_in") == "pending"

    assert deliver(tmp_path, "never", row) == 0
    times = Counter(said_on_platform(tmp_path))
    assert list(times) == rows
    twice = {name for name, count in times.items() if count > 1}
    assert max(times.values()) <= 2
    assert twice == ({row} if point in ("platform has it", "in the outcome's commit") else set())

    before = said_on_platform(tmp_path)
    assert deliver(tmp_path, "never", row) == 0
    assert said_on_platform(tmp_path) == before
    assert stage.query_inbound("SELECT status FROM messages_in") == "completed"
    assert sorted(path.name for path in stage.paths.root.rglob("*.db*")) == ["inbound.db", "outbound.db"]


async def test_killed_again_and_again(stage: Stage, tmp_path: Path):
    """At most one duplicate per crash, also when the same row is in flight each time; then it is said."""
    stage.reply("a")
    await stage.files.close()
    (row,) = stage.outbound_ids()
    for crashes in (1, 2, 3):
        assert deliver(tmp_path, "platform has it", row) == -signal.SIGKILL
        assert said_on_platform(tmp_path) == [row] * crashes
    assert deliver(tmp_path, "never", row) == 0
    assert said_on_platform(tmp_path) == [row] * 4
    assert stage.query_inbound("SELECT status FROM delivered") == "delivered"


@pytest.mark.parametrize("point", [point for point in POINTS if point != "never"])
async def test_killed_where_what_is_repeated_is_shown_once(stage: Stage, tmp_path: Path, point: str):
    """F-99: a screen gets a row while its intent is being written. All are there, in order, and none twice under two
    ids; nobody is told that a message is answered before.
    """
    await stage.files.append(message("m1"))
    stage.reply("a", "b", "c", completed=("m1",))
    await stage.files.close()
    rows = stage.outbound_ids()
    row = rows[1]
    assert deliver(tmp_path, point, row, "shows-once") == -signal.SIGKILL
    assert stage.query_inbound("SELECT status FROM messages_in") == "pending"
    assert deliver(tmp_path, "never", row, "shows-once") == 0
    times = Counter(said_on_platform(tmp_path))
    assert list(times) == rows
    assert max(times.values()) <= 2
    assert stage.query_inbound("SELECT status FROM messages_in") == "completed"
    assert stage.query_inbound("SELECT min(attempts) FROM delivered") == 1
    before = said_on_platform(tmp_path)
    assert deliver(tmp_path, "never", row, "shows-once") == 0
    assert said_on_platform(tmp_path) == before
