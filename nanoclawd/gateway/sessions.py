"""Which session of a group calls: the kernel says which process, its control group says whose container it is in."""

import os
import re
import select
import socket
import struct
from typing import Final

_UCRED: Final = struct.Struct("=iII")
_SO_PEERPIDFD: Final = 77
"""asm-generic/socket.h, Linux 6.5; Python's socket module does not know it."""

_UNIT: Final = re.compile(rb"/nanoclaw-([a-z0-9-]+)@([A-Za-z0-9]{1,64})\.service(?:[/\n]|$)", re.ASCII)
_MAX_BYTES: Final = 4096


def session_of(connection: socket.socket, group: str, proc: str = "/proc") -> str:
    """Return the session that a connection comes from, an empty text where that can't be told. Some microseconds.

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
        number, _, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        file = os.open(f"{proc}/{number}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = _UNIT.search(os.read(file, _MAX_BYTES))
        finally:
            os.close(file)
        # While the process lives its number is no other's: so it was its own when the file was read.
        if found is None or found[1].decode() != group or _has_ended(process):
            return ""
        return found[2].decode()
    except OSError:
        return ""
    finally:
        os.close(process)


def _has_ended(process: int) -> bool:
    look = select.poll()
    look.register(process, select.POLLIN)
    return bool(look.poll(0))
