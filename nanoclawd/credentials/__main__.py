"""``python3 -m nanoclawd.credentials``: the service behind nanoclaw-credentials.socket. Ends when nobody needs it."""

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import signal
import socket
import sys

from systemd import daemon

from nanoclawd.control.activation import sockets_from_systemd
from nanoclawd.control.bounds import KIB, Bounds
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.varlink_server import VarlinkServer
from nanoclawd.credentials.consumers import Consumers
from nanoclawd.credentials.names import GATEWAY
from nanoclawd.credentials.service import ADMIN_GROUP, Gate, methods
from nanoclawd.credentials.store import MAX_SECRET_BYTES, CredentialStore
from nanoclawd.errors import NanoclawError
from nanoclawd.journal import configure, install_crash_policy
from nanoclawd.undumpable import be_undumpable

PRODUCT = "nanoclaw-credentials"
IDLE_SECONDS = 10.0

_USERS = ("nanoclaw", GATEWAY)
_BOUNDS = Bounds(
    # A character of a secret may come as six.
    frame_bytes=6 * MAX_SECRET_BYTES + 4 * KIB,
    idle_seconds=30.0,
    connections=32,
    connections_per_user=8,
    # A restart of the daemon that is under way is waited for.
    stop_seconds=60.0,
)

log = logging.getLogger(__name__)


async def serve(listener: socket.socket) -> None:
    """Serve until SIGTERM, or until nobody has come for a while. Who comes later is the next one's."""
    loop = asyncio.get_running_loop()
    install_crash_policy(loop)
    server = VarlinkServer(
        methods(_gate(), CredentialStore(), Consumers()), Introspection(PRODUCT, ["Credentials"]), _BOUNDS
    )
    done = asyncio.ensure_future(server.quiet(IDLE_SECONDS))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.cancel)
    await server.start(listener)
    daemon.notify("READY=1")
    with contextlib.suppress(asyncio.CancelledError):
        await done
    daemon.notify("STOPPING=1")
    await server.stop()


def _gate() -> Gate:
    users: list[int] = []
    for name in _USERS:
        with contextlib.suppress(KeyError):
            users.append(pwd.getpwnam(name).pw_uid)
    try:
        admins = grp.getgrnam(ADMIN_GROUP).gr_gid
    except KeyError:
        admins = None
    return Gate(admins, users)


def main() -> int:
    """Run the service; returns the exit status."""
    # Secrets pass through this process: no dump of it, no trace of it.
    be_undumpable()
    os.umask(0o077)
    configure(PRODUCT)
    install_crash_policy()
    try:
        listener = sockets_from_systemd("credentials", "nanoclaw-credentials.socket").main
    except NanoclawError as error:
        log.critical("%s; try: %s", error.message, error.hint)
        return 1
    asyncio.run(serve(listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
