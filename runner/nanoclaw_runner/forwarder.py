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
        pumps = [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]
        try:
            # The end of either side is the end of both: a caller that has gone, killed perhaps, must not leave a
            # request behind that a model goes on with.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._open -= {writer, back}
            for one in (writer, back):
                one.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry bytes until either end has gone."""
    with contextlib.suppress(ConnectionError):
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
