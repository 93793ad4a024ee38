"""The proxy itself, in a test's own loop."""

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

CHUNK_BYTES: Final = 16 * 1024
TORN_BYTES: Final = 20
_READ_SECONDS: Final = 0.1
"""What is reset so soon after it was sent the client may not have read."""
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class Weather(StrEnum):
    """What happens to connections, those that are open and new ones."""

    FAIR = "fair"
    """Bytes go through as they are."""
    REFUSED = "refused"
    """Nobody listens; what is open is ended in good order."""
    RESET = "reset"
    """Every connection is reset: the open ones at once, new ones as soon as they are there."""
    STALLED = "stalled"
    """Connections are taken and stay open, and no byte gets through until the weather changes."""
    LOST = "lost"
    """What is sent is taken and lost for good, both ways: half-open connections, as after a router has forgotten them.
    They stay lost when the weather is fair again; new ones are not."""
    SLOW = "slow"
    """Everything gets through, with a wait before each piece."""
    TORN = "torn"
    """What is asked gets through; of each answer a few bytes, and then the connection is reset."""


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    lost: bool = False
    task: asyncio.Task[None] | None = None
    line: int = 0
    """The port from which the server is asked: by it the server knows the connection."""
    answered_at: float | None = 0.0
    """When all that had come from the server was passed on last; None while the client waits for something."""

    def writers(self) -> list[asyncio.StreamWriter]:
        return [writer for writer in (self.client, self.server) if writer is not None]


@dataclass(eq=False)
class FaultProxy:
    """Listens on a port of its own while it is entered, and carries what comes to another port of this machine.

    Attributes:
        upstream: the server's port on 127.0.0.1.
        pause: seconds before each piece while it is slow.
        port: where it listens; the same all the time.
        taken: how many connections were taken so far.
        torn: lines (the ports from which the server was asked) whose last answer the client has not got.
    """

    upstream: int
    pause: float = 0.05
    port: int = 0
    taken: int = 0
    torn: set[int] = field(default_factory=set)
    _weather: Weather = Weather.FAIR
    _open: set[_Connection] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _flows: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        await self._listen()
        self._flows.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        await self._hush()
        await self._end(reset=False)

    async def change(self, weather: Weather) -> None:
        """Let the weather be another from now on."""
        self._weather = weather
        match weather:
            case Weather.REFUSED:
                await self._hush()
                await self._end(reset=False)
                return
            case Weather.RESET:
                await self._end(reset=True)
            case Weather.LOST:
                for connection in self._open:
                    connection.lost = True
        if weather is Weather.STALLED:
            self._flows.clear()
        else:
            self._flows.set()
        await self._listen()

    async def cut(self, *, reset: bool = False) -> None:
        """End what is open, and take new connections as before."""
        await self._end(reset=reset)

    @property
    def open_connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _hush(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _end(self, *, reset: bool) -> None:
        connections = list(self._open)
        for connection in connections:
            if reset and connection.answered_at is not None and _is_recent(connection.answered_at):
                connection.answered_at = None
            for writer in connection.writers():
                if reset:
                    _reset(writer)
                writer.transport.abort() if reset else writer.close()
            if connection.task is not None:
                connection.task.cancel()
        await asyncio.gather(*(one.task for one in connections if one.task is not None), return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        if self._weather is Weather.RESET:
            _reset(writer)
            writer.transport.abort()
            return
        connection = _Connection(writer, lost=self._weather is Weather.LOST, task=asyncio.current_task())
        self._open.add(connection)
        try:
            with contextlib.suppress(OSError):
                await self._carry(connection, reader)
        finally:
            self._open.discard(connection)
            if connection.line and connection.answered_at is None:
                self.torn.add(connection.line)
            for one in connection.writers():
                one.close()

    async def _carry(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        if connection.lost:
            while await reader.read(CHUNK_BYTES):
                pass
            return
        there, connection.server = await asyncio.open_connection("127.0.0.1", self.upstream)
        connection.line = connection.server.get_extra_info("sockname")[1]
        pumps = [
            asyncio.create_task(self._pump(connection, reader, connection.server)),
            asyncio.create_task(self._pump(connection, there, connection.client)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if connection.lost:
                # The server may have noticed; the client must not.
                await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()

    async def _pump(self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        is_answer = sink is connection.client
        while chunk := await source.read(CHUNK_BYTES):
            connection.answered_at = None
            if self._weather is Weather.SLOW:
                await asyncio.sleep(self.pause)  # the weather
            await self._flows.wait()
            if connection.lost:
                continue
            if is_answer and self._weather is Weather.TORN:
                sink.write(chunk[:TORN_BYTES])
                _reset(connection.client)
                connection.client.transport.abort()
                return
            sink.write(chunk)
            await sink.drain()
            if is_answer:
                connection.answered_at = time.monotonic()


def _is_recent(moment: float) -> bool:
    return time.monotonic() - moment < _READ_SECONDS


def _reset(writer: asyncio.StreamWriter) -> None:
    """Have the end of a connection be a reset: what was sent and not yet read is lost with it."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
