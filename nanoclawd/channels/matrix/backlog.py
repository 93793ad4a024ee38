"""What came by sync and is not handed in yet: chats side by side, each in its order; and how far all of it is done."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger(__name__)

MAX_OPEN: Final = 1000
"""So many events may wait before the next sync is asked for."""

type Work = Callable[[], Awaitable[None]]


class _Batch:
    """What came with one sync."""

    def __init__(self, finished: Callable[[], None]) -> None:
        self.open = 1  # the sync itself, until all of it is queued
        self.finished = finished


class Backlog:
    """Queues work by chat. After all work of a sync, and of those before it, what it has to say is said."""

    def __init__(self) -> None:
        self._batches: deque[_Batch] = deque()
        self._chats: dict[str, deque[tuple[Work, _Batch]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()
        self._room.set()
        self.open = 0

    def begin(self, finished: Callable[[], None]) -> None:
        """Begin a sync's batch; ``finished`` is called when everything up to here is done with."""
        self._batches.append(_Batch(finished))

    def add(self, chat: str, work: Work) -> None:
        """Queue work of the present batch. ``work`` tries until it is done with, and does not raise."""
        batch = self._batches[-1]
        batch.open += 1
        self.open += 1
        if self.open >= MAX_OPEN:
            self._room.clear()
        if chat in self._chats:
            self._chats[chat].append((work, batch))
            return
        self._chats[chat] = deque([(work, batch)])
        task = asyncio.create_task(self._run(chat), name=f"events of {chat[:80]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """All of the present batch is queued."""
        self._done(self._batches[-1])

    async def has_room(self) -> None:
        """Wait until not too much is open."""
        await self._room.wait()

    async def stop(self) -> None:
        """Leave what is open: it comes again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, chat: str) -> None:
        queue = self._chats[chat]
        while queue:
            work, batch = queue[0]
            try:
                await work()
            except Exception:
                log.exception("an event was given up")
            queue.popleft()
            self.open -= 1
            if self.open < MAX_OPEN:
                self._room.set()
            self._done(batch)
        del self._chats[chat]

    def _done(self, batch: _Batch) -> None:
        batch.open -= 1
        while self._batches and self._batches[0].open == 0:
            self._batches.popleft().finished()
