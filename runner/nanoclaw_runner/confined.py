"""Opening files that the agent names: beneath known directories, over no link, and nothing that is no plain file.

``openat2(2)`` decides in the kernel, in one step: nothing that is swapped meanwhile can lead elsewhere.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.files import MAX_BYTES

_SYS_OPENAT2: Final = 437
"""The same on every architecture."""

_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_RESOLVE: Final = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRIES: Final = 8
"""While directories are moved about the kernel asks to be asked again."""

_BLOCK_BYTES: Final = 1024 * 1024
_MIB: Final = 1024 * 1024
_WORDS: Final = {
    errno.ENOENT: "file not found",
    errno.ENOTDIR: "file not found",
    errno.ELOOP: "is a link or reached over one; send the file itself",
    errno.EXDEV: "leads out of the directories that files can be sent from",
    errno.ENXIO: "is no regular file",
    errno.EACCES: "may not be read",
    errno.EPERM: "may not be read",
    errno.ENAMETOOLONG: "file not found",
}


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc: Final = ctypes.CDLL(None, use_errno=True)


class FileRefusedError(Exception):
    """A file cannot be had; the message is for the agent."""


def find(path: str, default: Path, roots: Iterable[Path]) -> tuple[Path, str]:
    """Return the directory beneath which a path is meant, and the rest of the path.

    Args:
        path: as the agent writes it.
        default: where a relative path begins.
        roots: directories beneath which an absolute one may be.

    Raises:
        FileRefusedError: it is beneath none of them.
    """
    if not path or "\0" in path:
        raise FileRefusedError("file not found")
    if not path.startswith("/"):
        return default, path
    known = (default, *roots)
    for root in known:
        rest = path.removeprefix(f"{root}/")
        if rest != path:
            return root, rest.lstrip("/")
    raise FileRefusedError(f"{path}: files can be sent from {', '.join(str(root) for root in known)} only")


def open_beneath(root: Path, rest: str) -> tuple[int, int]:
    """Open a regular file beneath a directory; returns its descriptor and its size in bytes.

    Raises:
        FileRefusedError: there is none, it is no regular file, or is over the bound.
    """
    shown = f"{root}/{rest}"
    try:
        directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise FileRefusedError(f"{shown}: {_WORDS.get(error.errno or 0, error.strerror)}") from None
    try:
        descriptor = _openat2(directory, rest)
    except OSError as error:
        raise FileRefusedError(f"{shown}: {_WORDS.get(error.errno or 0, error.strerror)}") from None
    finally:
        os.close(directory)
    found = os.fstat(descriptor)
    problem = ""
    if not stat.S_ISREG(found.st_mode):
        problem = "is no regular file"
    elif found.st_size > MAX_BYTES:
        problem = f"has {found.st_size / _MIB:.1f} MiB; {MAX_BYTES // _MIB} MiB can be sent"
    if problem:
        os.close(descriptor)
        raise FileRefusedError(f"{shown}: {problem}")
    return descriptor, found.st_size


def copy(source: int, directory: Path, name: str, stopped: Callable[[], bool]) -> str:
    """Copy an open file into a flat directory, as a new file; returns the name that it has there.

    The name gets a number where there is such a file already: that one belongs to a message that is still to go. The
    copy has no name before it is whole, so nothing is left of one that was not finished, whatever ended it.

    Args:
        source: descriptor of the file.
        directory: where the copy goes.
        name: the wanted name.
        stopped: tells whether nobody wants it any more.

    Raises:
        FileRefusedError: it has grown over the bound, cannot be read, or there is no room.
    """
    try:
        with os.fdopen(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o660), "wb") as file:
            copied = 0
            while block := os.read(source, _BLOCK_BYTES):
                copied += len(block)
                if copied > MAX_BYTES:
                    raise FileRefusedError(f"{name}: it has grown to more than {MAX_BYTES // _MIB} MiB meanwhile")
                if stopped():
                    raise FileRefusedError(f"{name}: nobody waits for it any more")
                file.write(block)
            file.flush()
            return _named(file.fileno(), directory, name)
    except OSError as error:
        raise FileRefusedError(f"{name}: it could not be copied: {error.strerror}") from None


def _named(file: int, directory: Path, name: str) -> str:
    """Give a file without a name a free one."""
    stem, dot, suffix = name.partition(".") if not name.startswith(".") else (name, "", "")
    number = 1
    while True:
        tried = name if number == 1 else f"{stem}-{number}{dot}{suffix}"
        number += 1
        try:
            # linkat(2): the descriptor's own name beneath /proc is the way that needs no capability. Only with a
            # directory's descriptor, which an absolute path does not use, does Python call it and not link(2).
            os.link(f"/proc/self/fd/{file}", directory / tried, src_dir_fd=file, follow_symlinks=True)
        except FileExistsError:
            continue
        return tried


def _openat2(directory: int, path: str) -> int:
    how = _OpenHow(flags=_FLAGS, mode=0, resolve=_RESOLVE)
    for _ in range(_TRIES):
        descriptor = _libc.syscall(
            ctypes.c_long(_SYS_OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if descriptor >= 0:
            return int(descriptor)
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number))
