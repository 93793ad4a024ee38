"""The credentials service on a real socket, with stand-ins for systemd's two programs."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory_backend.harness import Client
from memory_backend.listening import listening_socket
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.varlink_server import VarlinkServer
from nanoclawd.credentials.consumers import Consumers
from nanoclawd.credentials.service import Gate, methods
from nanoclawd.credentials.store import CredentialStore

ADMINS = 4242
SERVICE = 4343

_SEAL = """#!/bin/sh
echo "$@" >> "$0.argv"; env >> "$0.env"
[ ! -e "$0.broken" ] || { echo "no key today" >&2; exit 1; }
base64
"""
_SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$0.argv"
case "$*" in
  *ActiveState*) cat "$0.state";;
  *try-restart*) [ ! -e "$0.broken" ] || { echo "Job failed." >&2; exit 1; };;
esac
"""
_ASK = """
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\\0")
print(s.recv(65536).rstrip(b"\\0").decode())
"""


@dataclass
class Stage:
    place: Path
    server: VarlinkServer
    store: Path

    @property
    def path(self) -> str:
        return str(self.place / "credentials.sock")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        client = await self.client()
        try:
            return await client.call(f"Credentials.{method}", parameters)
        finally:
            client.close()

    async def client(self) -> Client:
        return Client(*await asyncio.open_unix_connection(self.path))

    async def as_somebody(self, uid: int, gid: int, groups: list[int], method: str, **parameters: Any) -> Any:
        """Call from a process with these ids, which the kernel vouches for."""
        call = json.dumps({"method": f"io.nanoclaw.Credentials.{method}", "parameters": parameters})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", _ASK, self.path, call),
            stdout=asyncio.subprocess.PIPE, user=uid, group=gid, extra_groups=groups,
        )  # fmt: skip
        said, _ = await process.communicate()
        return json.loads(said)

    def program(self, name: str) -> "Program":
        return Program(self.place / name)

    @property
    def network(self) -> Path:
        return self.place / "20-network.conf"


@dataclass
class Program:
    path: Path

    def lines(self, what: str = "argv") -> list[str]:
        found = Path(f"{self.path}.{what}")
        return found.read_text().splitlines() if found.exists() else []

    def breaks(self) -> None:
        Path(f"{self.path}.broken").touch()

    def says(self, state: str) -> None:
        Path(f"{self.path}.state").write_text(f"{state}\n")


@asynccontextmanager
async def stage_in(place: Path) -> AsyncIterator[Stage]:
    for name, text in (("seal", _SEAL), ("systemctl", _SYSTEMCTL)):
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    store = place / "credstore"
    store.mkdir(mode=0o700)
    consumers = Consumers([str(place / "systemctl")], place / "20-network.conf")
    served = methods(Gate(ADMINS, [SERVICE]), CredentialStore(store, [str(place / "seal"), "encrypt"]), consumers)
    bounds = Bounds(frame_bytes=400 * 1024, half_frame_seconds=2.0, stop_seconds=1.0)
    server = VarlinkServer(served, Introspection("nanoclaw-credentials", ["Credentials"]), bounds)
    made = Stage(place, server, store)
    await server.start(listening_socket(made.path))
    (place / "credentials.sock").chmod(0o666)  # a test's own directory
    made.program("systemctl").says("active")
    try:
        yield made
    finally:
        await server.stop()
