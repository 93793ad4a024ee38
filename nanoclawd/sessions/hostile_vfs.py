"""An apsw VFS that reads an attacker's database: one main file, read only, nothing else of the disk.

SQLite gets a made-up name and a descriptor that was checked before; the file's own name, its journal, a WAL or shared
memory can't be reached through it. Each rule answers something that was tried (design: databases): a forged
super-journal deletes a file, a FIFO named ``-journal`` hangs open(), a truncated ``-shm`` is a SIGBUS, a lease stalls
open() for 45 s.
"""

import errno
import fcntl
import itertools
import os
import stat
import struct
from pathlib import Path
from typing import Final

import apsw

# sqlite.org/src: os.h. The lock bytes that every SQLite on this machine agrees on.
_PENDING_BYTE: Final = 0x40000000
_RESERVED_BYTE: Final = _PENDING_BYTE + 1
_SHARED_FIRST: Final = _PENDING_BYTE + 2
_SHARED_SIZE: Final = 510
_FLOCK: Final = "hhqqi"

_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_BYTES: Final = 100
_ROLLBACK_JOURNAL: Final = b"\x01\x01"

MAX_OUTBOUND_BYTES: Final = 256 * 1024 * 1024
"""A container's database may not be larger; a sparse 10 GB file is refused by its size."""


class DamagedError(Exception):
    """The container's database breaks the contract. The text says how; the session is quarantined."""


class NotNowError(Exception):
    """The container is in the middle of a write, or left one behind. Look again later."""


class _ReadOnlyFile:
    """SQLite's view of one descriptor: reads and shared locks (open file description locks, safe beside threads)."""

    def __init__(self, descriptor: int, journal: Path) -> None:
        self._descriptor = descriptor
        self._journal = journal

    def xRead(self, amount: int, offset: int) -> bytes:
        """Read; a short answer is SQLite's short read. A header that turned to WAL is refused at every look."""
        data = os.pread(self._descriptor, amount, offset)
        if offset == 0 and len(data) >= _HEADER_BYTES:
            check_header(data)
        return data

    def xFileSize(self) -> int:
        """Return the size in bytes, bounded."""
        size = os.fstat(self._descriptor).st_size
        if size > MAX_OUTBOUND_BYTES:
            raise DamagedError(f"outbound.db has {size} bytes, the limit is {MAX_OUTBOUND_BYTES}")
        return size

    def xLock(self, level: int) -> None:
        """Take the shared lock as unix locking does it: pending byte, shared range, pending byte free again."""
        if level != apsw.SQLITE_LOCK_SHARED:
            raise apsw.ReadOnlyError("the host only reads")
        self._set(fcntl.F_RDLCK, _PENDING_BYTE, 1)
        try:
            self._set(fcntl.F_RDLCK, _SHARED_FIRST, _SHARED_SIZE)
        finally:
            self._set(fcntl.F_UNLCK, _PENDING_BYTE, 1)
        if journal_is_hot(self._journal, writer_at_work=self.xCheckReservedLock()):
            self.xUnlock(apsw.SQLITE_LOCK_NONE)
            raise apsw.BusyError("a journal lies beside the database")

    def xUnlock(self, level: int) -> None:
        """Give the shared lock back."""
        if level == apsw.SQLITE_LOCK_NONE:
            self._set(fcntl.F_UNLCK, _SHARED_FIRST, _SHARED_SIZE)

    def xCheckReservedLock(self) -> bool:
        """Tell whether a writer is preparing a transaction."""
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _RESERVED_BYTE, 1, 0)
        answer = struct.unpack(_FLOCK, fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, asked))
        return bool(answer[0] != fcntl.F_UNLCK)

    def xClose(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def xSectorSize(self) -> int:
        """Let SQLite choose."""
        return 0

    def xDeviceCharacteristics(self) -> int:
        """Promise nothing."""
        return 0

    def xFileControl(self, _operation: int, _pointer: int) -> bool:
        """Know no control."""
        return False

    def xWrite(self, _data: bytes, _offset: int) -> None:
        """Refuse: the host only reads."""
        raise apsw.ReadOnlyError("the host only reads")

    def xTruncate(self, _size: int) -> None:
        """Refuse: the host only reads."""
        raise apsw.ReadOnlyError("the host only reads")

    def xSync(self, _flags: int) -> None:
        """Nothing was written."""

    def _set(self, kind: int, start: int, length: int) -> None:
        asked = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, asked)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise apsw.BusyError("locked by the container") from error
            raise


class HostileVfs(apsw.VFS):
    """Opens only what was handed to :meth:`admit`."""

    _numbers: Final = itertools.count()

    def __init__(self) -> None:
        self._admitted: dict[str, _ReadOnlyFile] = {}
        self._tickets = itertools.count()
        # SQLite knows it by its name: a second one of the same name would take the first one's place.
        self.name = f"nanoclaw-outbound-{next(self._numbers)}"
        super().__init__(self.name, base="")

    def admit(self, path: Path) -> str:
        """Check a file and return the name under which SQLite may open it, once.

        Raises:
            DamagedError: not a regular file, too large, or not a rollback-journal database.
            NotNowError: somebody holds a lease on it.
        """
        descriptor = _open_checked(path)
        ticket = f"outbound-{next(self._tickets)}"
        self._admitted[ticket] = _ReadOnlyFile(descriptor, path.with_name(path.name + "-journal"))
        return ticket

    def forget(self, ticket: str) -> None:
        """Close what was admitted and never opened."""
        left = self._admitted.pop(ticket, None)
        if left is not None:
            left.xClose()

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _ReadOnlyFile:  # type: ignore[override]
        """Hand out an admitted main database; refuse journals, temporary files and everything else."""
        ticket = name.filename() if isinstance(name, apsw.URIFilename) else name
        admitted = self._admitted.pop(ticket, None) if ticket and flags[0] & apsw.SQLITE_OPEN_MAIN_DB else None
        if admitted is None:
            raise apsw.CantOpenError("only an admitted main database is opened")
        flags[1] = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB
        return admitted

    def xFullPathname(self, name: str) -> str:
        """Leave names alone: they are tickets."""
        return name

    def xAccess(self, _path: str, _flags: int) -> bool:
        """See nothing: a journal beside the file was judged when the shared lock was taken."""
        return False

    def xDelete(self, _path: str, _sync: bool) -> None:
        """Refuse: a forged super-journal names files to delete."""
        raise apsw.IOError("the host deletes nothing")


def check_header(header: bytes) -> None:
    """Check the first bytes of a database: SQLite's magic, and a rollback journal for reading and writing.

    Raises:
        DamagedError: one of the two is not so.
    """
    if not header.startswith(_MAGIC):
        raise DamagedError("outbound.db is not a SQLite database any more")
    if header[18:20] != _ROLLBACK_JOURNAL:
        raise DamagedError("outbound.db was switched to another journal mode")


def journal_is_hot(journal: Path, *, writer_at_work: bool) -> bool:
    """Tell whether a rollback is due: a journal with content that no writer holds.

    Raises:
        DamagedError: the journal's name belongs to something that is not a regular file.
    """
    try:
        found = os.lstat(journal)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        raise DamagedError("outbound.db-journal is not a regular file")
    return found.st_size > 0 and not writer_at_work


def _open_checked(path: Path) -> int:
    try:
        pinned = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise DamagedError(f"outbound.db can't be found: {error.strerror}") from error
    try:
        found = os.fstat(pinned)
        if not stat.S_ISREG(found.st_mode):
            raise DamagedError("outbound.db is not a regular file")
        if found.st_size > MAX_OUTBOUND_BYTES:
            raise DamagedError(f"outbound.db has {found.st_size} bytes, the limit is {MAX_OUTBOUND_BYTES}")
        descriptor = os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except BlockingIOError as error:
        raise NotNowError("somebody holds a lease on outbound.db") from error
    finally:
        os.close(pinned)
    try:
        check_header(os.pread(descriptor, _HEADER_BYTES, 0))
    except DamagedError:
        os.close(descriptor)
        raise
    return descriptor
