"""A door on the container's own loopback that leads to the gateway: for clients that know http addresses only.

The container has no network; its loopback reaches nobody else. Bytes go through as they are.
"""

import asyncio
import contextlib
import logging
from pathlib import Path

_log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024


class Forwarder:
    """Listens on a free port while it is open."""

    def __init__(self, gateway: Path) -> None:
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def open(self) -> str:
        """Begin to listen, once; return the address that stands for the gateway, without a slash at its end.

        Raises:
            OSError: this container has no loopback.
        """
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
        try:
            there, back = await asyncio.open_unix_connection(str(self._gateway))
        except OSError as error:
            _log.warning("the gateway does not answer: %s", error)
            writer.close()
            return
        self._open |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back))
                group.create_task(_pump(there, writer))
        finally:
            self._open -= {writer, back}
            for one in (writer, back):
                one.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes until the source ends, and pass its end on: a half-closed connection still gets its answer."""
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
        return
    sink.close()
