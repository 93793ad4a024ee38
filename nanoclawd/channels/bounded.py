"""Runs what belongs to somebody else (an adapter) without trusting it to end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 1.0
"""So long a cancelled call may take to clean up. Then it is left behind."""

_left_behind: set[asyncio.Task[object]] = set()


async def bounded[Result](call: Coroutine[object, object, Result], seconds: float, what: str) -> Result:
    """Return a call's result.

    The call runs in a task of its own: one that swallows its cancellation, or that ends by a cancellation from inside,
    neither holds up nor cancels the caller.

    Raises:
        TimeoutError: it did not end in time; the message says what.
        RuntimeError: it ended by a cancellation of its own.
    """
    # Begun right here: what need not wait, as a write to a screen, is done before anything else has its turn.
    task = asyncio.eager_task_factory(asyncio.get_running_loop(), call, name=what)
    try:
        if not task.done():
            await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _end(task)
        raise
    if not task.done():
        await _end(task)
        raise TimeoutError(f"{what} did not end in {seconds:g} s")
    if task.cancelled():
        raise RuntimeError(f"{what} was cancelled from inside")
    return task.result()


async def _end(task: asyncio.Task[object]) -> None:
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
    finally:
        if not task.done():
            log.error("%s does not end when it is cancelled; it is left behind", task.get_name())
            _left_behind.add(task)
            task.add_done_callback(_left_behind.discard)
        task.add_done_callback(_look_at)


def _look_at(task: asyncio.Task[object]) -> None:
    """Fetch the exception of a task whose outcome interests nobody, so that nobody is told that it was not fetched."""
    if not task.cancelled() and task.exception() is not None:
        log.debug("%s ended with an error after its time: %s", task.get_name(), task.exception())
