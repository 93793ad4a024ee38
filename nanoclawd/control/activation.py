"""The listening sockets that systemd passes to a program, told apart by their units' ``FileDescriptorName=``."""

import os
import socket
from dataclasses import dataclass
from typing import Final

from nanoclawd.errors import Unavailable

HTTP: Final = "http"
"""Where other programs' requests come in."""

REQUESTS: Final = "requests"
"""Where the gateway has somebody decide about agents' requests."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What was passed.

    Attributes:
        main: the socket that the program is there for.
        http: for other programs; empty where there is none.
        requests: for the gateway, likewise.
    """

    main: socket.socket
    http: tuple[socket.socket, ...]
    requests: tuple[socket.socket, ...] = ()


def sockets_from_systemd(name: str, unit: str) -> Passed:
    """Take the listening sockets that systemd passed to this process; whatever is none of ours is left alone.

    Args:
        name: of the program's main socket, a unix one; without one of this name another that is not for http will do.
        unit: its socket unit, which an error names.

    Raises:
        Unavailable: there is no main one.
    """
    from systemd import daemon  # here, so that tests of the server need no systemd library

    passed: dict[int, str] = daemon.listen_fds_with_names(unset_environment=True)
    for variable in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(variable, None)  # the library cleans the process's environment, not Python's copy for children
    # By number: their order is not said to be the units'.
    http = [fd for fd in sorted(passed) if passed[fd] == HTTP and daemon.is_socket(fd, 0, socket.SOCK_STREAM, 1)]
    local = [fd for fd in sorted(passed) if daemon.is_socket(fd, socket.AF_UNIX, socket.SOCK_STREAM, 1)]
    requests = [fd for fd in local if passed[fd] == REQUESTS]
    fitting = [fd for fd in local if passed[fd] not in (HTTP, REQUESTS)]
    for fd in [one for one in fitting if passed[one] == name] or fitting:
        return Passed(socket.socket(fileno=fd), _sockets(http), _sockets(requests))
    raise Unavailable(
        f"no listening socket was passed: this program is started by {unit}", hint=f"sudo systemctl start {unit}"
    )


def _sockets(descriptors: list[int]) -> tuple[socket.socket, ...]:
    return tuple(socket.socket(fileno=one) for one in descriptors)
