"""Blocking work on session databases: a small thread pool, one job per session at a time, each with a deadline.

The event loop never waits for a disk or a lock (house rule 8). A job past its deadline fails for its caller; its
session gets no other job until the thread has really returned, so two threads never share a connection.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from nanoclawd.errors import Unavailable

DEFAULT_DEADLINE_SECONDS = 5.0
DEFAULT_THREADS = 24
"""They wait for the disk more than for a processor: a message that 20 agents hear is 20 commits, which cost about five
when each has a thread, and more with fewer threads. A thread is made when it is first needed."""


class SessionJobs:
    """Runs functions for sessions off the loop."""

    def __init__(self, threads: int = DEFAULT_THREADS) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="session-db")
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def run[T](
        self,
        session_id: str,
        function: Callable[..., T],
        *arguments: object,
        deadline: float = DEFAULT_DEADLINE_SECONDS,
    ) -> T:
        """Run a function in the pool when the session's earlier jobs are done.

        Raises:
            Unavailable: it took longer than the deadline (seconds).
        """
        turn = self._turns.setdefault(session_id, asyncio.Lock())
        await turn.acquire()
        try:
            job = asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        except BaseException:
            turn.release()
            raise
        job.add_done_callback(partial(_ended, turn))
        await asyncio.wait((job,), timeout=deadline)  # which leaves the job alone, whatever becomes of who waits
        if not job.done():
            raise Unavailable(f"session {session_id}: its database did not answer in {deadline:g} s")
        return job.result()

    def close(self) -> None:
        """Let the pool's threads end; does not wait."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _ended(turn: asyncio.Lock, job: asyncio.Future[Any]) -> None:
    turn.release()
    if not job.cancelled():
        job.exception()  # looked at, though nobody may wait for it any more
