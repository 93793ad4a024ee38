"""Fetches the files of a message from its platform: once, bounded in bytes and time, before any agent gets it.

The platform is not trusted with a size, a name or a type. What can't be had is told to the agent in the message's row;
the message itself is never lost for the sake of a file.
"""

import asyncio
import io
import logging
import mimetypes
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import filetype

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclawd.channels.adapter import ChannelAdapter
from nanoclawd.channels.bounded import bounded
from nanoclawd.channels.words import in_words, one_line
from nanoclawd.errors import NanoclawError, TooLarge, Unavailable
from nanoclawd.journal import about
from nanoclawd.routing.event import InboundEvent, InboundFile
from nanoclawd.sessions.received import MODE, Received, safe_name

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 120.0
"""Of one file. Meanwhile the chat's later messages wait, so that they keep their order."""

ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 1.0
"""Before the second attempt; twice as long before the third."""

_HEAD_BYTES: Final = 8192
_MIB: Final = 1024**2
_UNKNOWN: Final = "application/octet-stream"
_SUFFIXES: Final = {"image/jpeg": ".jpg", "audio/ogg": ".ogg", "audio/mpeg": ".mp3", "audio/mp4": ".m4a"}
"""What people know these by, where the table of types has several suffixes or none."""


class _UnwritableError(Exception):
    """Our own disk, not the platform, is the trouble."""


class IncomingFiles:
    """Implements :data:`nanoclawd.routing.ports.Fetch`."""

    def __init__(self, staging: Path, adapter: Callable[[str], ChannelAdapter | None]) -> None:
        """Prepare.

        Args:
            staging: a directory of its own, on the file system of the sessions.
            adapter: returns the channel of a name while it is up.
        """
        self._staging = staging
        self._adapter = adapter

    def clear(self) -> None:
        """Make the directory, and empty it of what a daemon before this one has left. Blocking."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(mode=0o700)

    @asynccontextmanager
    async def fetch(self, event: InboundEvent) -> AsyncGenerator[tuple[Received, ...]]:
        """Have a message's files at hand, in their order; afterwards they are gone from here."""
        channel = event.address.channel_type
        try:
            directory = Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._staging))
        except OSError as error:
            raise Unavailable(f"the message's files can't be stored: {error}", hint="df -h; ncl doctor") from error
        try:
            received: list[Received] = []
            room = MAX_BYTES
            for number, file in enumerate(event.files, start=1):
                one = await self._one(channel, file, directory / str(number), room)
                room -= (one.size or 0) if one.staged is not None else 0
                suffix = _SUFFIXES.get(one.media_type) or mimetypes.guess_extension(one.media_type) or ""
                name = safe_name(file.name, number, suffix, (other.name for other in received))
                received.append(Received(name, one.media_type, one.size, one.staged, one.problem))
            yield tuple(received)
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _one(self, channel: str, file: InboundFile, target: Path, room: int) -> Received:
        claimed = file.media_type or _UNKNOWN
        if file.size is not None and file.size > room:
            return Received("", claimed, file.size, None, _too_large(file.size))
        attempt = 1
        while True:
            adapter = self._adapter(channel)
            try:
                if adapter is None:
                    raise Unavailable(f"channel {channel} is not up")
                fetching = _fetch(adapter, file.reference, target, room)
                size, media_type = await bounded(fetching, FETCH_SECONDS, f"a file of channel {channel}")
                return Received("", media_type or claimed, size, target)
            except _UnwritableError as error:
                raise Unavailable(f"the message's files can't be stored: {error}", hint="df -h; ncl doctor") from error
            except Exception as error:
                problem = error.message if isinstance(error, NanoclawError) else in_words(error)
                log.warning("a file could not be fetched: %s", one_line(problem), extra=about(channel=channel))
                final = isinstance(error, NanoclawError) and not isinstance(error, Unavailable)
                if final or attempt == ATTEMPTS:
                    return Received("", claimed, file.size, None, one_line(problem))
            # A platform has no event for when it can again; bounded by the attempts.
            await asyncio.sleep(PAUSE_SECONDS * attempt)
            attempt += 1


async def _fetch(adapter: ChannelAdapter, reference: str, target: Path, room: int) -> tuple[int, str]:
    """Write a file's content down; returns its size in bytes and its type, empty where its first bytes tell none.

    Raises:
        TooLarge: it has more bytes than there is room for.
        _UnwritableError: it can't be written.
    """
    size, head = 0, b""
    with await _written(target.open, "wb", buffering=0) as file:
        await _written(os.fchmod, file.fileno(), MODE)
        async with aclosing(_pieces(adapter, reference)) as pieces:
            async for piece in pieces:
                size += len(piece)
                if size > room:
                    raise TooLarge(_too_large(size))
                head = head if len(head) >= _HEAD_BYTES else head + piece[:_HEAD_BYTES]
                await _written(_write_all, file, piece)
        await _written(os.fsync, file.fileno())
    return size, filetype.guess_mime(head) or ("text/plain" if _is_text(head) else "")


async def _pieces(adapter: ChannelAdapter, reference: str) -> AsyncGenerator[bytes]:
    async for piece in adapter.fetch(reference):
        yield piece


async def _written[**P, T](call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    try:
        return await asyncio.to_thread(call, *arguments, **options)
    except OSError as error:
        raise _UnwritableError(str(error)) from error


def _write_all(file: io.RawIOBase, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) or 0 :]


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        # A character that the bound has cut is one all the same.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and "\0" not in text


def _too_large(size: int) -> str:
    return f"it has {size / _MIB:.1f} MiB or more; the files of a message may have {MAX_BYTES // _MIB} MiB together"
