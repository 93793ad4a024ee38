"""A thousand tasks that are due at one moment, in a hundred sessions: all run, each in its session's container.

With the daemon and the containers of the appliance, fewer at once than sessions. What each agent does is next to
nothing and said to nobody, so that no channel has to be there.
"""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final

import yaml

from benchlib.appliance import CONFIG_FILE, Appliance
from benchlib.progress import step
from benchlib.results import Result
from benchlib.tasks import SESSIONS, TASKS, stored
from benchlib.varlink import Link

_CHANNEL: Final = "bench-tasks"
_GROUPS: Final = ("bench-tasks-1", "bench-tasks-2", "bench-tasks-3")
"""Several, because the tasks of one group are bounded."""

_AHEAD: Final = timedelta(seconds=30)
"""Enough to plan all of them before they are due."""

_LONGEST_SECONDS: Final = 240.0
_LOOK_SECONDS: Final = 1.0
_MILLISECONDS: Final = 1000.0


def all_run(appliance: Appliance) -> list[Result]:
    """Have all tasks fall due in the same second; measure how late each row was stored, and when the last had run.

    Raises:
        RuntimeError: not every task has run.
    """
    step(f"{TASKS} tasks in {SESSIONS} sessions, with their containers")
    before = CONFIG_FILE.read_text(encoding="utf-8")
    settings = {**yaml.safe_load(before), "channels": {_CHANNEL: {"type": "loopback"}}}
    CONFIG_FILE.write_text(yaml.safe_dump(settings), encoding="utf-8")
    appliance.restart()
    link = Link()
    try:
        due = _plan(link)
        seconds = _until_done(link, due)
        lags = [
            (moment - due).total_seconds() * _MILLISECONDS
            for group in _GROUPS
            for path in (appliance.state / "sessions" / group).glob("*/in/inbound.db")
            for moment in stored(path)
        ]
    finally:
        link.close()
        CONFIG_FILE.write_text(before, encoding="utf-8")
    if len(lags) != TASKS:
        raise RuntimeError(f"{TASKS} tasks were due, and {len(lags)} were handed over")
    note = f"{TASKS} tasks of {SESSIONS} sessions, none there before, due at once: until a session has a task's row"
    whole = f"from then until the last of {TASKS} tasks has run in its container"
    return [
        Result("tasks.real-lag", "ms", tuple(lags), note=note),
        Result("tasks.all-run", "s", (seconds,), note=whole),
    ]


def _plan(link: Link) -> datetime:
    for group in _GROUPS:
        link.call("io.nanoclaw.Groups.Create", name=group, provider="scripted")
    places = [(_GROUPS[number % len(_GROUPS)], f"room-{number}") for number in range(SESSIONS)]
    for group, room in places:
        link.call("io.nanoclaw.Chats.Create", channel=_CHANNEL, chat=room, unknown_sender_policy="public")
        link.call("io.nanoclaw.Wirings.Create", chat=f"{_CHANNEL}:{room}", group=group)
    due = (datetime.now(UTC) + _AHEAD).replace(microsecond=0)
    for number in range(TASKS):
        group, room = places[number % SESSIONS]
        link.call(
            "io.nanoclaw.Tasks.Create",
            group=group,
            prompt=f"!raw <internal>run {number}</internal>",
            at=due.isoformat(),
            chat=f"{_CHANNEL}:{room}",
        )
    if datetime.now(UTC) >= due:
        raise RuntimeError("the tasks were due before all of them were planned")
    return due


def _until_done(link: Link, due: datetime) -> float:
    """Return for how long after they were due tasks ran, in seconds."""
    while True:
        outcomes = Counter(
            task["last_run"]
            for group in _GROUPS
            for task in link.call("io.nanoclaw.Tasks.List", group=group, status="done", limit=TASKS)["tasks"]
        )
        seconds = time.time() - due.timestamp()
        if outcomes["completed"] == TASKS:
            return seconds
        if seconds > _LONGEST_SECONDS:
            raise RuntimeError(f"not every task has run: {dict(outcomes)}")
        # A call that the daemon answers beside its work; nothing else tells an operator of a run's end.
        time.sleep(_LOOK_SECONDS)
