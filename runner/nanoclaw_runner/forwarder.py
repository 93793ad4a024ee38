"""A door on the container's own loopback that leads to the gateway: for clients that know addresses of TCP only.

The container has no network; its loopback reaches nobody else. What a client of HTTP says goes through as it is, to an
endpoint or, by CONNECT and absolute addresses, to other hosts: the gateway reads it and decides, nothing here does. A
client of SOCKS is translated into one CONNECT.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from pathlib import Path
from typing import Final

from nanoclaw_runner import socks

_log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 128
"""At once; the gateway's own bound for a whole group is not higher by default."""

_QUEUE_SECONDS: Final = 10


class Forwarder:
    """Listens on a free port while it is open."""

    def __init__(self, gateway: Path) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._opening = asyncio.Lock()
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> str:
        """Begin to listen, once; return the address that stands for the gateway, without a slash at its end.

        Raises:
            OSError: this container has no loopback.
        """
        async with self._opening:
            if self._server is None:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def close(self) -> None:
        """Stop, and end what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= 2 * MAX_CONNECTIONS:
            _log.warning("more than %d connections at once to the gateway: one is turned away", MAX_CONNECTIONS)
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_unix_connection(sock=await _connected(str(self._gateway)))
        except OSError as error:
            _log.warning("the gateway does not answer: %s", error)
            writer.close()
            return
        self._open |= {writer, back}
        try:
            if await _begin(reader, writer, there, back):
                await _carry(reader, writer, there, back)
        finally:
            self._open -= {writer, back}
            for one in (writer, back):
                one.close()


async def _connected(path: str) -> socket.socket:
    """Return a connection to a unix socket; where its queue is full (others flood it), wait for a place in it.

    asyncio takes the kernel's "try again" for a connection in the making, and would talk to nobody. Who can block is
    woken in turn.

    Raises:
        OSError: there is none within a bound.
    """
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        try:
            one.connect(path)
        except BlockingIOError:
            one.setblocking(True)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _QUEUE_SECONDS, 0))
            await asyncio.to_thread(one.connect, path)
            one.setblocking(False)
    except BaseException:
        one.close()
        raise
    return one


async def _begin(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamReader, back: asyncio.StreamWriter
) -> bool:
    """Pass on how a client begins; tell whether there is more to carry."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        first = await reader.read(1)
        if first == socks.VERSION:
            return await socks.negotiate(reader, writer, there, back)
        back.write(first)
        return bool(first)
    return False


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamReader, back: asyncio.StreamWriter
) -> None:
    pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
    try:
        # The end of either side is the end of both: a caller that has gone, killed perhaps, must not leave a
        # request behind that a model goes on with.
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes until either end has gone."""
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
