"""The gateway's front door: who knocks is counted, and led to the endpoints or to the way out by how a request begins.

Which of the two parsers reads a connection is decided by the first character of its first request's target, and for
good: each parser then reads everything from the first byte on, and refuses what is for the other.
"""

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import Coroutine
from functools import partial
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nanoclawd.gateway.accepting import Accepting
from nanoclawd.gateway.egress import Way
from nanoclawd.gateway.guard import Guard
from nanoclawd.gateway.hangups import Hangups, in_a_while
from nanoclawd.gateway.proxy import Proxy, peer_uid
from nanoclawd.gateway.wire import BareWire

KEEP_ALIVE_SECONDS: Final = 15.0
"""An idle connection of a container is closed after this; it counts against its group's bound."""

LINGERING_SECONDS: Final = 2.0
"""What a caller still sends of a refused body is read for this long, so that it gets to read the refusal."""

KNOCK_SECONDS: Final = 60.0
"""Who connects and says nothing is not waited for longer than this."""

TUNNELS_DRAIN_SECONDS: Final = 5.0
"""Nobody can tell whether a tunnel is at work: all of them get so long when the gateway is stopped."""

MAX_HEADER_LINE_BYTES: Final = 8 * 1024
_LONGEST_METHOD: Final = 32
_FIRST_BYTES: Final = 16 * 1024
_OVER_BOUND: Final = (
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    b'{"error": {"message": "too many connections of this agent group at once", "type": "too_many_connections"}}'
)


class _Endpoints(web.Server):
    """aiohttp's HTTP server, whose connections leave the count when they end."""

    def __init__(self, proxy: Proxy) -> None:
        silent = logging.getLogger("aiohttp.server")
        silent.disabled = True  # it writes what a container sends; the proxy writes what matters
        self._proxy = proxy
        super().__init__(
            self._handle,
            handler_cancellation=True,  # a caller that leaves ends its request at the endpoint
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            max_line_size=MAX_HEADER_LINE_BYTES,
            max_field_size=MAX_HEADER_LINE_BYTES,
            access_log=None,
            logger=silent,
            tcp_keepalive=False,
        )
        self.of_handler: dict[RequestHandler, tuple[Counter[int], int]] = {}
        self._guards: dict[RequestHandler, Guard] = {}

    def guarded(self, begun: bytes) -> tuple[RequestHandler, Guard]:
        """Return the handler of a connection that begins so, and the guard that stands before it."""
        handler = self()
        guard = self._guards[handler] = Guard(handler, begun)
        return handler, guard

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        guard = self._guards[request.protocol]
        guard.begin(request)
        try:
            return await self._proxy.handle(request)
        finally:
            guard.end()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count the connection's end."""
        super().connection_lost(handler, exc)
        self._guards.pop(handler, None)
        counted = self.of_handler.pop(handler, None)
        if counted is not None:
            _leave(*counted)


class Front:
    """Leads each connection to whom it is for."""

    def __init__(self, proxy: Proxy, way: Way, max_connections: int, max_egress: int) -> None:
        """Prepare.

        Args:
            proxy: answers what is for an endpoint.
            way: answers what is for other hosts.
            max_connections: to endpoints, of one group at once; and of those that have not said where they want to.
            max_egress: to other hosts, of one group at once.
        """
        self._endpoints = _Endpoints(proxy)
        self._way = way
        self._most = {"knocking": max_connections, "endpoints": max_connections, "egress": max_egress}
        self._counts: dict[str, Counter[int]] = {kind: Counter() for kind in self._most}
        self._tasks: set[asyncio.Task[None]] = set()
        self._hangups = Hangups()

    def listen(self, listening: socket.socket) -> Accepting:
        """Serve who connects, until what is returned is closed."""
        return Accepting(listening, self._accepted)

    def _accepted(self, connection: socket.socket) -> None:
        _Knocking(self, connection, peer_uid(connection)).read()

    def stop_idle(self) -> None:
        """End connections on which nothing is asked."""
        self._endpoints.pre_shutdown()
        self._way.end_idle()

    async def shutdown(self, seconds: float) -> None:
        """Let what runs end within a time, and end the rest."""
        await asyncio.gather(self._endpoints.shutdown(seconds), self._end_egress(min(seconds, TUNNELS_DRAIN_SECONDS)))
        self._hangups.close()

    async def _end_egress(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    def enter(self, kind: str, uid: int) -> Counter[int] | None:
        """Count a connection in; None where its group has too many of the kind."""
        counts = self._counts[kind]
        if counts[uid] >= self._most[kind]:
            return None
        counts[uid] += 1
        return counts

    def lead(self, connection: socket.socket, uid: int, begun: bytes, *, out: bool) -> None:
        """Hand a connection over to whom its first request is for."""
        counts = self.enter("egress" if out else "endpoints", uid)
        if counts is None:
            refuse(connection)
            return
        if out:
            wire = BareWire(connection, begun, self._hangups)
            task = self._begin(self._way.serve(wire, uid))
            task.add_done_callback(lambda _task: _leave(counts, uid))
            return
        handler, guard = self._endpoints.guarded(begun)
        self._endpoints.of_handler[handler] = (counts, uid)
        self._begin(self._attach(connection, guard))

    async def _attach(self, connection: socket.socket, guard: Guard) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: guard, connection)
        self._hangups.watch(connection.fileno(), partial(in_a_while, transport.abort))

    def _begin(self, serving: Coroutine[None, None, None]) -> asyncio.Task[None]:
        # At once, not in the next turn of the loop: a tunnel is a few short steps.
        task = asyncio.Task(serving, loop=asyncio.get_running_loop(), eager_start=True)
        self._tasks.add(task)

        def over(_task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            with contextlib.suppress(asyncio.CancelledError):
                task.result()

        task.add_done_callback(over)
        return task


def leads_out(begun: bytes) -> bool | None:
    """Tell from how a connection begins whether it is for the way out or for an endpoint; None: more has to come.

    The same however it comes in pieces.
    """
    begun = begun[: _LONGEST_METHOD + 2]
    method, space, rest = begun.partition(b" ")
    if not rest and len(begun) < _LONGEST_METHOD + 2:
        return None
    return bool(space) and (method == b"CONNECT" or not rest.startswith(b"/"))


class _Knocking:
    """A connection of which nobody knows yet where it wants to."""

    def __init__(self, front: Front, connection: socket.socket, uid: int) -> None:
        self._front = front
        self._connection = connection
        self._uid = uid
        self._begun = b""
        self._counts: Counter[int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def read(self) -> None:
        """Look for the first character of the target in what has come; mostly it has by the time of accept(2)."""
        try:
            data = self._connection.recv(_FIRST_BYTES)
        except (BlockingIOError, InterruptedError):
            self._wait()
            return
        except OSError:
            data = b""
        self._begun += data
        out = leads_out(self._begun)
        if data and out is None:
            self._wait()
            return
        self._stop()
        if out is None:
            self._connection.close()
            return
        self._front.lead(self._connection, self._uid, self._begun, out=out)

    def _wait(self) -> None:
        if self._counts is not None:
            return
        self._counts = self._front.enter("knocking", self._uid)
        if self._counts is None:
            refuse(self._connection)
            return
        loop = asyncio.get_running_loop()
        loop.add_reader(self._connection.fileno(), self.read)
        self._timer = loop.call_later(KNOCK_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._stop()
        self._connection.close()

    def _stop(self) -> None:
        if self._counts is None or self._timer is None:
            return
        self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._connection.fileno())
        _leave(self._counts, self._uid)
        self._counts = None


def refuse(connection: socket.socket) -> None:
    """Say that there are too many, and end it."""
    with contextlib.suppress(OSError):
        connection.send(_OVER_BOUND)
    connection.close()


def _leave(counts: Counter[int], uid: int) -> None:
    counts[uid] -= 1
    if not counts[uid]:
        del counts[uid]
