"""What of a message of several parts has gone out: a later attempt goes on behind it, also after a restart (W-39)."""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Final

import msgspec

from nanoclawd.atomic_file import write_atomically

_MAX_ROWS: Final = 2000
_MAX_AGE_SECONDS: Final = 7 * 24 * 3600


class Progress(msgspec.Struct):
    """How far a message has got.

    Attributes:
        parts: how many were sent.
        first: the platform's id of the first.
    """

    parts: int = 0
    first: str | None = None


class SentParts:
    """A small file for each message whose parts are not all sent yet."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def open(self) -> None:
        """Make the directory, and drop what was given up long ago."""
        await asyncio.to_thread(self._tidy)

    async def of(self, row_id: str) -> Progress:
        """Return how far a message has got."""
        try:
            return msgspec.json.decode(await asyncio.to_thread(self._file(row_id).read_bytes), type=Progress)
        except (FileNotFoundError, msgspec.DecodeError):
            return Progress()

    async def note(self, row_id: str, progress: Progress) -> None:
        """Keep how far it has got."""
        text = msgspec.json.encode(progress).decode()
        await asyncio.to_thread(write_atomically, self._file(row_id), text, mode=0o600)

    async def forget(self, row_id: str) -> None:
        """All of it was sent."""
        await asyncio.to_thread(self._file(row_id).unlink, missing_ok=True)

    def _file(self, row_id: str) -> Path:
        return self._directory / hashlib.sha256(row_id.encode(errors="replace")).hexdigest()[:32]

    def _tidy(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = sorted(self._directory.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        oldest = time.time() - _MAX_AGE_SECONDS
        for number, file in enumerate(files):
            if number >= _MAX_ROWS or file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)
