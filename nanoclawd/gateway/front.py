"""The gateway's front door: who knocks is counted, and led to the endpoints or to the way out by how a request begins.

Which of the two parsers reads a connection is decided by the first character of its first request's target, and for
good: each parser then reads everything from the first byte on, and refuses what is for the other.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from nanoclawd.gateway.egress import Way
from nanoclawd.gateway.guard import Guard
from nanoclawd.gateway.hangups import Hangups
from nanoclawd.gateway.proxy import Proxy, peer_uid
from nanoclawd.gateway.refusals import Refusal
from nanoclawd.gateway.wire import Wire

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

    def guarded(self) -> tuple[RequestHandler, Guard]:
        """Return a new connection's handler, and the guard that stands before it."""
        handler = self()
        guard = self._guards[handler] = Guard(handler)
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
    """Makes the protocol of each connection; call it as asyncio's servers call a factory."""

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

    def __call__(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Knocking(self)

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

    def lead(self, transport: asyncio.Transport, uid: int, begun: bytes, *, out: bool) -> None:
        """Hand a connection over to whom its first request is for."""
        counts = self.enter("egress" if out else "endpoints", uid)
        if counts is None:
            transport.write(_OVER_BOUND)
            transport.close()
            return
        self._hangups.watch(transport)
        if not out:
            handler, guard = self._endpoints.guarded()
            self._endpoints.of_handler[handler] = (counts, uid)
            transport.set_protocol(guard)
            guard.connection_made(transport)
            guard.data_received(begun)
            return
        wire = Wire()
        transport.set_protocol(wire)
        wire.connection_made(transport)
        wire.data_received(begun)
        task = asyncio.get_running_loop().create_task(self._way.serve(wire, uid))
        wire.gone = lambda: _end(task)
        self._tasks.add(task)

        def ended(_task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            _leave(counts, uid)
            with contextlib.suppress(asyncio.CancelledError):
                task.result()

        task.add_done_callback(ended)


def leads_out(begun: bytes) -> bool | None:
    """Tell from how a connection begins whether it is for the way out or for an endpoint; None: more has to come.

    The same however it comes in pieces.
    """
    begun = begun[: _LONGEST_METHOD + 2]
    method, space, rest = begun.partition(b" ")
    if not rest and len(begun) < _LONGEST_METHOD + 2:
        return None
    return bool(space) and (method == b"CONNECT" or not rest.startswith(b"/"))


class _Knocking(asyncio.Protocol):
    """A connection of which nobody knows yet where it wants to."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._begun = b""
        self._uid = -1
        self._counts: Counter[int] | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, or answer it at once and close it."""
        self._transport = transport  # type: ignore[assignment]  # a stream's
        try:
            self._uid = peer_uid(transport)
        except Refusal:
            transport.close()
            return
        self._counts = self._front.enter("knocking", self._uid)
        if self._counts is None:
            self._transport.write(_OVER_BOUND)  # type: ignore[union-attr]  # just set
            transport.close()
            return
        self._timer = asyncio.get_running_loop().call_later(KNOCK_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Look for the first character of the target."""
        if self._counts is None or self._transport is None:
            return
        self._begun += data
        out = leads_out(self._begun)
        if out is None:
            return
        self._leave()
        self._front.lead(self._transport, self._uid, self._begun, out=out)

    def connection_lost(self, _error: Exception | None) -> None:
        """It never said."""
        self._leave()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._counts is not None:
            _leave(self._counts, self._uid)
            self._counts = None


def _end(task: asyncio.Task[None]) -> None:
    task.cancel()


def _leave(counts: Counter[int], uid: int) -> None:
    counts[uid] -= 1
    if not counts[uid]:
        del counts[uid]
