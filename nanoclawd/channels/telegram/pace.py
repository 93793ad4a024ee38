"""How often a bot may send: Telegram's limits, kept before Telegram has to refuse.

One message a second in a chat, twenty a minute in a group, thirty a second in all; a refusal all the same says how long
to wait. The library's own limiter lets bursts through that are over these limits, and stops every chat for one.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from nanoclawd.errors import NanoclawError

_MAX_CHATS: Final = 2000


class Busy(NanoclawError):  # noqa: N818
    """Nothing may be sent there yet.

    Attributes:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Telegram allows the next message in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Rates:
    """So many in so many seconds. A little more time than Telegram's: what leaves evenly need not arrive evenly."""

    chat: tuple[int, float] = (1, 1.03)
    group: tuple[int, float] = (20, 61.0)
    overall: tuple[int, float] = (30, 1.1)


@dataclass(slots=True)
class _Window:
    most: int
    seconds: float
    sent: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        """Return how long to wait, in seconds."""
        while self.sent and self.sent[0] <= now - self.seconds:
            self.sent.popleft()
        return 0.0 if len(self.sent) < self.most else self.sent[len(self.sent) - self.most] + self.seconds - now

    def take(self, now: float) -> None:
        self.sent.append(now)


@dataclass(slots=True)
class _Chat:
    windows: list[_Window]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    held_until: float = 0.0
    waiting: int = 0

    def wait(self, now: float) -> float:
        return max(self.held_until - now, *(window.wait(now) for window in self.windows))


class Pace:
    """Gives turns: in a chat one after the other, in their order."""

    def __init__(self, rates: Rates | None = None) -> None:
        self._rates = rates or Rates()
        self._chats: dict[int, _Chat] = {}
        self._overall = _Window(*self._rates.overall)
        self._queue = asyncio.Lock()
        self._held_until = 0.0

    @asynccontextmanager
    async def turn(self, chat_id: int, patience: float) -> AsyncIterator[None]:
        """Wait until a message may be sent to a chat, and send it inside of this.

        Raises:
            Busy: that would take longer than ``patience`` seconds.
        """
        chat = self._chat(chat_id)
        ends = time.monotonic() + patience
        chat.waiting += 1
        try:
            async with chat.turn:
                await self._sleep(chat.wait(time.monotonic()), ends)
                async with self._queue:
                    now = time.monotonic()
                    await self._sleep(max(self._held_until - now, self._overall.wait(now)), ends)
                    self._overall.take(time.monotonic())
                try:
                    yield
                finally:
                    # Counted when it has arrived: the next one can't then arrive too soon.
                    for window in chat.windows:
                        window.take(time.monotonic())
        finally:
            chat.waiting -= 1

    def has_room(self, chat_id: int) -> bool:
        """Tell whether something that may be left out can be sent now: at once, and with half of the group's left."""
        chat, now = self._chat(chat_id), time.monotonic()
        if chat.turn.locked() or chat.waiting or chat.wait(now) > 0 or max(self._held_until - now, 0) > 0:
            return False
        half = all(len(window.sent) < max(1, window.most // 2) for window in chat.windows)
        return half and len(self._overall.sent) < self._overall.most // 2

    def hold(self, chat_id: int, seconds: float) -> None:
        """Send nothing to a chat for so long: Telegram has said so."""
        chat = self._chat(chat_id)
        chat.held_until = max(chat.held_until, time.monotonic() + seconds)

    async def _sleep(self, seconds: float, ends: float) -> None:
        if time.monotonic() + seconds > ends:
            raise Busy(seconds)
        if seconds > 0:
            await asyncio.sleep(seconds)

    def _chat(self, chat_id: int) -> _Chat:
        chat = self._chats.pop(chat_id, None)
        if chat is None:
            rates = [self._rates.chat] if chat_id > 0 else [self._rates.chat, self._rates.group]
            chat = _Chat([_Window(*rate) for rate in rates])
        self._chats[chat_id] = chat  # the latest used last
        if len(self._chats) > _MAX_CHATS:
            self._forget(time.monotonic())
        return chat

    def _forget(self, now: float) -> None:
        for chat_id in list(self._chats)[: _MAX_CHATS // 2]:
            if not self._chats[chat_id].waiting and self._chats[chat_id].wait(now) <= 0:
                del self._chats[chat_id]
