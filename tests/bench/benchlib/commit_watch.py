"""When sessions' databases commit, seen from outside: a commit ends with the journal's unlink, which inotify(7) tells.

The daemon does nothing for it, and needs not be believed.
"""

import ctypes
import os
import struct
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Self

_IN_DELETE = 0x200
_EVENT = struct.Struct("iIII")
_BUFFER_BYTES = 64 * 1024
_JOURNAL = b"inbound.db-journal"


class CommitWatch:
    """Watches the commits of some sessions' ``inbound.db``."""

    def __init__(self, sessions: Iterable[Path]) -> None:
        """Begin to watch; the directories are the sessions' own."""
        library = ctypes.CDLL(None, use_errno=True)
        self._file = library.inotify_init1(os.O_CLOEXEC)
        self._sessions: dict[int, Path] = {}
        self._commits: defaultdict[Path, list[float]] = defaultdict(list)
        for session in sessions:
            watch = library.inotify_add_watch(self._file, os.fsencode(session / "in"), _IN_DELETE)
            if watch < 0:
                raise OSError(ctypes.get_errno(), f"{session} can't be watched")
            self._sessions[watch] = session
        # A thread of its own, as the one that writes the messages may be busy when the commit comes.
        threading.Thread(target=self._read, daemon=True, name="commits").start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The thread and the descriptor end with this process: a read that waits can't be ended."""

    def first_after(self, session: Path, moment: float) -> float:
        """Return when a session's first commit after a moment was, both in seconds since 1970.

        Raises:
            LookupError: there was none.
        """
        commits = self._commits[session]
        index = bisect_right(commits, moment)
        if index == len(commits):
            raise LookupError(f"no commit in {session}")
        return commits[index]

    def _read(self) -> None:
        while True:
            data = os.read(self._file, _BUFFER_BYTES)
            now = time.time()
            offset = 0
            while offset < len(data):
                watch, _mask, _cookie, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size
                if data[offset : offset + length].rstrip(b"\0") == _JOURNAL:
                    self._commits[self._sessions[watch]].append(now)
                offset += length
