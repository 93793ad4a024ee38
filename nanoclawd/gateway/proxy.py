"""Forward a request to its endpoint and stream the answer back, chunk by chunk, with back-pressure both ways."""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol, Self

import aiohttp
from aiohttp import web

from nanoclawd.config import Config, Endpoint
from nanoclawd.gateway import head, refusals
from nanoclawd.gateway.credentials import MAX_CREDENTIAL_BYTES, Credentials
from nanoclawd.gateway.door.decoding import Undecodable
from nanoclawd.gateway.door.redaction import redacted, spellings
from nanoclawd.gateway.door.searching import Searching
from nanoclawd.gateway.policy import AgentDirectory, Route, route
from nanoclawd.gateway.refusals import Refusal
from nanoclawd.journal import about

CONNECT_SECONDS = 30.0
SILENCE_MARGIN_SECONDS = 30.0
"""The runner gives up on a silent model first, and says so in its own words."""

REQUEST_SILENCE_SECONDS = 60.0
"""A caller that sends nothing for this long in the middle of a body is cut off."""

MAX_ERROR_BODY_BYTES = 64 * 1024

# An endpoint's pool keeps a connection for less time than servers commonly do (5 s), so that no request is sent into
# a connection that is being closed. A local socket is not kept at all: the embedded model counts connections to know
# that it is idle.
_KEEP_UPSTREAM_SECONDS = 4.0

_PEERCRED = struct.Struct("3i")  # pid, uid, gid

log = logging.getLogger(__name__)


def peer_uid(connection: socket.socket) -> int:
    """Return the uid of the process that connected, as the kernel recorded it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    return int(_PEERCRED.unpack(credentials)[1])


class HostCalls(Protocol):
    """Answers the daemon, which is no agent."""

    def is_meant(self, request: web.BaseRequest, uid: int) -> bool:
        """Tell whether a request is the daemon's, and for this."""

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer it."""


class _Body:
    """A request's body on its way: counted, and remembered why it broke, because aiohttp wraps what a body raises."""

    def __init__(self, request: web.BaseRequest, limit: int) -> None:
        self._request = request
        self._limit = limit
        self.refusal: Refusal | None = None

    def too_large(self) -> Refusal:
        return Refusal(413, "body_too_large", f"the body is over the limit of {self._limit} bytes")

    async def chunks(self) -> AsyncIterator[bytes]:
        total = 0
        while True:
            try:
                async with asyncio.timeout(REQUEST_SILENCE_SECONDS):
                    chunk = await self._request.content.readany()
            except TimeoutError:
                self.refusal = Refusal(408, "request_timeout", "the body stopped coming")
                raise self.refusal from None
            if not chunk:
                return
            total += len(chunk)
            if total > self._limit:
                self.refusal = self.too_large()
                raise self.refusal
            yield chunk


class Proxy:
    """The request handler, and the connections to the endpoints that it shares among requests."""

    def __init__(
        self, config: Config, agents: AgentDirectory, credentials: Credentials, host: HostCalls | None = None
    ) -> None:
        """Prepare.

        Args:
            config: the endpoints.
            agents: who may ask for which.
            credentials: the endpoints' keys.
            host: answers what the daemon asks.
        """
        self._config = config
        self._host = host
        self._agents = agents
        self._credentials = credentials
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._refusals = refusals.RefusalLog()
        self._needles: dict[str, tuple[bytes, ...]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever goes wrong is an answer too."""
        uid, group = -1, None
        try:
            connection = request.transport.get_extra_info("socket") if request.transport is not None else None
            if connection is None:
                raise Refusal(400, "disconnected", "the caller is gone")
            uid = peer_uid(connection)
            if self._host is not None and self._host.is_meant(request, uid):
                return await self._host.answer(request)
            agent = self._agents.find(uid)
            group = agent.group
            return await self._forward(request, route(agent, request.method, request.raw_path, self._config.endpoints))
        except Refusal as refusal:
            self._refusals.write(uid, group, refusal)
            return refusals.answer(refusal)
        except Exception:
            log.exception("a request failed inside the gateway", extra=about(group=group))
            return refusals.answer(Refusal(500, "gateway_error", "the gateway failed; its journal says why"))

    async def _forward(self, request: web.BaseRequest, to: Route) -> web.StreamResponse:
        headers = head.of_request(request.headers, to.endpoint, self._credentials)
        body = _Body(request, self._config.gateway.max_body)
        length = request.content_length
        if length is not None and length > self._config.gateway.max_body:
            raise body.too_large()
        has_body = request.method == "POST" and request.can_read_body
        if has_body and length is not None:
            headers["Content-Length"] = str(length)
        try:
            async with self._session(to).request(
                request.method,
                to.url,
                data=body.chunks() if has_body else None,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                return await self._answer(request, to, answer)
        except TimeoutError as error:
            raise body.refusal or refusals.timed_out(to.name, to.endpoint) from error
        except aiohttp.ClientError as error:
            raise body.refusal or refusals.unreachable(to.name, to.endpoint, error) from error

    async def _answer(self, request: web.BaseRequest, to: Route, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        if answer.status < 200 or 300 <= answer.status < 400:  # noqa: PLR2004  # HTTP's classes
            raise Refusal(
                502, "endpoint_redirects", f"endpoint {to.name} answers {answer.status}; that is not followed"
            )
        if answer.status == 401:  # noqa: PLR2004  # its body may quote a part of the key
            raise refusals.credential_refused(to.name, to.endpoint)
        needles = self._sought(to)
        headers = {
            name: redacted(value.encode("utf-8", "surrogateescape"), needles).decode("utf-8", "surrogateescape")
            for name, value in head.of_answer(answer.headers, to.endpoint).items()
        }
        if answer.status >= 400:  # noqa: PLR2004
            # Read beyond the bound by a key's length, so that the cut cannot save a part of one from redaction.
            text = await _read_bounded(answer.content, MAX_ERROR_BODY_BYTES + MAX_CREDENTIAL_BYTES)
            body = redacted(self._credentials.redact(text), needles)[:MAX_ERROR_BODY_BYTES]
            return web.Response(status=answer.status, headers=headers, body=body)
        searching = Searching(needles) if needles else None
        if searching is not None and _is_packed(searching, to, answer):
            headers.pop("Content-Encoding", None)
        response = web.StreamResponse(status=answer.status, headers=headers)
        if answer.content_length is not None and "Content-Encoding" not in answer.headers:
            response.content_length = answer.content_length
        try:
            await response.prepare(request)
            await self._stream(request, response, to, _searched(answer.content, searching))
        except ConnectionResetError:
            log.debug("the caller left in the middle of an answer of endpoint %s", to.name)
        return response

    def _sought(self, to: Route) -> tuple[bytes, ...]:
        """Return what is cut out of an endpoint's answers: its key, if it is given one."""
        if to.endpoint.credential is None:
            return ()
        if to.name not in self._needles:
            self._needles[to.name] = spellings([self._credentials.key(to.endpoint.credential)])
        return self._needles[to.name]

    async def _stream(
        self, request: web.BaseRequest, response: web.StreamResponse, to: Route, content: AsyncIterator[bytes]
    ) -> None:
        """Send the answer's body as it comes.

        Raises:
            ConnectionResetError: the caller is gone.
        """
        while True:
            try:
                chunk = await anext(content, b"")
            except (aiohttp.ClientError, TimeoutError, Undecodable) as error:
                refusal = refusals.broke_off(to.name, to.endpoint, error)
                break
            if not chunk:
                await response.write_eof()
                return
            await response.write(chunk)
        # A half-sent answer: nobody may take it for a whole one, and a reader of events gets the reason first.
        log.warning("%s", refusal.message)
        # In an MCP server's stream it would be no message of the protocol; its client asks again by itself.
        if response.content_type == "text/event-stream" and to.endpoint.api != "mcp":
            named = b"event: error\n" if to.endpoint.api == "anthropic" else b""
            await response.write(named + b"data: " + refusals.error_object(refusal) + b"\n\n")
        if request.transport is not None:
            request.transport.close()  # after what is buffered, and without the chunk that marks the end

    def _session(self, to: Route) -> aiohttp.ClientSession:
        session = self._sessions.get(to.name)
        if session is None:
            session = self._sessions[to.name] = aiohttp.ClientSession(
                connector=_connector(to.endpoint),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=CONNECT_SECONDS,
                    sock_read=self._config.timeouts.silence + SILENCE_MARGIN_SECONDS,
                ),
            )
        return session


def _is_packed(searching: Searching, to: Route, answer: aiohttp.ClientResponse) -> bool:
    """Tell whether an answer is packed.

    Raises:
        Refusal: in a way that nobody can search.
    """
    try:
        return searching.unpack([value.encode("latin-1") for value in answer.headers.getall("Content-Encoding", ())])
    except Undecodable as error:
        raise Refusal(502, "endpoint_packs", f"endpoint {to.name}: {error}") from None


async def _searched(content: aiohttp.StreamReader, searching: Searching | None) -> AsyncIterator[bytes]:
    """Yield an answer's body as it comes, without the key that the endpoint was given."""
    while chunk := await content.readany():
        if searching is None:
            yield chunk
            continue
        for piece in searching.body(chunk):
            yield piece
    if searching is not None and (rest := searching.end()):
        yield rest


def _connector(endpoint: Endpoint) -> aiohttp.BaseConnector:
    # No limit here: callers are bounded by their connections to us.
    if endpoint.socket is not None:
        return aiohttp.UnixConnector(path=endpoint.socket, limit=0, force_close=True)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_UPSTREAM_SECONDS)


async def _read_bounded(stream: aiohttp.StreamReader, limit: int) -> bytes:
    """Return a stream's content, cut at the limit."""
    content = b""
    async for chunk in stream.iter_any():
        content += chunk
        if len(content) >= limit:
            break
    return content[:limit]
