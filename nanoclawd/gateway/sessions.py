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
_MOST: Final = 4096


class Sessions:
    """Finds out, and remembers it by process: one of a container makes all of its connections.

    Only who asks for what is told by it, never what is allowed: that is the uid's, hence the group's.
    """

    def __init__(self, proc: str = "/proc") -> None:
        """Prepare.

        Args:
            proc: the file system of processes.
        """
        self._proc = proc
        self._known: dict[tuple[int, str], str] = {}
        self._can_know = _are_told_apart()

    def of(self, connection: socket.socket, group: str) -> str:
        """Return the session that a connection comes from, an empty text where that can't be told.

        Args:
            connection: accepted from a container.
            group: of the caller, by its uid.
        """
        try:
            process = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
        except OSError:
            return ""  # it has ended already, or the kernel is too old to say
        try:
            key = os.fstat(process).st_ino, group
            found = self._known.get(key) if self._can_know else None
            if found is not None:
                return found
            found = self._look(connection, process, group)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = found
        except OSError:
            return ""
        else:
            return found
        finally:
            os.close(process)

    def _look(self, connection: socket.socket, process: int, group: str) -> str:
        """Return what a process's control group says.

        Raises:
            OSError: it has ended.
        """
        number, _, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        file = os.open(f"{self._proc}/{number}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = _UNIT.search(os.read(file, _MAX_BYTES))
        finally:
            os.close(file)
        # While the process lives its number is no other's: so it was its own when the file was read.
        if _has_ended(process):
            raise ProcessLookupError(number)
        return found[2].decode() if found is not None and found[1].decode() == group else ""


def _are_told_apart() -> bool:
    """Tell whether a process's descriptor has a number that no other process ever has (pidfs, Linux 6.9)."""
    try:
        here, first = os.pidfd_open(os.getpid()), os.pidfd_open(1)
    except OSError:
        return False
    try:
        return os.fstat(here).st_ino != os.fstat(first).st_ino
    finally:
        os.close(here)
        os.close(first)


def _has_ended(process: int) -> bool:
    look = select.poll()
    look.register(process, select.POLLIN)
    return bool(look.poll(0))
