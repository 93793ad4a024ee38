"""Asks Telegram for news, and acknowledges what was stored: chats side by side, each in its order.

Telegram forgets an update when it is asked for later ones. So the next question names the first update that is not done
with; those behind it which are, are not worked on again. As long as one waits, the question is a short one.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from telegram.error import Conflict, InvalidToken, NetworkError, RetryAfter, TelegramError

from nanoclawd.channels.telegram.errors import seconds_of
from nanoclawd.errors import Unavailable
from nanoclawd.journal import about

log = logging.getLogger(__name__)

WANTED: Final = ("message", "edited_message", "channel_post", "edited_channel_post", "callback_query",
                 "message_reaction", "my_chat_member")  # fmt: skip
_BATCH: Final = 100
_GRACE_SECONDS: Final = 10.0
"""So much longer than asked for an answer may take; then the connection is not what it seems."""
_CANCEL_SECONDS: Final = 0.5
_LAST_WORD_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Waits:
    """How long is waited, in seconds, before something is tried again: at first, and at most."""

    first: float = 1.0
    longest: float = 30.0
    look: float = 1.0
    """While an update could not be stored: between two looks for what is behind it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no news, since when (monotonic seconds), and what helps."""

    words: str
    since: float
    hint: str | None = None


class Source(Protocol):
    """Telegram, as far as news are concerned."""

    async def news(self, offset: int | None, limit: int, seconds: int) -> list[Any]:
        """Return updates from ``offset`` on, as Telegram has sent them; waits for some so long."""

    async def reconnect(self) -> None:
        """Drop the connections for news: the next question makes new ones."""

    async def forget_webhook(self) -> None:
        """Have Telegram send nothing to an address any more."""


class Poller:
    """The loop."""

    def __init__(
        self,
        channel: str,
        source: Source,
        handle: Callable[[int, Mapping[str, Any]], Awaitable[None]],
        lost: Callable[[str], None],
        seconds: int,
        waits: Waits,
        *,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            channel: its name.
            source: Telegram.
            handle: does all that is to be done with an update; raises Unavailable where it is to be done again.
            lost: called when the bot's token is valid no more.
            seconds: how long a question may wait for news.
            waits: between failures.
            heard: called when there was trouble, and news come again.
        """
        self._heard = heard
        self._channel = channel
        self._source = source
        self._handle = handle
        self._lost = lost
        self._seconds = seconds
        self._waits = waits
        self._queues = Queues(handle, waits)
        self._task: asyncio.Task[None] | None = None
        self.trouble: Trouble | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name=f"news of {self._channel}")

    async def stop(self) -> None:
        """End, and tell Telegram what is done with."""
        if self._task is None:
            return
        await ended(self._task)
        self._task = None
        await self._queues.stop()
        offset = self._queues.offset
        if offset is not None and offset != self._queues.told:
            with suppress(TelegramError, TimeoutError):
                async with asyncio.timeout(_LAST_WORD_SECONDS):
                    await self._source.news(offset, 1, 0)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._round()
            except InvalidToken:
                self._say("Telegram refuses the bot's token", None)
                self._lost("Telegram refuses the bot's token: it was revoked")
                return
            except Exception as error:
                wait = min(self._waits.first * 2 ** min(failures, 20), self._waits.longest)
                failures += 1
                # The service tells nobody when it is back; the wait grows and is bounded, or is what it has said.
                await asyncio.sleep(max(wait, await self._look_at(error)))
            else:
                failures = 0
                self._say(None, None)

    async def _round(self) -> None:
        """Ask once, and begin with what has come."""
        is_waiting = self._queues.is_waiting
        seconds = 0 if is_waiting else self._seconds
        offset = self._queues.offset
        async with asyncio.timeout(seconds + _GRACE_SECONDS):
            found = await self._source.news(offset, _BATCH, seconds)
        self._queues.confirmed(offset or 0)
        begun = [self._begin(update) for update in found]
        if found and not any(begun) and not self._queues.is_waiting:
            await asyncio.sleep(self._waits.look)  # nothing of it can be acknowledged: it will come again at once
        await self._queues.rest(self._waits.look)

    def _begin(self, update: Any) -> bool:
        try:
            return self._queues.begin(update)
        except ValueError as error:
            log.warning("channel %s: %s is skipped", self._channel, error, extra=about(channel=self._channel))
            return False

    async def _look_at(self, error: Exception) -> float:
        """Say what is wrong, mend what can be mended; return how long to wait at least."""
        match error:
            case Conflict() if "webhook" in str(error).lower():
                log.warning("channel %s: a webhook was set; it is taken away", self._channel)
                with suppress(TelegramError):
                    await self._source.forget_webhook()
                return 0.0
            case Conflict():
                self._say(
                    "another program asks for this bot's messages, too: each gets some of them",
                    "stop the other program, or have @BotFather revoke the token and store the new one",
                )
                return 5 * self._waits.first
            case RetryAfter():
                self._say("Telegram asks to wait", None)
                return seconds_of(error)
            case TimeoutError():
                # The library's own bound has not worked either.
                self._say("Telegram does not answer", None)
                await self._source.reconnect()
            case NetworkError():
                self._say(str(error), None)
            case _:
                self._say(f"Telegram's answer is not what it should be: {type(error).__name__}", None)
        return 0.0

    def _say(self, words: str | None, hint: str | None) -> None:
        before = self.trouble
        if words is None:
            self.trouble = None
            if before is not None:
                log.info("channel %s hears again", self._channel, extra=about(channel=self._channel))
                self._heard()
            return
        since = before.since if before is not None else time.monotonic()
        self.trouble = Trouble(words, since, hint)
        if before is None or before.words != words:
            log.warning("channel %s: %s", self._channel, words, extra=about(channel=self._channel))


class Queues:
    """The updates under way."""

    def __init__(self, handle: Callable[[int, Mapping[str, Any]], Awaitable[None]], waits: Waits) -> None:
        self._handle = handle
        self._waits = waits
        self._tails: dict[object, asyncio.Task[None]] = {}
        self._open: dict[int, asyncio.Task[None]] = {}
        self._done: set[int] = set()
        self._last: int | None = None
        self.told = 0
        """The offset that Telegram was told last."""

    @property
    def is_waiting(self) -> bool:
        """Whether some are not done with."""
        return bool(self._open)

    @property
    def offset(self) -> int | None:
        """The first that is not done with; None before there was any."""
        if self._open:
            return min(self._open)
        return None if self._last is None else self._last + 1

    def begin(self, update: Any) -> bool:
        """Take an update up, behind those of its chat; False where that was done before.

        Raises:
            ValueError: it has no number, so nothing can be said about it.
        """
        if not isinstance(update, dict) or type(update.get("update_id")) is not int:
            raise ValueError("an update without a number")
        number: int = update["update_id"]
        if number in self._open or number in self._done:
            return False
        key = chat_of(update)
        before = self._tails.get(key)
        task = asyncio.create_task(self._work(number, update, before), name=f"update {number}")
        self._open[number] = task
        self._tails[key] = task
        # Not the largest: after a week without any, Telegram begins with another number.
        self._last = number
        task.add_done_callback(lambda _task: self._end(number, key, task))
        return True

    def confirmed(self, offset: int) -> None:
        """Note that Telegram was told an offset, and so tells nothing before it any more.

        Not earlier: an answer may be under way that has an update once more which is done with by now.
        """
        self.told = offset
        self._done = {one for one in self._done if one >= offset}

    async def rest(self, seconds: float) -> None:
        """Wait until all are done with, or so long."""
        if self._open:
            await asyncio.wait(set(self._open.values()), timeout=seconds)

    async def wait(self, number: int, seconds: float) -> bool:
        """Wait so long for one, and tell whether it is done with."""
        task = self._open.get(number)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)
        return number not in self._open

    async def stop(self) -> None:
        """Give up what is under way: Telegram will tell it again."""
        tasks = set(self._open.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _work(self, number: int, update: Mapping[str, Any], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        wait = self._waits.first
        said = ""
        while True:
            try:
                await self._handle(number, update)
                return
            except Unavailable as error:
                if error.message != said:
                    log.warning("update %d can't be stored now, and is tried again: %s", number, error.message)
                said = error.message
            # What keeps it (a disk) tells nobody when it is well again; the wait grows and is bounded.
            await asyncio.sleep(wait)
            wait = min(2 * wait, self._waits.longest)

    def _end(self, number: int, key: object, task: asyncio.Task[None]) -> None:
        if self._tails.get(key) is task:
            del self._tails[key]
        if task.cancelled():
            return  # it stays open, so that it is not acknowledged
        if task.exception() is not None:
            log.error("update %d fails", number, exc_info=task.exception())
        del self._open[number]
        self._done.add(number)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: while it connects, the libraries may take that for a fault of the network."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_SECONDS)


def chat_of(update: Mapping[str, Any]) -> object:
    """Return what tells an update's chat from others, None where it has none; it may be anything."""
    for content in update.values():
        if not isinstance(content, dict):
            continue
        inner = content.get("message")
        for place in (content.get("chat"), inner.get("chat") if isinstance(inner, dict) else None):
            if isinstance(place, dict) and isinstance(place.get("id"), int):
                return place["id"]
    return None


def raw_of(update: Mapping[str, Any]) -> str:
    """Return an update as text, for a look at it."""
    return json.dumps(update, ensure_ascii=False)
