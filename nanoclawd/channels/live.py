"""Shows an answer while it is written, on platforms that can change a message: one message that grows, at their pace.

The first words are a message of their own; the adapter changes that one into the final answer, so that nothing is said
twice. Which messages are under way is kept in a file: a daemon that dies in the middle of an answer finds its message
again, and what is shown of it does not stay behind as half a sentence.

Where the answer to the request that begins a message gets lost, the platform may have the message. It is found by its
name, which is given before and begun again under; a platform without such names keeps that half of a sentence.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec

from nanoclaw_runner.contract.rows import Address
from nanoclawd.atomic_file import write_atomically
from nanoclawd.channels.words import in_words
from nanoclawd.errors import NotFound, Refused, TooLarge, Unavailable
from nanoclawd.sessions.ports import PartialText

log = logging.getLogger(__name__)

MAX_LIVE: Final = 64
"""Answers shown at the same time; more are shown when they are done."""

MAX_UNWANTED: Final = 200
"""Messages that are to be taken away; of more the oldest stay."""

_PATIENCE_SECONDS: Final = 15.0
"""So long a call under way may take once the whole answer is there."""

_MORE_COMES: Final = " …"


class Editor(Protocol):
    """The platform's side. What it raises ends the showing of that answer, and nothing else."""

    async def begin(self, address: Address, text: str, name: str) -> str | None:
        """Send the beginning of an answer; return the platform's id of the message, None where it can't be shown.

        Where the platform knows messages by a name that the sender gives them, what is begun again under the same name
        is the same message, whatever its text.
        """

    async def change(self, address: Address, message_id: str, text: str) -> None:
        """Replace the text of that message by what there is by now."""

    async def remove(self, address: Address, message_id: str) -> None:
        """Take that message away; one that is gone already is gone.

        Raises:
            Unavailable: not now; it is tried again.
        """


@dataclass(frozen=True, slots=True)
class LivePace:
    """How often something may be shown.

    Attributes:
        first: so long an answer must have been in the making before anything is shown, in seconds.
        every: between two changes of one message, in seconds.
        least: characters; shorter beginnings are not worth a notification.
        longest: characters that are shown; of a longer answer the rest comes when it is done.
    """

    first: float = 1.0
    every: float = 2.0
    least: int = 40
    longest: int = 3500


@dataclass(frozen=True, slots=True)
class TidyPace:
    """How long what was left behind is waited for, in seconds.

    Attributes:
        first, longest: between two attempts to take a message away.
        unclaimed: after a start, until a message of before it is taken for one whose answer does not come any more.
    """

    first: float = 1.0
    longest: float = 30.0
    unclaimed: float = 3600.0


class _Kept(msgspec.Struct, frozen=True):
    """A message that shows the beginning of an answer.

    Attributes:
        message: the platform's id of it; empty where the platform may have it, and has not said so.
        name: by which the platform knows what is begun again.
        unwanted: its answer does not come: it is to be taken away.
    """

    channel: str
    chat: str
    thread: str | None
    in_reply_to: str
    message: str = ""
    name: str = ""
    unwanted: bool = False

    @property
    def address(self) -> Address:
        return Address(self.channel, self.chat, self.thread)


@dataclass(slots=True)
class _Live:
    """One answer. ``name`` is empty until the platform is asked for its message, ``message_id`` None until it tells."""

    address: Address
    in_reply_to: str
    text: str = ""
    shown: str = ""
    message_id: str | None = None
    name: str = ""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class LiveAnswers:
    """The answers that a channel shows in the making."""

    def __init__(
        self,
        editor: Editor,
        pace: LivePace | Callable[[Address], LivePace],
        state_file: Path,
        *,
        named: bool = True,
        tidy: TidyPace | None = None,
    ) -> None:
        """Prepare.

        Args:
            editor: the platform.
            pace: for all chats, or a function of the chat.
            state_file: where the messages under way are remembered; nobody else's.
            named: the platform knows a message that is begun again by its name.
            tidy: how long what was left behind is waited for.
        """
        self._editor = editor
        self._pace = pace if callable(pace) else lambda _address: pace
        self._file = state_file
        self._named = named
        self._tidy = tidy or TidyPace()
        self._live: dict[tuple[Address, str], _Live] = {}
        self._left: dict[tuple[Address, str], _Kept] = {}
        self._unwanted: list[_Kept] = []
        self._tidying: asyncio.Task[None] | None = None
        self._forgetting: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Remember what an earlier daemon has left. In ``setup()``, before anything is shown."""
        try:
            kept = msgspec.json.decode(await asyncio.to_thread(self._file.read_bytes), type=list[_Kept])
        except (FileNotFoundError, msgspec.DecodeError):
            return
        self._left = {(one.address, one.in_reply_to): one for one in kept if not one.unwanted}
        self._unwanted = [one for one in kept if one.unwanted]

    def resume(self) -> None:
        """Take away what an earlier daemon could not, and later what nobody claims. Once the platform can be asked."""
        if self._unwanted:
            self._tidy_soon()
        if self._left:
            self._forgetting = asyncio.create_task(self._forget(list(self._left)), name="answers that nobody claims")

    def show(self, address: Address, progress: PartialText) -> None:
        """Show what there is of an answer by now. Never waits."""
        key = (address, progress.in_reply_to)
        live = self._live.get(key)
        if live is None:
            if len(self._live) >= MAX_LIVE or key in self._left:
                return
            live = self._live[key] = _Live(address, progress.in_reply_to)
            live.task = asyncio.create_task(self._run(live), name=f"live answer on {address.channel_type}")
        live.text = progress.text
        live.news.set()

    async def finish(self, address: Address, in_reply_to: str | None) -> str | None:
        """End the showing of an answer; return the message that shows its beginning, None where none does.

        The adapter changes that message into the whole answer and says so by :meth:`settled`. Until then it is returned
        again.

        Raises:
            Unavailable: the platform may show it, and can't be asked now.
        """
        if in_reply_to is None:
            return None
        key = (address, in_reply_to)
        await self._end_of(key)
        left = self._left.get(key)
        if left is None:
            return None
        if not left.message:
            left = await self._found(left)
            if left is None:
                await self.settled(address, in_reply_to)
                return None
            self._left[key] = left
            await self._write()
        return left.message

    async def settled(self, address: Address, in_reply_to: str | None) -> None:
        """Forget an answer's message: the platform has said that it shows the whole, or is gone."""
        if in_reply_to is not None and self._left.pop((address, in_reply_to), None) is not None:
            await self._write()

    async def withdraw(self, address: Address, in_reply_to: str) -> None:
        """End the showing of an answer that does not come, and take away what is shown of it.

        While the platform can't be asked it is tried again, also by the next daemon.
        """
        key = (address, in_reply_to)
        await self._end_of(key)
        left = self._left.pop(key, None)
        if left is None:
            return
        left = msgspec.structs.replace(left, unwanted=True)  # never claimed again: it may be gone at any time
        self._unwanted = [*self._unwanted[1 - MAX_UNWANTED :], left]
        await self._write()
        if not await self._taken_away(left):
            self._tidy_soon()

    async def close(self) -> None:
        """End all showing. In ``teardown()``; what was begun is remembered."""
        tasks = {task for task in (self._tidying, self._forgetting) if task is not None}
        self._tidying = self._forgetting = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.gather(*(self._end(live) for live in self._live.values()))
        self._live.clear()

    async def _end_of(self, key: tuple[Address, str]) -> None:
        live = self._live.get(key)
        if live is not None:
            await self._end(live)
            self._live.pop(key, None)

    async def _end(self, live: _Live) -> None:
        """Wait for the call under way: a message that the platform has got must not be forgotten."""
        live.over.set()
        if live.task is not None:
            await asyncio.wait({live.task}, timeout=_PATIENCE_SECONDS)
            live.task.cancel()
        kept = self._kept(live)
        if kept is not None:
            self._left[live.address, live.in_reply_to] = kept
            while len(self._left) > MAX_LIVE:
                del self._left[next(iter(self._left))]

    def _kept(self, live: _Live) -> _Kept | None:
        """Return what is to be remembered of an answer; None where no message can be there, or none can be found."""
        if live.message_id is None and not (live.name and self._named):
            return None
        where = live.address
        place = (where.channel_type, where.platform_id, where.thread_id)
        return _Kept(*place, live.in_reply_to, live.message_id or "", live.name)

    async def _found(self, left: _Kept) -> _Kept | None:
        """Learn the id of a message that the platform may have: begun again under its name it is the same.

        Raises:
            Unavailable: it can't be asked now.
        """
        try:
            message = await self._editor.begin(left.address, _MORE_COMES.strip(), left.name)
        except (NotFound, Refused, TooLarge) as error:
            log.info("the beginning of an answer was not taken: %s", error.message)
            return None
        return None if message is None else msgspec.structs.replace(left, message=message)

    async def _taken_away(self, left: _Kept) -> bool:
        """Take a message away; False where that has to be tried again."""
        try:
            found = left if left.message else await self._found(left)
            if found is not None:
                await self._editor.remove(found.address, found.message)
        except (Unavailable, TimeoutError, OSError) as error:
            log.info("the beginning of an answer that does not come stays for now: %s", in_words(error))
            return False
        except Exception as error:
            log.warning("the beginning of an answer that does not come stays: %s", in_words(error))
        self._unwanted = [one for one in self._unwanted if one is not left]
        await self._write()
        return True

    def _tidy_soon(self) -> None:
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.create_task(self._tidy_up(), name="answers that do not come")

    async def _tidy_up(self) -> None:
        """Take away what is unwanted, until all of it is gone."""
        pause = self._tidy.first
        while self._unwanted:
            left = self._unwanted[0]
            if await self._taken_away(left):
                pause = self._tidy.first
                continue
            # Behind the others: this one may be in a chat of its own that can't be reached.
            self._unwanted = [*(one for one in self._unwanted if one is not left), left]
            # The platform tells nobody when it is back; the pause grows and is bounded.
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._tidy.longest)

    async def _forget(self, unclaimed: list[tuple[Address, str]]) -> None:
        """Take away what an earlier daemon has left, and nobody has asked for in a while."""
        await asyncio.sleep(self._tidy.unclaimed)
        for address, in_reply_to in unclaimed:
            await self.withdraw(address, in_reply_to)

    async def _run(self, live: _Live) -> None:
        pace = self._pace(live.address)
        await _within(pace.first, live.over)
        try:
            while not live.over.is_set():
                live.news.clear()
                await self._show(live, pace)
                await _within(pace.every, live.over)
                await _first(live.over, live.news)
        except Exception as error:
            log.info("an answer in the making is shown no more: %s", type(error).__name__)

    async def _show(self, live: _Live, pace: LivePace) -> None:
        text = live.text[: pace.longest].rstrip()
        if len(text) < pace.least or text == live.shown:
            return
        if live.message_id is not None:
            await self._editor.change(live.address, live.message_id, text + _MORE_COMES)
        else:
            live.name = secrets.token_hex(10)
            if self._named:
                await self._write()  # before: what the platform has taken is found again, whatever happens meanwhile
            live.message_id = await self._editor.begin(live.address, text + _MORE_COMES, live.name)
            if live.message_id is None:
                live.name = ""
                live.over.set()
                return
            await self._write()
        live.shown = text

    async def _write(self) -> None:
        async with self._writing:
            known = dict(self._left)
            known |= {key: kept for key, live in self._live.items() if (kept := self._kept(live)) is not None}
            text = msgspec.json.encode([*self._unwanted, *list(known.values())[-MAX_LIVE:]]).decode()
            await asyncio.to_thread(write_atomically, self._file, text, mode=0o600)


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Return when an event is set, or after a time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _first(*events: asyncio.Event) -> None:
    """Return when one of these is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
