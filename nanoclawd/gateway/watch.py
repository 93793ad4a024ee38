"""Tells when a file was put in another one's place, by inotify(7): nothing is looked at in between."""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

_MOVED_TO: Final = 0x80
_CLOSE_WRITE: Final = 0x8
_PIECE_BYTES: Final = 64 * 1024


class Watch:
    """Watches the directories of some files."""

    def __init__(self, files: Iterable[Path], changed: Callable[[], None]) -> None:
        """Begin.

        Args:
            files: whose directories are watched; one that is not there is left out.
            changed: called when something in them has changed; not necessarily one of the files.

        Raises:
            OSError: the kernel gives no more watches.
        """
        library = ctypes.CDLL(None, use_errno=True)
        self._changed = changed
        self._file = library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "inotify")
        for directory in {path.parent for path in files}:
            library.inotify_add_watch(self._file, os.fsencode(directory), _MOVED_TO | _CLOSE_WRITE)
        asyncio.get_running_loop().add_reader(self._file, self._read)

    def close(self) -> None:
        """Watch no more."""
        asyncio.get_running_loop().remove_reader(self._file)
        os.close(self._file)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._file, _PIECE_BYTES):
                pass
        self._changed()
