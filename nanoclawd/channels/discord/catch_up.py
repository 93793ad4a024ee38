"""Asks for what was said while nobody listened."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from nanoclawd.channels.discord.marks import Marks
from nanoclawd.channels.discord.places import Place
from nanoclawd.channels.discord.rest import FAILURES as REQUEST_FAILURES
from nanoclawd.channels.discord.rest import PAGE, Rest, told
from nanoclawd.channels.discord.wire import is_id
from nanoclawd.errors import Unavailable

log = logging.getLogger(__name__)

MAX_PAGES: Final = 20
"""Of one channel, each of 100 messages; of what is beyond the journal says that it was missed."""

_AT_ONCE: Final = 4
_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 60.0

type Take = Callable[[dict[str, Any]], Awaitable[None]]


class CatchUp:
    """Reads channels' histories from their marks on."""

    def __init__(self, rest: Rest, marks: Marks, take: Take) -> None:
        """Prepare; ``take`` handles a message as if it had just come."""
        self._rest = rest
        self._marks = marks
        self._take = take
        self._room = asyncio.Semaphore(_AT_ONCE)

    def is_behind(self, place: Place) -> bool:
        """Tell whether a channel has a message after what was heard, as the platform says."""
        return place.last is not None and int(place.last) > self._marks.after(place.id)

    async def run(self, channel_id: str) -> None:
        """Take what is new in a channel, the oldest first. A network that is away is waited for."""
        pause = _PAUSE_SECONDS
        after = self._marks.after(channel_id)
        pages = 0
        while pages < MAX_PAGES:
            try:
                async with self._room:
                    found = await self._rest.after(channel_id, after)
            except REQUEST_FAILURES as error:
                fault = told(error)
                if not isinstance(fault, Unavailable):
                    # A channel that the bot may not see tells nobody anything.
                    log.debug("a channel's history can't be read: %s", fault.message)
                    return
                log.warning("a Discord channel's history can't be read now: %s", fault.message)
                # It tells nobody when it is back; the pause grows and is bounded.
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            for one in found:
                await self._take(one)
                identity = one.get("id")
                after = max(after, int(identity)) if isinstance(identity, str) and is_id(identity) else after
            pages += 1
            if len(found) < PAGE:
                return
        log.warning("more than %d messages were missed in a Discord channel", MAX_PAGES * PAGE)
