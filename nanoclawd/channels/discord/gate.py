"""Discord's limit for all requests of a bot together, kept before Discord has to refuse.

The library keeps the limits of routes, which it is told with every answer; of this one it learns by a refusal, and by
then many more requests are under way.
"""

import asyncio
import math
import time
from types import SimpleNamespace
from typing import Final

import aiohttp

from nanoclawd.channels.window import Window

MOST: Final = 50
SECONDS: Final = 1.02
"""A little longer than the limit's second: Discord's clock is another one."""

_UNBOUND: Final = "/interactions/"
"""What answers a click has three seconds, and does not count."""


class Gate:
    """Has requests wait as they are about to be sent, in their order."""

    def __init__(self) -> None:
        self._window = Window(MOST, SECONDS)
        self._queue = asyncio.Lock()
        self._ended = asyncio.Event()
        self.trace = aiohttp.TraceConfig()
        """For the session whose requests wait."""
        self.trace.on_request_start.append(self._start)
        self.trace.on_request_end.append(self._end)
        self.trace.on_request_exception.append(self._end)

    async def _start(
        self, _session: aiohttp.ClientSession, context: SimpleNamespace, about: aiohttp.TraceRequestStartParams
    ) -> None:
        context.counts = _UNBOUND not in about.url.path
        if not context.counts:
            return
        async with self._queue:
            while (wait := self._window.wait(time.monotonic())) > 0:
                if wait < math.inf:
                    # As long as the service has said, or as its limit lasts.
                    await asyncio.sleep(wait)
                    continue
                self._ended.clear()
                await self._ended.wait()
            self._window.begin()

    async def _end(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _about: object) -> None:
        if context.counts:
            self._window.end()
            self._ended.set()
