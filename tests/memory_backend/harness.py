"""A control server with the in-memory backend in this process, and a plain client of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from memory_backend import Memory
from memory_backend.listening import listening_socket
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.server import ControlServer


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def post(self, method: str, parameters: dict[str, Any] | None = None, **flags: bool) -> None:
        call = {"method": f"io.nanoclaw.{method}", "parameters": parameters or {}, **flags}
        self.writer.write(json.dumps(call).encode() + b"\0")

    async def reply(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            reply: dict[str, Any] = json.loads((await self.reader.readuntil(b"\0"))[:-1])
        return reply

    async def call(self, method: str, parameters: dict[str, Any] | None = None, **flags: bool) -> dict[str, Any]:
        self.post(method, parameters, **flags)
        return await self.reply()

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self.reader.read() == b""

    def close(self) -> None:
        self.writer.transport.abort()


class Running:
    def __init__(self, path: str, memory: Memory, server: ControlServer) -> None:
        self.path = path
        self.memory = memory
        self.server = server

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        client = Client(*await asyncio.open_unix_connection(self.path, limit=4 * 2**20))
        try:
            yield client
        finally:
            client.close()


@asynccontextmanager
async def serving(tmp_path: Path, **bounds: Any) -> AsyncIterator[Running]:
    memory = Memory()
    await memory.open()
    server = ControlServer(memory, Bounds(**bounds))
    path = str(tmp_path / "control.sock")
    await server.start(listening_socket(path))
    try:
        yield Running(path, memory, server)
    finally:
        await server.stop()
        await memory.close()
