"""Files that an agent sends: taken from ``out/files``, where everything is the container's, hostile work.

``out/files`` is the daemon's own directory (0770; in the sticky ``out/``, so that no container can put another in its
place), flat, and open to the container's group. A name is looked up in its descriptor only, and no link is followed.
What is opened is a regular file that has no other name: a second one might be ``outbound.db``, whose locks would go
with our descriptor; its inode is refused under whatever name, as a name can go while we look. After the delivery the
daemon removes what it has sent; the directory is its own, so it may.
"""

import io
import logging
import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import cast, override

from nanoclaw_runner.contract.files import MAX_BYTES, check_name
from nanoclawd.errors import NanoclawError, NotFound, Refused, TooLarge, Unavailable
from nanoclawd.sessions.ports import Attachment

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """Files that are open for a delivery, and what tells each from another of the same name."""

    attachments: tuple[Attachment, ...]
    inodes: tuple[tuple[int, int], ...]

    def close(self) -> None:
        """Close them."""
        for attachment in self.attachments:
            attachment.file.close()


def open_all(directory: Path, names: Iterable[str]) -> Opened:
    """Open files for a delivery.

    Raises:
        NotFound: there is no such file.
        TooLarge: together they are over the bound.
        Refused: one is no regular file of its own, or can't be read.
        Unavailable: one can't be opened now.
    """
    attachments: list[Attachment] = []
    inodes: list[tuple[int, int]] = []
    room = MAX_BYTES
    with ExitStack() as on_error:
        with _Directory(directory) as files:
            database = _inode(files, "../outbound.db")
            for name in names:
                descriptor, found = _open(files, name, database)
                # Bounded by what was found: a file that grows while it is sent is not sent for ever.
                file = cast("io.BufferedReader", io.BufferedReader(_Bounded(descriptor, found.st_size)))
                on_error.callback(file.close)
                room -= found.st_size
                if room < 0:
                    raise TooLarge(f"the files of a message may have {MAX_BYTES // 1024**2} MiB together")
                attachments.append(Attachment(name, found.st_size, file))
                inodes.append((found.st_dev, found.st_ino))
        on_error.pop_all()
    return Opened(tuple(attachments), tuple(inodes))


def remove(directory: Path, opened: Opened) -> None:
    """Remove files that were sent. One that can't be removed stays; a message is never sent again for it."""
    try:
        with _Directory(directory) as files:
            for attachment, inode in zip(opened.attachments, opened.inodes, strict=True):
                _remove(files, attachment.name, inode)
    except (OSError, NanoclawError) as error:
        log.warning("%s: a file that was sent could not be removed: %s", directory, error)


class _Directory:
    """The directory's descriptor. O_PATH: nothing is opened that could wait."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise Refused(f"the directory of its files can't be used: {error.strerror}") from error

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)


class _Bounded(io.RawIOBase):
    """The first bytes of a file, and no descriptor for others to use: what is behind it may change at any moment."""

    def __init__(self, descriptor: int, size: int) -> None:
        super().__init__()
        self._owned = descriptor
        self._size = size
        self._position = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    @override
    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed: any buffer
        view = memoryview(buffer).cast("B")
        room = min(len(view), max(0, self._size - self._position))
        count = os.preadv(self._owned, [view[:room]], self._position) if room else 0
        self._position += count
        return count

    @override
    def close(self) -> None:
        if not self.closed:
            os.close(self._owned)
        super().close()


def _inode(directory: int, name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(directory: int, name: str, database: tuple[int, int] | None) -> tuple[int, os.stat_result]:
    try:
        check_name(name)
        pinned = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except ValueError as error:
        raise Refused(str(error)) from error
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {name[:80]!r}") from error
    except OSError as error:
        raise Refused(f"the file {name[:80]!r} can't be used: {error.strerror}") from error
    try:
        found = os.fstat(pinned)
        if not stat.S_ISREG(found.st_mode):
            raise Refused(f"{name[:80]!r} is no regular file")
        if found.st_nlink != 1 or (found.st_dev, found.st_ino) == database:
            raise Refused(f"the file {name[:80]!r} has other names: send a copy")
        return os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), found
    except BlockingIOError as error:
        raise Unavailable(f"somebody holds a lease on the file {name[:80]!r}") from error
    except OSError as error:
        raise Refused(f"the file {name[:80]!r} can't be read: {error.strerror}") from error
    finally:
        os.close(pinned)


def _remove(directory: int, name: str, inode: tuple[int, int]) -> None:
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    # Another file of the same name is of a message that is still to come.
    if (found.st_dev, found.st_ino) == inode:
        os.unlink(name, dir_fd=directory)
