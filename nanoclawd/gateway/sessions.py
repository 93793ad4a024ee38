"""Which session of a group calls: the kernel says which process, its control group says whose container it is in."""

import os
import re
import socket
from pathlib import Path
from typing import Final

_SO_PEERPIDFD: Final = 77
"""asm-generic/socket.h, Linux 6.5; Python's socket module does not know it."""

_UNIT: Final = re.compile(r"/nanoclaw-(?P<group>[a-z0-9-]+)@(?P<session>[A-Za-z0-9]{1,64})\.service(?:/|$)", re.ASCII)
_MAX_BYTES: Final = 4096


def session_of(connection: socket.socket, group: str, proc: Path = Path("/proc")) -> str:
    """Return the session that a connection comes from, an empty text where that can't be told.

    Only who asks for what is told by it, never what is allowed: that is the uid's, hence the group's.

    Args:
        connection: accepted from a container.
        group: of the caller, by its uid.
        proc: the file system of processes.
    """
    try:
        process = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        return ""  # it has ended already, or the kernel is too old to say
    try:
        number = _pid(process, proc)
        found = _UNIT.search(_read(proc / str(number) / "cgroup")) if number > 0 else None
        # While the process lives its number is no other's: so it was its own when the file was read.
        if found is None or found["group"] != group or _pid(process, proc) != number:
            return ""
        return found["session"]
    except OSError:
        return ""
    finally:
        os.close(process)


def _pid(process: int, proc: Path) -> int:
    """Return a process's number by its descriptor; not positive once it has ended."""
    for line in _read(proc / "self" / "fdinfo" / str(process)).splitlines():
        name, _, value = line.partition(":")
        if name == "Pid":
            return int(value)
    return -1


def _read(path: Path) -> str:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _MAX_BYTES).decode("utf-8", "replace")
    finally:
        os.close(file)
