"""Whether a platform can be reached: after a request that failed it is asked until it answers.

Meanwhile no delivery is tried, so that an outage, however long, costs none of the attempts that an answer has; and all
that waits is due at once when the platform is back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.rows import Address

MAX_WAITING: Final = 10_000
"""Chats; of what is said in more the next look at them finds out."""


@dataclass(frozen=True, slots=True)
class ReachPace:
    """Seconds.

    Attributes:
        first: between the first two questions; then twice as long each time.
        longest: most that is waited between two.
        answer: so long the platform may take to answer one.
    """

    first: float = 1.0
    longest: float = 30.0
    answer: float = 20.0


class Reach:
    """What is known of one platform. It is there until somebody says otherwise."""

    def __init__(self, name: str, pace: ReachPace | None = None) -> None:
        """Prepare; ``name`` is the channel's."""
        self._name = name
        self._pace = pace or ReachPace()
        self._ask: Callable[[], Awaitable[object]] | None = None
        self._again: Callable[[Address], None] = lambda _address: None
        self._waiting: dict[Address, None] = {}
        self._asking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def open(self, ask: Callable[[], Awaitable[object]], again: Callable[[Address], None]) -> None:
        """Begin, after a setup; what has waited is told.

        Args:
            ask: asks the platform something small; raises where it does not answer.
            again: is told the chats for which something waits.
        """
        self._ask, self._again = ask, again
        self.tell()

    async def close(self) -> None:
        """Ask no more. What waits is remembered for the next setup."""
        asking, self._asking = self._asking, None
        self._ask, self._again = None, lambda _address: None
        if asking is not None:
            asking.cancel()
            await asyncio.wait({asking})

    def is_there(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now; where not, the chat is told when it can."""
        if self._asking is None:
            return True
        self.wait(address)
        return False

    def wait(self, address: Address) -> None:
        """Have a chat told when the platform is there."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting[address] = None

    def tell(self) -> None:
        """Tell those who wait. Where the last request has failed, the platform is asked at once."""
        if self._asking is not None:
            self._news.set()
            return
        waiting, self._waiting = self._waiting, {}
        for address in waiting:
            self._again(address)

    def failed(self) -> None:
        """Note that a request failed as they do where the platform, or the way to it, is gone."""
        if self._asking is None and self._ask is not None:
            self._asking = asyncio.create_task(self._until_it_answers(self._ask), name=f"reaching {self._name}")

    async def _until_it_answers(self, ask: Callable[[], Awaitable[object]]) -> None:
        pause = self._pace.first
        while True:
            self._news.clear()
            try:
                async with asyncio.timeout(self._pace.answer):
                    await ask()
                break
            except Exception:  # whatever it is, it is no answer
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._news.wait()
                pause = min(2 * pause, self._pace.longest)
        self._asking = None
        self.tell()
