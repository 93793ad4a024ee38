"""The two servers of a OneCLI: the management API, and the gateway (proxy and approvals)."""

import asyncio
import base64
import contextlib
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import h11

from .authority import Authority
from .routes import Answer, Request, Routes
from .world import Agent, Approval, World

PREVIEW_BYTES = 4096
_KEPT = frozenset({"connection", "proxy-authorization", "proxy-connection", "transfer-encoding", "content-length"})


class OneCli:
    """Both, on ports of their own that stay the same when it is down for a while."""

    def __init__(self, world: World, place: Path, upstream_ca: Path | None = None, says: str = "127.0.0.1") -> None:
        """Prepare.

        Args:
            world: what it knows.
            place: where files go.
            upstream_ca: the authority of the hosts behind it.
            says: the name by which containers are told to reach its proxy.
        """
        self.world = world
        self.authority = Authority(place)
        self._upstream = ssl.create_default_context(cafile=str(upstream_ca) if upstream_ca else None)
        self.routes = Routes(world, self.authority.pem)
        self._says = says
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.api_port = self.gateway_port = 0
        self.names: dict[str, str] = {}
        """Addresses of hosts that no name server knows."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    async def start(self) -> None:
        """Be there, or be there again."""
        api = await asyncio.start_server(self._serve_api, "127.0.0.1", self.api_port)
        gateway = await asyncio.start_server(self._serve_gateway, "127.0.0.1", self.gateway_port)
        self._servers = [api, gateway]
        self.api_port, self.gateway_port = (one.sockets[0].getsockname()[1] for one in self._servers)
        self.routes.proxy = f"{self._says}:{self.gateway_port}"
        self.routes.gateway = f"http://127.0.0.1:{self.gateway_port}"

    async def stop(self) -> None:
        """Be gone, with all connections."""
        for server in self._servers:
            server.close()
            server.abort_clients()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()

    async def _serve_api(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._counted(self._serve(reader, writer, is_gateway=False), writer)

    async def _serve_gateway(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._counted(self._serve(reader, writer, is_gateway=True), writer)

    async def _counted(self, serving: "asyncio._CoroutineLike[None]", writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serving)  # type: ignore[arg-type]
        self._tasks.add(task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_gateway: bool) -> None:
        with contextlib.suppress(ConnectionError, h11.RemoteProtocolError, ssl.SSLError, asyncio.IncompleteReadError):
            http = h11.Connection(h11.SERVER)
            while (request := await _request(http, reader, writer)) is not None:
                proxied = request.method == "CONNECT" or request.target.startswith("http")
                if proxied and is_gateway:
                    await self._proxy(request, http, reader, writer)
                    return
                is_approval = request.path.startswith("/v1/approvals/")
                answer = await self.routes.answer(request) if is_approval == is_gateway else Answer(404)
                await _answer(http, writer, answer)
                http.start_next_cycle()

    async def _proxy(
        self, request: Request, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.world.carried.append(request.target)
        agent = self.world.by_token(_token(request))
        if agent is None:
            await _answer(http, writer, Answer(407, headers={"Proxy-Authenticate": 'Basic realm="OneCLI Gateway"'}))
            return
        if request.method != "CONNECT":
            parts = urlsplit(request.target)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            inner = Request(request.method, path, request.headers, request.body)
            await _answer(http, writer, await self._forward(agent, inner, parts.hostname or "", parts.port or 80, None))
            return
        host, _, port = request.target.rpartition(":")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        await writer.start_tls(self.authority.context(host.strip("[]")))
        inside = h11.Connection(h11.SERVER)
        while (asked := await _request(inside, reader, writer)) is not None:
            await _answer(
                inside, writer, await self._forward(agent, asked, host.strip("[]"), int(port), self._upstream)
            )
            if inside.our_state is not h11.DONE:
                return
            inside.start_next_cycle()

    async def _forward(self, agent: Agent, asked: Request, host: str, port: int, tls: ssl.SSLContext | None) -> Answer:
        headers = {name: value for name, value in asked.headers.items() if name not in _KEPT}
        if host in self.world.asks:
            preview = asked.body[:PREVIEW_BYTES].decode("utf-8", "replace") or None
            shown = {name: value for name, value in headers.items() if name not in {"authorization", "cookie"}}
            held = Approval(agent, asked.method, host, asked.target, shown, preview, self.world.timeout)
            if (decision := await self.world.hold(held)) != "approve":
                return Answer(403, {"error": "manual_approval_denied", "message": f"This request was {decision}."})
        secret = self.world.secret_for(agent, host)
        if secret is not None:
            headers["authorization"] = secret
        inner = Request(asked.method, asked.target, headers, asked.body)
        return await _fetch(inner, host, self.names.get(host, host), port, tls)


async def _fetch(asked: Request, host: str, address: str, port: int, tls: ssl.SSLContext | None) -> Answer:
    try:
        reader, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=host if tls else None)
    except OSError:
        return Answer(502, {"error": "bad_gateway"})
    try:
        http = h11.Connection(h11.CLIENT)
        headers = [*asked.headers.items(), ("content-length", str(len(asked.body))), ("connection", "close")]
        for event in (
            h11.Request(method=asked.method, target=asked.target, headers=headers),
            *([h11.Data(data=asked.body)] if asked.body else []),
            h11.EndOfMessage(),
        ):
            writer.write(http.send(event) or b"")
        body, answer = b"", None
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(65_536))
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += event.data
        assert answer is not None
        kept = {name.decode(): value.decode() for name, value in answer.headers if name.decode() not in _KEPT}
        return _Raw(answer.status_code, body, kept)
    finally:
        writer.close()


class _Raw(Answer):
    """A host's answer, whose body is bytes."""

    @property
    def content(self) -> bytes:
        return bytes(self.body)


def _token(request: Request) -> str:
    """The password of Basic authorization (observed: the user is ``x``)."""
    kind, _, value = request.headers.get("proxy-authorization", "").partition(" ")
    if kind.lower() != "basic":
        return ""
    with contextlib.suppress(ValueError):
        return base64.b64decode(value).decode("utf-8", "replace").partition(":")[2]
    return ""


async def _request(http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    head, body = None, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            http.receive_data(await reader.read(65_536))
        elif isinstance(event, h11.Request):
            head = event
            if event.method == b"CONNECT":
                break
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            break
        else:
            return None
    assert head is not None
    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    return Request(head.method.decode(), head.target.decode(), headers, body)


async def _answer(http: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> None:
    headers = [
        *((name, value) for name, value in answer.headers.items() if name.lower() != "content-length"),
        ("Content-Length", str(len(answer.content))),
    ]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    for event in (
        h11.Response(status_code=answer.status, headers=headers),
        h11.Data(data=answer.content),
        h11.EndOfMessage(),
    ):
        writer.write(http.send(event) or b"")
    await writer.drain()
