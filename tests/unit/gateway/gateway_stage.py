"""A gateway on a real unix socket before a real HTTP server on loopback."""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from nanoclawd.config import Config, Endpoint, Gateway
from nanoclawd.egress.secrets import Sealed
from nanoclawd.gateway.asking import Approver
from nanoclawd.gateway.credentials import Credentials
from nanoclawd.gateway.door.inside import Door
from nanoclawd.gateway.door.made import make_door
from nanoclawd.gateway.door.vault import Vault
from nanoclawd.gateway.egress import Way
from nanoclawd.gateway.front import Front
from nanoclawd.gateway.onecli.service import Service
from nanoclawd.gateway.onecli.telling import Telling
from nanoclawd.gateway.policy import AgentDirectory, SubordinateRange
from nanoclawd.gateway.proxy import Proxy
from nanoclawd.gateway.reaching import Reaching

KEY = "sk-test-0123456789abcdef"
FIRST_UID = 100_000
"""Host uid of in-container uid 2; in-container uid 1 is the test's own, so that it can call in person."""

MAIN_UID, OTHER_UID, STRANGER_UID = FIRST_UID + 1000, FIRST_UID + 1001, FIRST_UID + 1002
MAX_BODY = 64 * 1024

type Outside = Callable[[AgentDirectory, Door], AbstractAsyncContextManager[Service]]
type Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Upstream:
    """A model server: keeps what it was sent, answers what the test says."""

    url: str = ""
    answer: Answering | None = None
    headers: list[dict[str, str]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        self.targets.append(request.raw_path)
        try:
            if self.answer:
                return await self.answer(request)
            self.bodies.append(await request.read())
            return web.json_response({"ok": True})
        except asyncio.CancelledError:
            self.gone.set()
            raise


@dataclass
class Running:
    """A gateway at work."""

    socket: Path
    agents_file: Path
    upstream: Upstream
    door: Door

    def publish(
        self,
        agents: list[dict[str, object]],
        rules: list[dict[str, object]] | None = None,
        secrets: list[dict[str, object]] | None = None,
    ) -> None:
        new = self.agents_file.with_suffix(".new")
        published = {"version": 3, "agents": agents, "egress": rules or [], "secrets": secrets or []}
        new.write_text(json.dumps(published))
        new.rename(self.agents_file)

    def client(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            base_url="http://gateway/", connector=aiohttp.UnixConnector(str(self.socket), limit=0)
        )

    async def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; return everything until the end of the connection."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        writer.write(data)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


AGENTS: list[dict[str, object]] = [
    {
        "uid": 1,
        "group": "tests",
        "endpoints": [
            *("plain", "keyed", "keyless", "dead", "unknown", "embedded", "claude", "claude-bearer", "claude-token"),
            "notes",
        ],
    },
    {"uid": 1002, "group": "main", "endpoints": ["plain"]},
    {"uid": 1003, "group": "other", "endpoints": ["keyed"]},
]


def config_for(url: str, place: Path) -> Config:
    return Config(
        endpoints={
            "plain": Endpoint(url=url),
            "keyed": Endpoint(url=url, credential="api-key"),
            "keyless": Endpoint(url=url, credential="absent-key"),
            "dead": Endpoint(socket=str(place / "nobody.sock"), base="/v1"),
            "embedded": Endpoint(socket="/run/nanoclaw-model/model.sock", base="/v1"),
            "forbidden": Endpoint(url=url),
            "claude": Endpoint(url=url, api="anthropic", credential="api-key"),
            "claude-bearer": Endpoint(url=url, api="anthropic", credential="api-key", auth="bearer"),
            "claude-token": Endpoint(url=url, api="anthropic", credential="api-key", auth="oauth"),
            "notes": Endpoint(url=url, api="mcp", credential="api-key"),
        },
        gateway=Gateway(max_body=MAX_BODY, max_connections=4),
    )


@asynccontextmanager
async def running(
    config: Config,
    ranges: list[SubordinateRange],
    upstream: Upstream,
    place: Path,
    reaching: Reaching | None = None,
    sealed: Mapping[str, Sealed] | None = None,
    outside: Outside | None = None,
    daemon_uid: int = -1,
) -> AsyncIterator[Running]:
    """A gateway that listens in a place until the block ends; it keeps its state and shows whom to trust there, too."""
    path, agents_file = place / "gateway.sock", place / "agents.json"
    agents, bounds = AgentDirectory(agents_file, ranges), config.gateway
    reaching = reaching or Reaching()
    async with AsyncExitStack() as stack:
        door = await make_door(agents, Vault(sealed or {}), reaching, place / "state", place / "trust")
        served = await stack.enter_async_context(outside(agents, door)) if outside else None
        told = Telling(served.link, daemon_uid) if served else None
        proxy = await stack.enter_async_context(Proxy(config, agents, Credentials({"api-key": KEY}), told))
        way = Way(
            agents,
            bounds.egress_idle,
            reaching,
            door,
            Approver(place / "requests.sock"),
            through=served.through if served else None,
        )
        server = Front(proxy, way, bounds.max_connections, bounds.max_egress)
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        accepting = server.listen(listening)
        path.chmod(0o666)
        found = Running(path, agents_file, upstream, door)
        found.publish(AGENTS)
        try:
            yield found
        finally:
            accepting.close()
            if served:
                served.link.end()
            await server.shutdown(0.1)
            way.close()


def error_of(body: bytes) -> dict[str, str]:
    decoded: dict[str, dict[str, str]] = msgspec.json.decode(body)
    return decoded["error"]


CALLER = """
import os, socket, sys
uid, path, target = int(sys.argv[1]), sys.argv[2], sys.argv[3]
os.setgroups([]); os.setgid(uid); os.setuid(uid)
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(path)
    connection.sendall(f"GET {target} HTTP/1.1\\r\\nHost: gateway\\r\\nConnection: close\\r\\n\\r\\n".encode())
    while part := connection.recv(65536):
        sys.stdout.buffer.write(part)
"""


async def call_as(uid: int, gateway: Running, target: str) -> tuple[int, bytes]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CALLER, str(uid), str(gateway.socket), target), stdout=asyncio.subprocess.PIPE
    )
    answer, _ = await child.communicate()
    assert child.returncode == 0
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body
