"""A gateway before hosts on loopback that do what a test says, and names that mean what a test says."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_stage import AGENTS, FIRST_UID, Running, Upstream, running

from nanoclawd.config import Config, Endpoint, Gateway
from nanoclawd.gateway import reaching
from nanoclawd.gateway.policy import SubordinateRange
from nanoclawd.gateway.reaching import Reaching

IDLE_SECONDS = 1.5

type Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Host:
    """A server on loopback: keeps what it is sent, says what the test says."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    serving: Serving | None = None
    tasks: set[asyncio.Task[None] | None] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.add(asyncio.current_task())
        try:
            await (self.serving or self._echo)(reader, writer)
        except ConnectionError:
            pass
        finally:
            self.gone.set()
            writer.close()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            self.heard.append(data)
            writer.write(data)
            await writer.drain()

    def rule(self, **more: object) -> dict[str, object]:
        """A rule of the owner's that lets the tests' group reach it."""
        return {"id": 1, "action": "allow", "host": "127.0.0.1", "port": self.port, "private": True, **more}


def answers(head: str, body: bytes = b"", heard: list[bytes] | None = None) -> Serving:
    """Serve one answer to one request without a body."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(request)
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return serve


@dataclass
class Names:
    """The system's resolver: what it knows, what it was asked, and how long it takes."""

    known: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    wait: Callable[[str], None] = lambda _host: None
    tried: list[str] = field(default_factory=list)

    def look_up(self, host: str, port: int, **hints: Any) -> list[Any]:
        self.asked.append(host)
        self.wait(host)
        if host in self.known:
            found = []
            for address in self.known[host]:
                found += socket.getaddrinfo(address, port, **hints)
            return found
        if host.replace(".", "").isdigit() or ":" in host:
            return socket.getaddrinfo(host, port, **hints)
        raise socket.gaierror("unknown here")

    async def connect(self, found: list[Any]) -> socket.socket:
        """Connect on loopback; of other addresses only remember them."""
        self.tried += [one[4][0] for one in found]
        found = [one for one in found if one[4][0] in ("127.0.0.1", "::1")]
        if not found:
            raise OSError(errno.ENETUNREACH, "not in tests")
        return await reaching._connected(found)


@dataclass
class Out:
    """The gateway and what is behind it."""

    gateway: Running
    host: Host
    names: Names

    def allow(self, *rules: dict[str, object]) -> None:
        self.gateway.publish(AGENTS, list(rules))

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.gateway.socket))

    async def ask(self, data: bytes) -> bytes:
        async with asyncio.timeout(10):
            return await self.gateway.raw(data)

    async def get(self, path: str = "/", *, headers: str = "", port: int | None = None) -> bytes:
        """A plain request on a connection of its own; returns the whole answer."""
        url = f"http://127.0.0.1:{port or self.host.port}{path}"
        return await self.ask(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n".encode())

    async def connect(self, where: str | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A tunnel that is open."""
        reader, writer = await self.open()
        where = where or f"127.0.0.1:{self.host.port}"
        writer.write(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return reader, writer


def post(host: Host, body: bytes, headers: str = "") -> bytes:
    """Return a request by plain http with a body."""
    where = f"127.0.0.1:{host.port}"
    head = f"POST http://{where}/a?b=c HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@asynccontextmanager
async def out(place: Path, idle: float = IDLE_SECONDS) -> AsyncIterator[Out]:
    host, names = Host(), Names()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    host.port = server.sockets[0].getsockname()[1]
    config = Config(
        endpoints={"plain": Endpoint(url=f"http://127.0.0.1:{host.port}/v1")},
        gateway=Gateway(max_connections=4, max_egress=8, egress_idle=idle),
    )
    ranges = [SubordinateRange(os.getuid(), 1), SubordinateRange(FIRST_UID, 65_536)]
    async with running(config, ranges, Upstream(), place, Reaching(names.look_up, names.connect)) as gateway:
        yield Out(gateway, host, names)
    server.close()
    for task in host.tasks:
        if task is not None:
            task.cancel()
    await asyncio.gather(*(task for task in host.tasks if task), return_exceptions=True)
