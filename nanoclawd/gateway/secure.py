"""TLS on a wire, read and written like the wire itself, with nothing kept beyond what is at hand."""

import asyncio
import contextlib
import ssl
from typing import Final

from nanoclawd.gateway.wire import Wire

HANDSHAKE_SECONDS: Final = 15.0
PIECE_BYTES: Final = 64 * 1024
_RECORD_BYTES: Final = 16 * 1024


class SecureWire:
    """One end of a TLS connection.

    Not asyncio's own TLS: that keeps 256 KiB for each end, whatever comes, and takes nothing that was sent early.

    Attributes:
        ended: whether the other side has said that it says no more.
    """

    def __init__(self, wire: Wire, context: ssl.SSLContext, *, early: bytes = b"", host: str | None = None) -> None:
        """Prepare.

        Args:
            wire: connected.
            context: a server's, or a client's.
            early: what has come on the wire already.
            host: whose certificate it has to be, as a client; None: as a server.
        """
        self.ended = False
        self._wire = wire
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=host is None, server_hostname=host)
        self._in.write(early)
        self._is_client = host is not None

    @property
    def wire(self) -> Wire:
        """What carries it."""
        return self._wire

    @property
    def protocol(self) -> str | None:
        """What both sides agreed to speak (ALPN)."""
        return self._tls.selected_alpn_protocol()

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing has come that was not read."""
        return self._wire.is_quiet and not self.ended and not self._in.pending

    async def handshake(self) -> None:
        """Agree.

        Raises:
            ssl.SSLError: they don't.
            ConnectionResetError: the other side has gone.
            TimeoutError: it takes too long.
        """
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                except ssl.SSLError:
                    with contextlib.suppress(ConnectionError):
                        await self._flush()  # says why
                    raise
                else:
                    await self._flush()
                    return
                data = await self._wire.read()
                if not data:
                    raise ConnectionResetError("the other side has gone")
                self._in.write(data)

    async def read(self, seconds: float | None = None) -> bytes:
        """Return what has come, waiting for something; nothing at the end.

        Raises:
            TimeoutError: nothing has come for so long.
            ConnectionResetError: what has come is no TLS, or a host's end could be somebody else's.
        """
        while True:
            found = self.take()
            if self._out.pending:
                await self._flush(seconds)
            if found or self.ended:
                return found
            data = await self._wire.read(seconds)
            if data:
                self._in.write(data)
                continue
            self.ended = True
            if self._is_client:
                raise ConnectionResetError("the host has gone without saying that this is all")

    def take(self) -> bytes:
        """Return what has come and was not read.

        Raises:
            ConnectionResetError: it is no TLS.
        """
        found = []
        size = 0
        try:
            while size < PIECE_BYTES and not self.ended:
                piece = self._tls.read(_RECORD_BYTES)
                self.ended = not piece
                found.append(piece)
                size += len(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            raise ConnectionResetError("what has come is no TLS") from error
        return b"".join(found)

    async def write(self, data: bytes, seconds: float | None = None) -> None:
        """Send something, and wait until most of it has gone.

        Raises:
            ConnectionResetError: the other side is gone.
            TimeoutError: it takes nothing.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise ConnectionResetError("the other side is gone") from error
        await self._flush(seconds)

    def close(self) -> None:
        """End, after what is on its way."""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self._tls.unwrap()
        if self._out.pending and self._wire.transport is not None and not self._wire.transport.is_closing():
            self._wire.transport.write(self._out.read())
        self._wire.close()

    def abort(self) -> None:
        """End at once."""
        self._wire.abort()

    async def _flush(self, seconds: float | None = None) -> None:
        if self._out.pending:
            await self._wire.write(self._out.read(), seconds)


type Line = Wire | SecureWire
"""Whatever is read and written like a wire."""
