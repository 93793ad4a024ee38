"""Waiting for what tells nobody when it happens, with a deadline: the one place where tests look again and again.

A server of somebody else's that comes up, a process's end, a unit that is unloaded, a row in a file. Whatever has an
event is awaited by that event instead.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Final

PATIENCE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.005
_LOOK_OUTSIDE_SECONDS: Final = 0.05


async def eventually[Found](
    condition: Callable[[], Found | Awaitable[Found]], what: str = "it is so", seconds: float = PATIENCE_SECONDS
) -> Found:
    """Return what a condition returns once that is true; the loop goes round meanwhile.

    Raises:
        AssertionError: it did not become true within so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(_LOOK_SECONDS)


def wait_until[Found](
    condition: Callable[[], Found],
    what: str,
    seconds: float = PATIENCE_SECONDS,
    *,
    despite: type[Exception] | tuple[()] = (),
) -> Found:
    """Do the same where there is no loop; a failure of the kind ``despite`` is "not yet".

    Raises:
        AssertionError: it did not become true within so many seconds.
    """
    deadline = time.monotonic() + seconds
    failure: Exception | None = None
    while True:
        try:
            if found := condition():
                return found
        except despite as error:
            failure = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}") from failure
        time.sleep(_LOOK_OUTSIDE_SECONDS)
