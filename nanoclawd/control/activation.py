"""The listening socket, from systemd's hands."""

import os
import socket

from nanoclawd.errors import Unavailable


def socket_from_systemd(name: str, unit: str) -> socket.socket:
    """Return the listening socket that systemd passed to this process.

    Args:
        name: ``FileDescriptorName=`` of the socket unit; a single unnamed socket will do too.
        unit: the socket unit, which an error names.

    Raises:
        Unavailable: there is none.
    """
    from systemd import daemon  # here, so that tests of the server need no systemd library

    passed: dict[int, str] = daemon.listen_fds_with_names(unset_environment=True)
    for variable in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        os.environ.pop(variable, None)  # the library cleans the process's environment, not Python's copy for children
    fitting = [fd for fd in passed if daemon.is_socket(fd, socket.AF_UNIX, socket.SOCK_STREAM, 1)]
    named = [fd for fd in fitting if passed[fd] == name]
    for fd in named or fitting:
        return socket.socket(fileno=fd)
    raise Unavailable(
        f"no listening socket was passed: this program is started by {unit}", hint=f"systemctl start {unit}"
    )
