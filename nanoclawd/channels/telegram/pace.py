"""How often a bot may send: Telegram's limits, kept before Telegram has to refuse.

One message a second in a chat, twenty a minute in a group, thirty a second in all; a refusal all the same says how long
to wait. The library's own limiter lets bursts through that are over these limits, and stops every chat for one.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from nanoclawd.channels.window import Window
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
    """So many in so many seconds: Telegram's, with a little more time, as its clock is another one."""

    chat: tuple[int, float] = (1, 1.02)
    group: tuple[int, float] = (20, 60.5)
    overall: tuple[int, float] = (30, 1.02)


@dataclass(slots=True)
class _Chat:
    windows: list[Window]
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
        self._overall = Window(*self._rates.overall)
        self._queue = asyncio.Lock()
        self._ended = asyncio.Event()

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
                    while (wait := self._overall.wait(time.monotonic())) > 0:
                        await self._sleep(wait, ends)
                    windows = [*chat.windows, self._overall]
                    for window in windows:
                        window.begin()
                try:
                    yield
                finally:
                    for window in windows:
                        window.end()
                    self._ended.set()
        finally:
            chat.waiting -= 1

    def has_room(self, chat_id: int) -> bool:
        """Tell whether something that may be left out can be sent now: at once, and with half of the group's left."""
        chat, now = self._chat(chat_id), time.monotonic()
        if chat.turn.locked() or chat.waiting or chat.wait(now) > 0 or self._overall.wait(now) > 0:
            return False
        return all(window.used < max(1, window.most // 2) for window in (*chat.windows, self._overall))

    def hold(self, chat_id: int, seconds: float) -> None:
        """Send nothing to a chat for so long: Telegram has said so."""
        chat = self._chat(chat_id)
        chat.held_until = max(chat.held_until, time.monotonic() + seconds)

    async def _sleep(self, seconds: float, ends: float) -> None:
        """Wait so long, or where that is infinite until a message has gone."""
        left = ends - time.monotonic()
        if seconds <= left:
            # Exactly until the limit allows the next message.
            await asyncio.sleep(max(seconds, 0.0))
            return
        if seconds < math.inf:
            raise Busy(seconds)
        self._ended.clear()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await self._ended.wait()
        except TimeoutError:
            raise Busy(1.0) from None

    def _chat(self, chat_id: int) -> _Chat:
        chat = self._chats.pop(chat_id, None)
        if chat is None:
            rates = [self._rates.chat] if chat_id > 0 else [self._rates.chat, self._rates.group]
            chat = _Chat([Window(*rate) for rate in rates])
        self._chats[chat_id] = chat  # the latest used last
        if len(self._chats) > _MAX_CHATS:
            self._forget(time.monotonic())
        return chat

    def _forget(self, now: float) -> None:
        for chat_id in list(self._chats)[: _MAX_CHATS // 2]:
            if not self._chats[chat_id].waiting and self._chats[chat_id].wait(now) <= 0:
                del self._chats[chat_id]
