"""Five days across a change of the clocks: a daemon that is killed again and again, a day without a machine."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import apsw
from simulated_daemon import BEGIN, END, OFF, ON, Clock

from nanoclaw_runner.contract.clock import parse, to_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.store import agent_groups, chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.tasks.rows import run_of
from nanoclawd.tasks.service import TaskService, Where, Wish

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BERLIN = ZoneInfo("Europe/Berlin")
KILLS = 15
MINUTE = timedelta(minutes=1)
PLANS = {
    "latest": Wish(prompt="x", cron="*/5 * * * *"),
    "all": Wish(prompt="x", cron="* * * * *", missed="all"),
    "skip": Wish(prompt="x", cron="*/5 * * * *", missed="skip"),
    "daily": Wish(prompt="x", cron="30 2 * * *", missed="all"),
    "once": Wish(prompt="x", at="2026-10-25 02:30"),
    "once, or not at all": Wish(prompt="x", at="2026-10-25 02:30", missed="skip"),
}


def minutes(first: datetime, last: datetime, step: int = 1) -> set[datetime]:
    """Every whole minute of the hour that is a multiple of a step, after the first moment and until the last."""
    moment = first.astimezone(UTC).replace(second=0) + MINUTE
    found = set()
    while moment <= last:
        if moment.minute % step == 0:
            found.add(moment)
        moment += MINUTE
    return found


# What the policies say. The clocks go back at 2026-10-25 01:00 UTC, while the machine is off, and each minute is real.
BEFORE, AFTER = minutes(BEGIN, OFF, 5), minutes(ON, END, 5)
LATEST_MISSED = ON.astimezone(UTC).replace(second=0)
EXPECTED = {
    "latest": BEFORE | {LATEST_MISSED} | AFTER,
    "all": minutes(BEGIN, END),
    "skip": BEFORE | AFTER,
    "daily": {datetime(2026, 10, day, 2, 30, tzinfo=BERLIN).astimezone(UTC) for day in range(23, 28)},
    "once": {datetime(2026, 10, 25, 0, 30, tzinfo=UTC)},
    "once, or not at all": set(),
}


async def planned(root: Path) -> dict[str, str]:
    """Plan the tasks; return what each is called, by its id."""
    clock = Clock(root / "clock")
    clock.set(BEGIN)
    database = Database(root / "central.db")
    await database.open()
    group = await database.run(agent_groups.create, "main")
    chat = await database.run(chats.create, "matrix", "!room", "Room")
    await database.run(chats.wire, chat.id, group.id)
    session = await database.run(session_rows.create, group.id, chat.id)
    service = TaskService(database, "Europe/Berlin", clock)
    where = Where(session.id, Address("matrix", "!room"))
    names = {(await service.create(group.id, "agent:main", wish, where)).id: name for name, wish in PLANS.items()}
    await database.close()
    return names


def daemon(root: Path, seed: int) -> int:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'runner'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(HERE / "simulated_daemon.py"), str(root), str(seed)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


async def test_the_runs_are_exactly_those_that_the_policy_says(tmp_path: Path):
    """W-16, W-41, F-103: every minute for five days; a run that was begun is neither lost nor made twice."""
    names = await planned(tmp_path)
    killed = sum(daemon(tmp_path, seed) == -signal.SIGKILL for seed in range(1, KILLS + 1))
    assert killed == KILLS
    assert daemon(tmp_path, 0) == 0
    with apsw.Connection(str(tmp_path / "sessions.db")) as sessions:
        rows = sessions.execute("SELECT id, content FROM rows").fetchall()
    found: dict[str, list[datetime]] = {name: [] for name in PLANS}
    late: dict[str, set[datetime]] = {name: set() for name in PLANS}
    for row_id, content in rows:
        task_id, occurrence = run_of(row_id) or ("", "")
        said = json.loads(content)
        assert (said["taskId"], said["occurrence"]) == (task_id, occurrence)
        found[names[task_id]].append(parse(occurrence))
        if said["late"]:
            late[names[task_id]].add(parse(occurrence))
    for name, expected in EXPECTED.items():
        assert len(found[name]) == len(set(found[name])), f"{name}: twice"
        assert set(found[name]) == expected, (
            name,
            sorted(map(to_text, expected - set(found[name])))[:5],
            sorted(map(to_text, set(found[name]) - expected))[:5],
        )
    # What ran in time was not called late, and what the machine slept through was.
    assert late["latest"] == {LATEST_MISSED}
    assert late["all"] == minutes(OFF, ON)
    assert late["skip"] == set()
    assert late["once"] == EXPECTED["once"]
