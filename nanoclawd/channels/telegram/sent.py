"""What of a message of several parts has gone out: a later attempt goes on behind it, also after a restart (W-39).

What is known of a message stays when all of it is sent: a daemon that dies before it could record that delivers it once
more, and then nothing is said twice.
"""

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Final

import msgspec

from nanoclawd.atomic_file import write_atomically

_MAX_ROWS: Final = 1000
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
    """A small file for each of the newest messages of several parts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._notes = 0

    async def open(self) -> None:
        """Make the directory, and drop what is too old to be asked for."""
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
        self._notes += 1
        if self._notes % _MAX_ROWS == 0:
            await self.open()

    def _file(self, row_id: str) -> Path:
        return self._directory / hashlib.sha256(row_id.encode(errors="replace")).hexdigest()[:32]

    def _tidy(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = sorted(self._directory.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)
        oldest = time.time() - _MAX_AGE_SECONDS
        for number, file in enumerate(files):
            if number >= _MAX_ROWS or file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)
