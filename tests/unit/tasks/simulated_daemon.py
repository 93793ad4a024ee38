"""A daemon's tasks over simulated days that is killed at random: ``simulated_daemon.py ROOT SEED``.

The clock is a file: this process moves it on from one due time to the next, as a timer would, so whoever comes after a
kill goes on at the moment of it. Sessions are a database of their own, whose rows are stored once for each id, as
``inbound.db`` has them. From OFF to ON the machine is off: the first daemon that comes to OFF moves the clock to ON.

It kills itself by SIGKILL, anywhere: after a random number of the lines that its dispatching runs through.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import apsw

from nanoclaw_runner.contract.clock import parse, to_text
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import tasks
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session
from nanoclawd.tasks.dispatcher import Dispatcher
from nanoclawd.tasks.places import HasThreads

BEGIN = datetime.fromisoformat("2026-10-23T00:00:00+02:00")
END = BEGIN + timedelta(days=5)
OFF = datetime.fromisoformat("2026-10-24T13:20:30+02:00")
ON = OFF + timedelta(days=1)
NO_THREADS: HasThreads = lambda _channel: False  # noqa: E731
LINES_OF_A_LIFE = 30_000


class Clock:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> datetime:
        return parse(self._path.read_text())

    def set(self, moment: datetime) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(to_text(moment))
        fresh.replace(self._path)


class Rows:
    """The sessions: a row is there once, however often it is handed over."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.execute("CREATE TABLE IF NOT EXISTS rows (session, id, at, content, UNIQUE (session, id))")

    async def create(self, *_given: object) -> Session:
        raise AssertionError("the session is there")

    async def accept_all(self, messages: Sequence[tuple[Session, NewMessage]]) -> list[bool | Exception]:
        found: list[bool | Exception] = []
        for session, message in messages:
            self._connection.execute(
                "INSERT INTO rows VALUES (?, ?, datetime('now'), ?) ON CONFLICT DO NOTHING",
                (session.id, message.id, message.content),
            )
            found.append(bool(self._connection.changes()))
        return found

    async def row_status(self, session_id: str, row_id: str) -> str | None:
        there = "SELECT 1 FROM rows WHERE session = ? AND id = ?"
        return "completed" if self._connection.execute(there, (session_id, row_id)).fetchone() else None


def die_after(lines: int) -> None:
    """Kill this process in the middle of whatever it does when it has run through so many lines of ours."""
    left = lines

    def count(frame: object, event: str, _argument: object) -> object:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return count if "nanoclawd" in getattr(getattr(frame, "f_code", None), "co_filename", "") else None

    sys.settrace(count)  # type: ignore[arg-type]


async def right() -> None:
    return


async def main(root: Path, seed: int) -> None:
    clock, rows, database = Clock(root / "clock"), Rows(root / "sessions.db"), Database(root / "central.db")
    await database.open()
    dispatcher = Dispatcher(database, rows, NO_THREADS, clock_is_right=right, now=clock)
    if seed:
        die_after(random.Random(seed).randrange(LINES_OF_A_LIFE))
    await dispatcher.catch_up()
    while clock() < END:
        now = clock()
        earliest = await database.run(tasks.earliest)
        due = END if earliest is None else max(parse(earliest), now)
        if now < OFF <= due:
            clock.set(ON)
        else:
            clock.set(min(due, END))
        await dispatcher.catch_up()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
