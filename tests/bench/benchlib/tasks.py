"""A thousand tasks that are due at one moment, in a hundred sessions: from that moment until each session has its rows.

In this process, with the product's own dispatcher, sessions and databases below the state directory; no bus is there to
start a container with, so what is measured ends with the commit that a container would be woken for. That they run,
:mod:`benchlib.task_runs` shows.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import apsw

from benchlib.fan_out import sessions_without_bus
from benchlib.progress import step
from benchlib.results import Result
from nanoclaw_runner.contract.clock import parse, to_text
from nanoclawd.paths import StatePaths
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import agent_groups, chats, names, tasks
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session
from nanoclawd.tasks.dispatcher import Dispatcher

TASKS: Final = 1000
SESSIONS: Final = 100
_SOON: Final = timedelta(seconds=2)
_LONGEST_SECONDS: Final = 60.0


def due_at_once(state: Path) -> list[Result]:
    """Have all tasks fall due in the same second, and measure how late each row was stored."""
    step(f"{TASKS} tasks in {SESSIONS} sessions, due at once")
    logging.disable(logging.CRITICAL)  # that no bus answers is no news here
    with tempfile.TemporaryDirectory(dir=state) as directory:
        lags = asyncio.run(_measure(Path(directory)))
    logging.disable(logging.NOTSET)
    note = f"from the moment that {TASKS} tasks of {SESSIONS} sessions are due until a session has a task's row"
    return [Result("tasks.lag", "ms", lags, note=note)]


async def _measure(root: Path) -> tuple[float, ...]:
    async with _sessions(root) as (paths, database, sessions):
        group = await database.run(agent_groups.create, "bench")
        made = [await _session(database, sessions, group.id, number) for number in range(SESSIONS)]
        due = datetime.now(UTC).replace(microsecond=0) + _SOON
        await database.run(_plan, made, due)
        dispatcher = Dispatcher(database, sessions, lambda _channel: False, clock_is_right=_right)
        dispatcher.start()
        await _until_dispatched(database)
        await dispatcher.close()
        rows = [stored(paths.session("bench", session.id).inbound_db) for session in made]
    lags = [(moment - due).total_seconds() * 1e3 for moments in rows for moment in moments]
    if len(lags) != TASKS:
        raise RuntimeError(f"{TASKS} tasks were due, and {len(lags)} were handed over")
    return tuple(lags)


@asynccontextmanager
async def _sessions(root: Path) -> AsyncIterator[tuple[StatePaths, Database, Sessions]]:
    async with sessions_without_bus(root, SESSIONS) as (paths, database, sessions, _delivery):
        yield paths, database, sessions


async def _session(database: Database, sessions: Sessions, group_id: str, number: int) -> Session:
    chat = await database.run(chats.create, "bench", f"room-{number}", None, True, "public")
    return await sessions.create(group_id, "bench", chat.id)


def _plan(connection: apsw.Connection, sessions: list[Session], due: datetime) -> None:
    moment = to_text(datetime.now(UTC))
    with connection:
        for number in range(TASKS):
            session = sessions[number % SESSIONS]
            tasks.add(
                connection,
                tasks.Task(
                    id=names.new_task_id(),
                    agent_group_id=session.agent_group_id,
                    group=session.group,
                    session_id=session.id,
                    channel_type="bench",
                    platform_id=f"room-{number % SESSIONS}",
                    thread_id=None,
                    created_by="agent:bench",
                    prompt="say that it is time",
                    script=None,
                    cron="0 4 1 1 *",
                    zone="Europe/Berlin",
                    not_before=moment,
                    next_run_at=to_text(due),
                    status="active",
                    missed="latest",
                    key=None,
                    created_at=moment,
                    changed_at=moment,
                ),
            )


async def _until_dispatched(database: Database) -> None:
    """Wait until all were handed over; asked rarely, so that asking does not hold it up."""
    end = time.monotonic() + _LONGEST_SECONDS
    while await database.run(_dispatched) < TASKS:
        if time.monotonic() > end:
            raise RuntimeError(f"not all tasks were handed over within {_LONGEST_SECONDS:g} s")
        await asyncio.sleep(0.5)


def _dispatched(connection: apsw.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM task_runs WHERE status <> 'pending'").get)


def stored(inbound: Path) -> list[datetime]:
    """Return when a session's rows of tasks were stored."""
    with apsw.Connection(str(inbound), flags=apsw.SQLITE_OPEN_READONLY) as connection:
        found = connection.execute("SELECT timestamp FROM messages_in WHERE kind = 'task'").fetchall()
    return [parse(str(row[0])) for row in found]


async def _right() -> None:
    """The clock is."""
