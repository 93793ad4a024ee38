"""Work that goes on behind whoever began it: kept until it ends, its faults told and outlived."""

import asyncio
import logging
from collections.abc import Callable, Coroutine


class Background:
    """The tasks of one part of the daemon that nobody awaits. A fault is logged, and may have the part look again."""

    def __init__(
        self, log: logging.Logger, what: str, again: Callable[[], None] | None = None, again_seconds: float = 60
    ) -> None:
        """Begin with nothing.

        Args:
            log: the part's own.
            what: what the tasks do, for the journal: "<what> failed".
            again: called some time after a fault; the database, say, could not be written (a full disk).
            again_seconds: how long after.
        """
        self._log = log
        self._what = what
        self._again = again
        self._again_seconds = again_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Begin something. The loop itself keeps no task from being collected: this does."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def rest(self) -> None:
        """Return when nothing is under way any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)
            # The tasks' own callbacks, which take them off the list, come next.
            await asyncio.sleep(0)

    def cancel(self) -> None:
        """Cut everything off."""
        for task in self._tasks:
            task.cancel()

    async def close(self, patience: float = 0) -> None:
        """Give what is under way so many seconds to end, cut the rest off, and return when that has ended."""
        if patience and self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("%s failed", self._what, exc_info=task.exception())
            if self._again is not None:
                asyncio.get_running_loop().call_later(self._again_seconds, self._again)
