"""The listening sockets that systemd passes to the daemon, told apart by their units' ``FileDescriptorName=``."""

import os
import socket
from dataclasses import dataclass
from typing import Final

from nanoclawd.errors import Unavailable

HTTP: Final = "http"
"""Where other programs' requests come in; every other unix socket is for control (it may have any name)."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What was passed.

    Attributes:
        control: for operators.
        http: for other programs; empty where there is none.
    """

    control: socket.socket
    http: tuple[socket.socket, ...]


def sockets_from_systemd() -> Passed:
    """Take the listening sockets that systemd passed to this process; whatever is none of ours is left alone.

    Raises:
        Unavailable: there is none for operators.
    """
    from systemd import daemon  # here, so that tests of the server need no systemd library

    passed: dict[int, str] = daemon.listen_fds_with_names(unset_environment=True)
    for variable in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(variable, None)  # the library cleans the process's environment, not Python's copy for children
    # By number: their order is not said to be the units'.
    http = [fd for fd in sorted(passed) if passed[fd] == HTTP and daemon.is_socket(fd, 0, socket.SOCK_STREAM, 1)]
    for fd in sorted(passed):
        if passed[fd] != HTTP and daemon.is_socket(fd, socket.AF_UNIX, socket.SOCK_STREAM, 1):
            return Passed(socket.socket(fileno=fd), tuple(socket.socket(fileno=one) for one in http))
    raise Unavailable(
        "no control socket was passed: nanoclawd is started by its socket unit",
        hint="systemctl start nanoclawd.socket",
    )
