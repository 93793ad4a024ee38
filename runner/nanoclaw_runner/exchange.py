"""One open query: what is pushed into it, and who hears what comes out of it."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.prompt import Prompt
from nanoclaw_runner.providers import base

_log = logging.getLogger(__name__)

PASSING_SECONDS: Final = 0.02
"""A client's pipe takes a prompt in a fraction of this, unless the client is busy with something else."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The query has ended, after an error or by itself: nothing follows."""


type Heard = base.Event | Ended


class Exchange:
    """A query and the task that reads it. It stays open between turns, so that the next one starts warm.

    Attributes:
        listener: hears each event, between turns too.
        over: nothing follows.
        heard_at: the loop's time of the last event or push.
    """

    def __init__(self, query: base.Query, group: asyncio.TaskGroup, listener: Callable[[Heard], None]) -> None:
        """Begin to read.

        Args:
            query: has its first prompt.
            group: what a listener raises ends it: the database's failures are the runner's.
            listener: as above.
        """
        self._loop = asyncio.get_running_loop()
        self._query = query
        self._passed_on: Callable[[], Awaitable[None]] | None = getattr(query, "passed_on", None)
        self.listener = listener
        self.over = False
        self.heard_at = self._loop.time()
        self._task = group.create_task(self._read())

    def push(self, prompt: Prompt) -> None:
        """Add a prompt."""
        self.heard_at = self._loop.time()
        try:
            self._query.push(prompt)
        except Exception as error:
            _log.exception("the provider failed at a prompt")
            self._hear(base.Error(_words(error)))

    @property
    def may_begin_early(self) -> bool:
        """Whether all that comes of a prompt goes through this process, so that it may be known before its claim is."""
        return self._passed_on is not None

    async def passed_on(self) -> None:
        """Return when what was pushed is on its way, or after a moment: who waits for this only saves time by it."""
        if self._passed_on is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PASSING_SECONDS):
                    await self._passed_on()

    def abandon(self) -> None:
        """Hear nothing more; who has opened it closes it."""
        self.over = True
        self.listener = _deaf

    async def close(self) -> None:
        """End the query, finished or not; nobody hears of it any more."""
        self.abandon()
        self._task.cancel()
        await asyncio.wait((self._task,))
        try:
            await self._query.close()
        except Exception:
            _log.exception("the provider failed at the end of a query")

    async def _read(self) -> None:
        async with aclosing(_words_for_exceptions(self._query)) as events:
            async for event in events:
                self._hear(event)
                if self.over:
                    return
        self.over = True
        self.listener(Ended())

    def _hear(self, event: base.Event) -> None:
        self.heard_at = self._loop.time()
        self.over = self.over or isinstance(event, base.Error)
        self.listener(event)


def _deaf(_event: Heard) -> None:
    """Hear nothing."""


async def _words_for_exceptions(query: base.Query) -> AsyncGenerator[base.Event]:
    """Turn a provider's exception into an error event; the database's own exceptions are none of its business."""
    try:
        async with aclosing(query.events()) as events:
            async for event in events:
                yield event
    except Exception as error:
        _log.exception("the provider failed")
        yield base.Error(_words(error))


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
