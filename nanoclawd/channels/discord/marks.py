"""Up to which message each channel was heard, on the disk: what was said since then is asked for after a restart.

The gateway keeps nothing for a bot that begins anew. A mark is written after its message was stored, and may be behind
by what a crash has cut off: what is told twice is stored once.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from nanoclawd.atomic_file import write_atomically

log = logging.getLogger(__name__)

MAX_MARKS: Final = 2000
"""Channels; those in which nothing was said for longest are known by ``floor`` only."""

WRITE_SECONDS: Final = 0.5


class _Mark(msgspec.Struct, frozen=True, array_like=True):
    last: int
    is_direct: bool = False


class _Kept(msgspec.Struct, frozen=True):
    floor: int = 0
    marks: dict[str, _Mark] = {}


class Marks:
    """The marks of one account."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._marks: dict[str, _Mark] = {}
        self._floor = 0
        self._pending: set[int] = set()
        self._is_new = False
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what was kept."""
        try:
            kept = msgspec.json.decode(await asyncio.to_thread(self._file.read_bytes), type=_Kept)
        except FileNotFoundError:
            kept = _Kept()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the marks of a Discord channel can't be read, and begin anew: %s", type(error).__name__)
            kept = _Kept()
        self._marks, self._floor, self._pending = dict(kept.marks), kept.floor, set()

    @property
    def is_first_time(self) -> bool:
        """Whether nothing is known: what was said before the bot came is not for it."""
        return self._floor == 0

    def after(self, channel_id: str) -> int:
        """Return the message after which a channel's messages may not have been heard."""
        mark = self._marks.get(channel_id)
        return mark.last if mark is not None else self._floor

    def direct(self) -> list[str]:
        """Return the direct chats: the platform does not list them."""
        return [channel for channel, mark in self._marks.items() if mark.is_direct]

    def raise_floor(self, message_id: int) -> None:
        """Count what there is up to a message as heard, where no mark says otherwise and nothing is on its way."""
        self._floor = max(self._floor, 1, min((message_id, *(one - 1 for one in self._pending))))
        self._changed()

    def expect(self, message_id: str) -> None:
        """Say that a message is on its way to be stored."""
        self._pending.add(int(message_id))

    def note(self, channel_id: str, message_id: str, *, is_direct: bool = False) -> None:
        """Say that a message, and with it all before it in its channel, is stored."""
        number = int(message_id)
        self._pending.discard(number)
        before = self._marks.pop(channel_id, _Mark(0))
        self._marks[channel_id] = _Mark(max(before.last, number), is_direct or before.is_direct)
        while len(self._marks) > MAX_MARKS:
            del self._marks[next(iter(self._marks))]
        if not self.is_first_time:
            self.raise_floor(number)
        self._changed()

    async def close(self) -> None:
        """Write down what is new."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
            self._writer = None
        if self._is_new:
            await self._write()
        self._pending.clear()

    def _changed(self) -> None:
        self._is_new = True
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_soon(), name="discord marks")

    async def _write_soon(self) -> None:
        while self._is_new:
            # What comes meanwhile goes into the same write.
            await asyncio.sleep(WRITE_SECONDS)
            try:
                await self._write()
            except OSError as error:
                # Nothing is lost: after a restart more is asked for than is new.
                log.warning("the marks of a Discord channel can't be written: %s", error)

    async def _write(self) -> None:
        self._is_new = False
        text = msgspec.json.encode(_Kept(self._floor, self._marks)).decode()
        await asyncio.to_thread(write_atomically, self._file, text, mode=0o600)
