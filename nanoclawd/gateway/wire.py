"""One end of a connection that is read at its reader's pace: a bounded piece waits here, the rest in the kernel."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass

from nanoclawd.gateway.hangups import Hangups, in_a_while

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


@dataclass(frozen=True, slots=True)
class Side:
    """A socket, which does not block, and what was read of it already."""

    connection: socket.socket
    early: bytes = b""


class Wire(asyncio.Protocol):
    """Reads and writes with back-pressure.

    Attributes:
        transport: what it is the protocol of.
        gone: called when the other side has ended its side, or all of it; once.
        ended: whether that has happened.
    """

    def __init__(self, gone: Callable[[], object] = _nothing) -> None:
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

    def find_socket(self) -> socket.socket | None:
        """Return the socket, None where there is none any more."""
        found: socket.socket | None = self.transport.get_extra_info("socket") if self.transport is not None else None
        return found if found is not None and found.fileno() >= 0 else None

    async def detach(self) -> Side:
        """Give the socket away, with what was read of it; this is its end no more.

        Raises:
            ConnectionResetError: the other side is gone, or has not read what was sent to it.
        """
        transport = self.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            raise ConnectionResetError("the other side is gone, or does not read")
        self.gone = _nothing
        early = self.take()
        connection: socket.socket = transport.get_extra_info("socket").dup()
        connection.setblocking(False)
        transport.abort()
        self.transport = None
        return Side(connection, early)

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


class BareWire(Wire):
    """An end that is a bare socket until something has to be waited for.

    A transport takes as long to begin as all that a tunnel needs before it is open, and a tunnel needs none. What is
    sent meanwhile goes at once: who gets it works on it while the transport begins.

    Attributes:
        hung_up: called when the other side goes after the socket was given away.
    """

    def __init__(self, connection: socket.socket, begun: bytes = b"", hangups: Hangups | None = None) -> None:
        """Begin.

        Args:
            connection: does not block.
            begun: what was read of it.
            hangups: tell when the other side goes while nothing is read of it.
        """
        super().__init__()
        self.hung_up: Callable[[], None] = _nothing
        self._waiting += begun
        self._connection = connection
        self._hangups = hangups
        self._attaching: asyncio.Task[object] | None = None
        self._is_bare = True
        self._is_closed = False

    def find_socket(self) -> socket.socket | None:
        """Return the socket, whosever it is by now; None where it was closed."""
        return self._connection if self._connection.fileno() >= 0 else None

    def watch(self) -> None:
        """Notice from now on that the other side goes, whatever is read of it."""
        if self._hangups is not None and (connection := self.find_socket()) is not None:
            self._hangups.watch(connection.fileno(), self._left)

    async def attach(self) -> None:
        """Have a transport read what comes.

        Raises:
            ConnectionResetError: there is no socket any more.
        """
        if self._attaching is None:
            if not self._is_bare:
                raise ConnectionResetError("it was closed, or given away")
            self._is_bare = False
            self.watch()
            loop = asyncio.get_running_loop()
            attaching = loop.connect_accepted_socket(lambda: self, self._connection)
            self._attaching = asyncio.Task(attaching, loop=loop, eager_start=True)
        if self.transport is None:
            await self._attaching

    async def detach(self) -> Side:
        """Give the socket away; see :meth:`Wire.detach`."""
        if self._is_bare:
            self._is_bare = False
            self.gone = _nothing
            side = Side(self._connection, self.take())
        else:
            if self._hangups is not None:
                self._hangups.forget(self._connection.fileno())
            side = await super().detach()
            self._connection = side.connection
        self.watch()
        return side

    async def read(self, seconds: float | None = None) -> bytes:
        """Return what has come; see :meth:`Wire.read`."""
        if not self._waiting and self.transport is None:
            await self.attach()
        return await super().read(seconds)

    async def write(self, data: bytes, seconds: float | None = None) -> None:
        """Send something; see :meth:`Wire.write`."""
        if self._is_bare:
            with contextlib.suppress(BlockingIOError):
                data = data[self._connection.send(data) :]
            if not data:
                return
        if self.transport is None:
            await self.attach()
        await super().write(data, seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to read, unless it has been closed meanwhile."""
        super().connection_made(transport)
        if self._is_closed:
            super().close()

    def close(self) -> None:
        """End, after what is on its way."""
        self._end_bare()
        super().close()

    def abort(self) -> None:
        """End at once."""
        self._end_bare()
        super().abort()

    def _end_bare(self) -> None:
        self._is_closed = True
        if self._is_bare:
            self._is_bare = False
            self._connection.close()

    def _left(self) -> None:
        if self._is_bare:
            self.leave()
        elif self.transport is None:
            self.hung_up()
        else:
            in_a_while(self.transport.abort)
