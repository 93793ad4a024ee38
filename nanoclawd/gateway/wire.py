"""One end of a connection that is read at its reader's pace: a bounded piece waits here, the rest in the kernel."""

import asyncio
from collections.abc import Callable

MAX_WAITING_BYTES = 64 * 1024
"""What waits to be read; one piece more of that size can come on top of it."""


FLUSH_SECONDS = 10.0
"""What is on its way when a connection is closed has so long to arrive."""


def close(transport: asyncio.Transport) -> None:
    """Close a connection after what is on its way; a side that reads nothing does not keep it open."""
    waiting = transport.get_write_buffer_size()
    transport.close()
    if waiting:
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, transport.abort)


def _nothing() -> None:
    """Nobody wants to know."""


class Wire(asyncio.Protocol):
    """Reads and writes with back-pressure.

    Attributes:
        transport: what it is the protocol of.
        gone: called when the other side has ended its side, or all of it; once.
        ended: whether that has happened.
    """

    def __init__(self, gone: Callable[[], None] = _nothing) -> None:
        self.transport: asyncio.Transport | None = None
        self.gone = gone
        self.ended = False
        self._waiting = bytearray()
        self._paused = False
        self._something = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing has come that was not read."""
        return not self.ended and not self._waiting and self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport  # type: ignore[assignment]  # a stream's
        # As much at once as may wait; asyncio's own measure is four times that for each of two ends.
        transport.max_size = MAX_WAITING_BYTES  # type: ignore[attr-defined]  # asyncio's transports of sockets have it

    def data_received(self, data: bytes) -> None:
        """Keep what has come; of too much, no more is taken from the kernel."""
        self._waiting += data
        self._something.set()
        if len(self._waiting) >= MAX_WAITING_BYTES and self.transport is not None and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Keep the way out open: an answer may still be on it."""
        self._end()
        return True

    def connection_lost(self, _error: Exception | None) -> None:
        """Let everybody who waits go."""
        self._writable.set()
        self._end()

    def pause_writing(self) -> None:
        """The other side does not read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It reads again."""
        self._writable.set()

    async def read(self, seconds: float | None = None) -> bytes:
        """Return what has come, waiting for something; nothing at the end.

        Raises:
            TimeoutError: nothing has come for so long.
        """
        if not self._waiting and not self.ended:
            self._something.clear()
            async with asyncio.timeout(seconds):
                await self._something.wait()
        return self.take()

    def take(self) -> bytes:
        """Return what has come and was not read."""
        found = bytes(self._waiting)
        self._waiting.clear()
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        return found

    async def write(self, data: bytes, seconds: float | None = None) -> None:
        """Send something, and wait until most of it has gone.

        Raises:
            ConnectionResetError: the other side is gone.
            TimeoutError: it takes nothing.
        """
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the other side is gone")
        self.transport.write(data)
        if not self._writable.is_set():
            async with asyncio.timeout(seconds):
                await self._writable.wait()
            if self.transport.is_closing():
                raise ConnectionResetError("the other side is gone")

    def close(self) -> None:
        """End, after what is on its way."""
        if self.transport is not None:
            close(self.transport)

    def abort(self) -> None:
        """End at once."""
        if self.transport is not None:
            self.transport.abort()

    def leave(self) -> None:
        """The other side was seen to go, whatever of it was not read yet."""
        self._end()

    def _end(self) -> None:
        self._something.set()
        if not self.ended:
            self.ended = True
            self.gone()
