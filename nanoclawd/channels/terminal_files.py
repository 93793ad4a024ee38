"""Files of terminals: on their way to an agent, and from one until somebody has saved them.

Only bytes go over the control socket: the daemon opens no path that a caller names, and gives none out. A directory for
each unix user, whose name no other caller can make; what is in there is bounded, and goes after a while.
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.files import MAX_BYTES
from nanoclawd.errors import NotFound, Refused, TooLarge, Unavailable
from nanoclawd.sessions.ports import Attachment

PART_BYTES: Final = 512 * 1024
"""Of a file in one call of the control interface."""

KEPT_SECONDS: Final = 7 * 86_400.0
MAX_KEPT_BYTES: Final = 4 * MAX_BYTES
"""Of one user's files each way; the oldest make room for new ones."""

_UP: Final = "up"
_DOWN: Final = "down"
_MODE: Final = 0o600
_ID_DIGITS: Final = 12
_MIB: Final = 1024**2


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that an agent has sent."""

    id: str
    name: str
    size: int


class TerminalFiles:
    """Keeps the files of all terminals. All methods but :meth:`fetch` block, and may be called from several threads."""

    def __init__(self, root: Path) -> None:
        """Prepare; ``root`` is a directory of its own, made when it is needed."""
        self._root = root

    def upload(self, user: str, upload: str, offset: int, part: bytes) -> int:
        """Write a part of a file down; returns how many bytes it has now. Safe to repeat.

        It stays after its message was sent: a client that has missed the acknowledgement sends the message again.

        Raises:
            Refused: what is before it has not come.
            TooLarge: the file would have more bytes than any message may have.
            Unavailable: the disk is full.
        """
        try:
            path = self._directory(user, _UP) / _hashed(upload)
            size = path.stat().st_size if path.exists() else 0
            if offset > size:
                raise Refused(f"the part begins at {offset}, and {size} bytes are here")
            end = offset + len(part)
            if end > MAX_BYTES:
                raise TooLarge(f"a file may have {MAX_BYTES // _MIB} MiB")
            self._make_room(path.parent, len(part))
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
            try:
                view = memoryview(part)
                while view:
                    view = view[os.pwrite(descriptor, view, end - len(view)) :]
            finally:
                os.close(descriptor)
            return max(size, end)
        except OSError as error:
            raise _unwritable(error) from error

    def reference(self, user: str, upload: str) -> tuple[str, int]:
        """Return what :meth:`fetch` knows an upload by, and its size in bytes.

        Raises:
            NotFound: nothing of it has come.
        """
        path = self._root / _hashed(user) / _UP / _hashed(upload)
        try:
            return str(path.relative_to(self._root)), path.stat().st_size
        except FileNotFoundError:
            raise NotFound("this file has not been uploaded, or is gone: upload it again") from None

    def forget(self, user: str, upload: str) -> None:
        """Have an upload be gone, if it is there."""
        with suppress(OSError):
            (self._root / _hashed(user) / _UP / _hashed(upload)).unlink()

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give an upload's content.

        Raises:
            NotFound: it was too old.
        """
        try:
            with await asyncio.to_thread((self._root / reference).open, "rb") as file:
                while block := await asyncio.to_thread(file.read, PART_BYTES):
                    yield block
        except (OSError, ValueError):
            raise NotFound("the file was uploaded too long ago") from None

    def keep(self, user: str, message_id: str, number: int, attachment: Attachment) -> KeptFile:
        """Keep what an agent has sent; the same message has the same files.

        Raises:
            Unavailable: the disk is full.
        """
        identifier = _hashed(f"{message_id}\0{number}")[:_ID_DIGITS]
        found = KeptFile(identifier, attachment.name, attachment.size)
        try:
            directory = self._directory(user, _DOWN)
            content, told = directory / identifier, directory / f"{identifier}.json"
            if told.exists():
                return found
            self._make_room(directory, attachment.size)
            with open(os.open(content, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, _MODE), "wb") as file:  # noqa: PTH123  # with a mode
                while block := attachment.file.read(PART_BYTES):
                    file.write(block)
            told.write_text(json.dumps({"name": attachment.name}), encoding="utf-8")
            return found
        except OSError as error:
            raise _unwritable(error) from error

    def download(self, user: str, identifier: str, offset: int) -> tuple[bytes, KeptFile]:
        """Return a part of what an agent has sent to a user, empty after its end.

        Raises:
            NotFound: the user has got no such file, or it was too long ago.
        """
        directory = self._root / _hashed(user) / _DOWN
        try:
            if not (identifier.isalnum() and identifier.isascii()):
                raise FileNotFoundError(identifier)
            name = json.loads((directory / f"{identifier}.json").read_text(encoding="utf-8"))["name"]
            with (directory / identifier).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset)
                return file.read(PART_BYTES), KeptFile(identifier, str(name), size)
        except FileNotFoundError:
            days = KEPT_SECONDS / 86_400
            raise NotFound(f"no file {identifier[:40]!r} was sent to you within {days:g} days") from None

    def _directory(self, user: str, way: str) -> Path:
        path = self._root / _hashed(user) / way
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _make_room(self, directory: Path, size: int) -> None:
        kept = sorted(self._sweep(directory))
        used = sum(has for _, has, _ in kept)
        for _, has, path in kept:
            if used + size <= MAX_KEPT_BYTES:
                return
            used -= has
            path.unlink(missing_ok=True)

    @staticmethod
    def _sweep(directory: Path) -> list[tuple[float, int, Path]]:
        """Remove what is too old; return what is left: since when, how many bytes, where."""
        left = []
        for path in directory.iterdir():
            try:
                found = path.stat()
            except FileNotFoundError:
                continue  # another call has made room
            if found.st_mtime < time.time() - KEPT_SECONDS:
                path.unlink(missing_ok=True)
            else:
                left.append((found.st_mtime, found.st_size, path))
        return left


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _unwritable(error: OSError) -> Unavailable:
    return Unavailable(f"the file can't be kept: {error.strerror or error}", hint="df -h; ncl doctor")
