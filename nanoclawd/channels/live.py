"""Shows an answer while it is written, on platforms that can change a message: one message that grows, at their pace.

The first words are a message of their own; the adapter changes that one into the final answer, so that nothing is said
twice. Which messages are under way is kept in a file: a daemon that dies in the middle of an answer finds its message
again, and what is shown of it does not stay behind as half a sentence.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import msgspec

from nanoclaw_runner.contract.rows import Address
from nanoclawd.atomic_file import write_atomically
from nanoclawd.sessions.ports import PartialText

log = logging.getLogger(__name__)

MAX_LIVE: Final = 64
"""Answers shown at the same time; more are shown when they are done."""

_PATIENCE_SECONDS: Final = 15.0
"""So long a call under way may take once the whole answer is there."""

_MORE_COMES: Final = " …"


class Editor(Protocol):
    """The platform's side. What it raises ends the showing of that answer, and nothing else."""

    async def begin(self, address: Address, text: str, in_reply_to: str) -> str | None:
        """Send the beginning of an answer; return the platform's id of the message, None where it can't be shown."""

    async def change(self, address: Address, message_id: str, text: str) -> None:
        """Replace the text of that message by what there is by now."""


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


class _Kept(msgspec.Struct, frozen=True):
    channel: str
    chat: str
    thread: str | None
    in_reply_to: str
    message: str


@dataclass(slots=True)
class _Live:
    """One answer. ``message_id`` is None until the platform has its beginning."""

    address: Address
    in_reply_to: str
    text: str = ""
    shown: str = ""
    message_id: str | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class LiveAnswers:
    """The answers that a channel shows in the making."""

    def __init__(self, editor: Editor, pace: LivePace | Callable[[Address], LivePace], state_file: Path) -> None:
        """Prepare.

        Args:
            editor: the platform.
            pace: for all chats, or a function of the chat.
            state_file: where the messages under way are remembered; nobody else's.
        """
        self._editor = editor
        self._pace = pace if callable(pace) else lambda _address: pace
        self._file = state_file
        self._live: dict[tuple[Address, str], _Live] = {}
        self._left: dict[tuple[Address, str], str] = {}
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Remember what an earlier daemon has left. In ``setup()``."""
        try:
            kept = msgspec.json.decode(await asyncio.to_thread(self._file.read_bytes), type=list[_Kept])
        except (FileNotFoundError, msgspec.DecodeError):
            return
        self._left = {(Address(one.channel, one.chat, one.thread), one.in_reply_to): one.message for one in kept}

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

        The adapter changes that message into the whole answer, or, where a turn has ended without one, removes it; and
        says so by :meth:`settled`. Until then it is returned again.
        """
        if in_reply_to is None:
            return None
        key = (address, in_reply_to)
        live = self._live.get(key)
        if live is not None:
            await self._end(live)
            self._live.pop(key, None)
        return self._left.get(key)

    async def settled(self, address: Address, in_reply_to: str | None) -> None:
        """Forget an answer's message: the platform has said that it shows the whole, or is gone."""
        if in_reply_to is not None and self._left.pop((address, in_reply_to), None) is not None:
            await self._write()

    async def close(self) -> None:
        """End all showing. In ``teardown()``; what was begun is remembered."""
        await asyncio.gather(*(self._end(live) for live in self._live.values()))
        self._live.clear()

    async def _end(self, live: _Live) -> None:
        """Wait for the call under way: a message that the platform has got must not be forgotten."""
        live.over.set()
        if live.task is not None:
            await asyncio.wait({live.task}, timeout=_PATIENCE_SECONDS)
            live.task.cancel()
        if live.message_id is not None:
            self._left[live.address, live.in_reply_to] = live.message_id
            while len(self._left) > MAX_LIVE:
                del self._left[next(iter(self._left))]

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
            live.message_id = await self._editor.begin(live.address, text + _MORE_COMES, live.in_reply_to)
            if live.message_id is None:
                live.over.set()
                return
            await self._write()
        live.shown = text

    async def _write(self) -> None:
        async with self._writing:
            known = dict(self._left)
            known |= {key: live.message_id for key, live in self._live.items() if live.message_id is not None}
            kept = [
                _Kept(address.channel_type, address.platform_id, address.thread_id, reference, message)
                for (address, reference), message in list(known.items())[-MAX_LIVE:]
            ]
            text = msgspec.json.encode(kept).decode()
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
