"""Runs the events of each place one after the other, and those of different places side by side."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

MAX_WAITING: Final = 10_000
"""Events of all places that wait; what comes on top is left to a look at the channel's history."""

type Work = Callable[[], Awaitable[None]]


class Lanes:
    """A queue for each place that has something to do, and a task while it has."""

    def __init__(self, idle: Callable[[], None]) -> None:
        """Begin; ``idle`` is called each time nothing waits any more for a place."""
        self._idle = idle
        self._waiting: dict[str, deque[Work]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._count = 0

    def put(self, place: str, work: Work) -> bool:
        """Have something done after what waits for this place; False where too much waits already."""
        if self._count >= MAX_WAITING:
            return False
        self._count += 1
        self._waiting.setdefault(place, deque()).append(work)
        if place not in self._tasks:
            self._tasks[place] = asyncio.create_task(self._run(place), name=f"discord {place}")
        return True

    def is_busy(self, place: str) -> bool:
        """Tell whether something waits or runs for a place."""
        return place in self._tasks

    async def close(self) -> None:
        """Drop what waits, and end what runs."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._waiting.clear()
        self._tasks.clear()
        self._count = 0

    async def _run(self, place: str) -> None:
        waiting = self._waiting[place]
        while waiting:
            work = waiting.popleft()
            self._count -= 1
            try:
                await work()
            except Exception:
                log.exception("an event of Discord could not be handled")
        del self._waiting[place], self._tasks[place]
        self._idle()
