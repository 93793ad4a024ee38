"""A Varlink server on a unix socket: accepts clients, knows them by SO_PEERCRED, bounds how many there are."""

import array
import asyncio
import logging
import pwd
import socket
import struct
from collections import Counter

from nanoclawd.control.bounds import Bounds
from nanoclawd.control.calls import encode_error
from nanoclawd.control.connection import Connection
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.methods import Methods
from nanoclawd.control.values import Peer
from nanoclawd.control.wire import Wire

_UCRED = struct.Struct("=iII")
_SO_PEERGROUPS = 59
"""asm-generic/socket.h; Python's socket module does not know it."""
_GROUPS_BYTES = 1024
"""As much as Python asks for at most: 256 groups."""

log = logging.getLogger(__name__)


class VarlinkServer:
    """Serves some interfaces over a listening unix socket."""

    def __init__(self, methods: Methods, introspection: Introspection, bounds: Bounds) -> None:
        self._bounds = bounds
        self._introspection = introspection
        self._methods = methods
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], Wire] = {}
        self._per_user: Counter[int] = Counter()
        self._names: dict[int, str] = {}
        self._arrived = asyncio.Event()

    async def start(self, listener: socket.socket) -> None:
        """Begin to serve on a bound, listening socket, which the server closes when it stops."""
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        # Kept: the socket in the file system belongs to its unit, and must outlive this process.
        self._server = await loop.create_unix_server(
            lambda: _Accepted(self, self._bounds), sock=listener, cleanup_socket=False
        )

    async def stop(self) -> None:
        """Stop accepting, end the streams, give calls in progress their bound, and hang up."""
        if self._server is None:
            return
        self._server.close()
        for wire in self._tasks.values():
            wire.end()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._bounds.stop_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def quiet(self, seconds: float) -> None:
        """Return once nobody has been connected for so many seconds."""
        while True:
            self._arrived.clear()
            if self._tasks:
                await asyncio.wait(self._tasks)
                continue
            try:
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def accept(self, wire: Wire) -> None:
        """Take a new connection, or say why not."""
        self._arrived.set()
        found = wire.transport.get_extra_info("socket")
        pid, uid, gid = _UCRED.unpack(found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        if len(self._tasks) >= self._bounds.connections or self._per_user[uid] >= self._bounds.connections_per_user:
            log.warning("control client uid %d pid %d refused: too many connections", uid, pid)
            busy = f"{self._introspection.home}.Unavailable"
            wire.send_now(encode_error(busy, message="too many connections", hint=None))
            wire.transport.close()
            return
        self._per_user[uid] += 1
        task = asyncio.get_running_loop().create_task(self._serve(wire, uid, gid, pid, _groups(found)))
        self._tasks[task] = wire
        task.add_done_callback(lambda done: self._forget(done, uid))

    async def _serve(self, wire: Wire, uid: int, gid: int, pid: int, groups: frozenset[int]) -> None:
        try:
            peer = Peer(uid=uid, gid=gid, pid=pid, user_name=await self._user_name(uid), groups=groups)
            await Connection(wire, peer, self._methods, self._introspection).serve()
        finally:
            wire.transport.abort()

    def _forget(self, task: asyncio.Task[None], uid: int) -> None:
        del self._tasks[task]
        self._per_user[uid] -= 1
        if not self._per_user[uid]:
            del self._per_user[uid]
        if not task.cancelled() and (error := task.exception()):
            log.error("a control connection ended by a fault: %s", error, exc_info=error)

    async def _user_name(self, uid: int) -> str:
        """Return a uid's name. Off the loop and once: the name service may ask a directory server."""
        if uid not in self._names:
            try:
                entry = await asyncio.to_thread(pwd.getpwuid, uid)
            except KeyError:
                return str(uid)
            self._names[uid] = entry.pw_name
        return self._names[uid]


class _Accepted(Wire):
    """A wire that reports itself to the server once it is connected."""

    def __init__(self, server: VarlinkServer, bounds: Bounds) -> None:
        super().__init__(bounds)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.accept(self)


def _groups(connected: socket.socket) -> frozenset[int]:
    """Return the groups that the peer had when it connected, as the kernel says; none where there are too many."""
    found = array.array("I")
    try:
        found.frombytes(connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES))
    except OSError:
        return frozenset()
    return frozenset(found)
