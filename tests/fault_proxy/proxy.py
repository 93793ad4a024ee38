"""The proxy."""

import asyncio
import contextlib
import socket
import struct
from enum import StrEnum

_BLOCK = 16 * 1024
_SLOW_BYTES = 64
_SLOW_SECONDS = 0.02


class Fault(StrEnum):
    """What happens to connections.

    NONE: they are passed on.
    CUT: those that are there end in good order (FIN), new ones are accepted and end at once.
    RESET: those that are there end with a reset (RST), new ones as well.
    REFUSE: as RESET for those that are there; nobody listens any more.
    STALL: they stay, and nothing passes in either direction; what was held comes when the fault is over.
    HALF_OPEN: they stay, and what is sent is lost, as behind a router that has forgotten them; also afterwards.
    SLOW: a few bytes at a time.
    """

    NONE = "none"
    CUT = "cut"
    RESET = "reset"
    REFUSE = "refuse"
    STALL = "stall"
    HALF_OPEN = "half-open"
    SLOW = "slow"


class FaultProxy:
    """Passes connections on to one port of this machine."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Prepare.

        Args:
            port: where connections are passed on to.
            host: of this machine.
        """
        self._to = (host, port)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self.fault = Fault.NONE
        self.port = 0
        self.connections = 0
        """How many were made so far."""

    async def start(self) -> None:
        """Listen; the port is chosen once, and the same afterwards."""
        self._server = await asyncio.start_server(self._accept, self._to[0], self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End everything."""
        self._passes.set()
        await self._close_server()
        for link in list(self._links):
            link.end(reset=False)

    async def now(self, fault: Fault) -> None:
        """Have a fault begin, or with NONE end."""
        self.fault = fault
        if fault is Fault.STALL:
            self._passes.clear()
        else:
            self._passes.set()
        if fault is Fault.REFUSE:
            await self._close_server()
        elif self._server is None:
            await self.start()
        for link in list(self._links):
            if fault is Fault.CUT:
                link.end(reset=False)
            elif fault in {Fault.RESET, Fault.REFUSE}:
                link.end(reset=True)
            elif fault is Fault.HALF_OPEN:
                link.is_dead = True

    async def _close_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        if self.fault in {Fault.CUT, Fault.RESET}:
            link.end(reset=self.fault is Fault.RESET)
            return
        link.is_dead = self.fault is Fault.HALF_OPEN
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
        except OSError:
            link.end(reset=True)
            return
        link.far = far_writer
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(link, reader, far_writer))
                group.create_task(self._pass_on(link, far_reader, writer))
        except* OSError:
            pass
        finally:
            self._links.discard(link)
            link.end(reset=False)

    async def _pass_on(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(_SLOW_BYTES if self.fault is Fault.SLOW else _BLOCK):
            if self.fault is Fault.SLOW:
                await asyncio.sleep(_SLOW_SECONDS)
            await self._passes.wait()
            if link.is_dead:
                continue
            writer.write(block)
            await writer.drain()
        if link.is_dead:
            return  # the other side hears nothing of the end either
        with contextlib.suppress(OSError):
            writer.write_eof()


class _Link:
    """Both connections of one."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.near = near
        self.far: asyncio.StreamWriter | None = None
        self.is_dead = False

    def end(self, *, reset: bool) -> None:
        for writer in filter(None, (self.near, self.far)):
            found = writer.get_extra_info("socket")
            if reset and found is not None:
                with contextlib.suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()
