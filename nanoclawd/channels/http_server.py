"""Speaks HTTP over accepted connections: one request each, as a whole, within bounds. Loaded by the first of them."""

import asyncio
import json
import logging
import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

from nanoclawd.channels.http_routes import Handler, Reply, Request, Route
from nanoclawd.errors import NanoclawError

log = logging.getLogger(__name__)

_MAX_LINE: Final = 4096
_MAX_HEADER: Final = 8190
_LINGER_SECONDS: Final = 2.0
_NOBODY: Final = logging.getLogger(f"{__name__}.library")
_NOBODY.disabled = True  # it logs what clients send


class HttpServer:
    """Implements :class:`~nanoclawd.channels.http_routes.Conversation`."""

    def __init__(
        self,
        find: Callable[[str], tuple[Route, str] | None],
        loop: asyncio.AbstractEventLoop,
        receive_seconds: float,
    ) -> None:
        """Prepare.

        Args:
            find: returns who answers requests for a path, and what follows the path that they have.
            loop: in which all of it runs.
            receive_seconds: how long a client may take to send its request.
        """
        self._find = find
        self._loop = loop
        self._receive_seconds = receive_seconds
        self._server = web.Server(self._answer, loop=loop)

    async def __call__(self, connection: socket.socket) -> None:
        """Answer one request; return when the connection is closed."""
        protocol = _Connection(self._server, self._loop)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, connection)
        protocol.patience = self._loop.call_later(self._receive_seconds, transport.abort)
        try:
            await protocol.closed
        finally:
            protocol.patience.cancel()
            transport.abort()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            reply = await self._reply(request)
        except (web.RequestPayloadError, web.PayloadAccessError):
            reply = Reply(400)
        except ConnectionError:
            raise
        except Exception:  # logged without path and body: both may hold a secret
            log.exception("a request by HTTP was not answered")
            reply = Reply(500)
        body = b"" if reply.content is None else json.dumps(reply.content).encode() + b"\n"
        response = web.Response(status=reply.status, body=body, headers=reply.headers, content_type="application/json")
        response.headers["Server"] = "nanoclawd"
        response.force_close()
        return response

    async def _reply(self, request: web.BaseRequest) -> Reply:
        found = self._find(request.path)
        if found is None:
            return Reply(404)
        route, rest = found
        if request.headers.get("Content-Encoding", "identity") != "identity":
            return Reply(415, {"error": "a body is taken as it is, without an encoding"})
        body = await _read(request, route.max_body)
        if body is None:
            return Reply(413, {"error": f"a body may have {route.max_body} bytes"})
        if isinstance(request.protocol, _Connection):
            request.protocol.received()
        return await _handled(route.handler, _request(request, rest, body))


class _Connection(web.RequestHandler):
    """One connection, which tells when it is over."""

    __slots__ = ("closed", "patience")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            tcp_keepalive=False,
            logger=_NOBODY,
            access_log=None,  # type: ignore[arg-type]  # the library's own way to say: none
            max_line_size=_MAX_LINE,
            max_field_size=_MAX_HEADER,
            lingering_time=_LINGER_SECONDS,
            auto_decompress=False,
        )
        self.closed: asyncio.Future[None] = loop.create_future()
        self.patience: asyncio.TimerHandle | None = None

    def received(self) -> None:
        """The request is there as a whole: what takes time now is ours."""
        if self.patience is not None:
            self.patience.cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)


async def _read(request: web.BaseRequest, limit: int) -> bytes | None:
    """Read a body; None for one that is too long."""
    if request.content_length is not None and request.content_length > limit:
        return None
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)


def _request(request: web.BaseRequest, rest: str, body: bytes) -> Request:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers.setdefault(name.lower(), value)
    query: dict[str, str] = {}
    for name, value in request.query.items():
        query.setdefault(name, value)
    return Request(request.method, rest, headers, query, body)


async def _handled(handler: Handler, request: Request) -> Reply:
    try:
        return await handler(request)
    except NanoclawError as error:
        log.warning("a request by HTTP was put off: %s", error.message)
        return Reply(503, headers={"Retry-After": "30"})
