"""One control connection on the wire: NUL-terminated frames in and out, every buffer and wait bounded."""

import asyncio
from typing import cast

from nanoclawd.control.api import ClientGone
from nanoclawd.control.bounds import Bounds

_NUL = b"\0"
_LINGER_SECONDS = 1.0


class FrameError(Exception):
    """What the client sent is no frame; the connection is to be closed after saying so."""


class Wire(asyncio.Protocol):
    """Splits what arrives into frames and hands out frames to write.

    An asyncio.Protocol and not a StreamReader, because a stream has to notice that its client left while nobody reads.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._scanned = 0
        self._half_frame: asyncio.TimerHandle | None = None
        self._fault: FrameError | None = None
        self._eof = False
        self._discarding = False
        self._arrived = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self.gone = asyncio.Event()
        """Set once the client has left or sends no more."""
        self.lost = asyncio.Event()
        """Set once the connection is closed."""
        self.transport: asyncio.Transport

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; every write is reported as flushed only when the kernel has all of it."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Keep the bytes; stop reading while a complete call waits and enough came after it."""
        if self._discarding or self._fault:
            return
        self._buffer += data
        self._look_at_front()

    def eof_received(self) -> bool:
        """Note that no more calls will come; those that came are still answered."""
        self._eof = True
        self._arrived.set()
        self.gone.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # whatever it was, the client is gone
        """End every wait."""
        self._stop_clock()
        self._eof = True
        for event in (self._arrived, self._flushed, self.gone, self.lost):
            event.set()

    def pause_writing(self) -> None:
        """Note that the client does not read fast enough."""
        self._flushed.clear()

    def resume_writing(self) -> None:
        """Note that all was handed to the client."""
        self._flushed.set()

    # What the connection's task calls.

    async def next_frame(self) -> bytes | None:
        """Return the next frame; None when no more will come.

        Raises:
            FrameError: the rest of what came is not a frame.
            TimeoutError: none came in time.
        """
        async with asyncio.timeout(self._bounds.idle_seconds):
            while (end := self._end_of_front()) < 0 and not self._fault and not self._eof:
                self._arrived.clear()
                await self._arrived.wait()
        if end >= 0:
            frame = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            self._look_at_front()
            return frame
        if self._buffer and not self._fault:
            raise FrameError("the last call has no end")
        if self._fault:
            raise self._fault
        return None

    async def send(self, frame: bytes) -> None:
        """Write a frame and wait until the kernel has it.

        Raises:
            ClientGone: the client left, or did not read it in time; the connection is closed then.
        """
        self._write(frame)
        try:
            async with asyncio.timeout(self._bounds.write_seconds):
                await self._flushed.wait()
        except TimeoutError:
            self.transport.abort()
            raise ClientGone("the client did not read in time") from None
        if self.lost.is_set():
            raise ClientGone("the client left")

    def send_now(self, frame: bytes) -> bool:
        """Write a frame if nothing waits before it; tell whether that was so."""
        if not self._flushed.is_set() or self.lost.is_set():
            return False
        self._write(frame)
        return True

    def end(self) -> None:
        """Take no more calls, and let streams end as if the client had left."""
        self._discarding = True
        self._buffer.clear()
        self._stop_clock()
        self.eof_received()

    async def close(self) -> None:
        """Close so that the last frame is read: say the end, throw away what still comes, then hang up."""
        if not self.lost.is_set():
            self._discarding = True
            self._buffer.clear()
            self._stop_clock()
            self.transport.resume_reading()
            try:
                async with asyncio.timeout(_LINGER_SECONDS):
                    await self._flushed.wait()
                    if self.transport.can_write_eof() and not self.lost.is_set():
                        self.transport.write_eof()
                    await self.gone.wait()
            except TimeoutError:
                pass
        self.transport.abort()

    def _write(self, frame: bytes) -> None:
        if self.lost.is_set() or self.transport.is_closing():
            raise ClientGone("the client left")
        self.transport.write(frame + _NUL)

    def _end_of_front(self) -> int:
        """Return where the first call in the buffer ends; -1 when its end has not come. Looks at each byte once."""
        end = self._buffer.find(_NUL, self._scanned)
        self._scanned = len(self._buffer) if end < 0 else end
        return end

    def _look_at_front(self) -> None:
        """Decide after every change of the buffer: read on or not, and whether the client may take its time."""
        end = self._end_of_front()
        if (end if end >= 0 else len(self._buffer)) > self._bounds.frame_bytes:
            self._break_off(f"a call has {self._bounds.frame_bytes // 1024} KiB at most, with all that is in it")
            return
        if end >= 0:
            self._stop_clock()
            if len(self._buffer) > self._bounds.read_ahead_bytes:
                self.transport.pause_reading()
            self._arrived.set()
            return
        self.transport.resume_reading()
        if self._buffer and self._half_frame is None:
            self._half_frame = self._loop.call_later(self._bounds.half_frame_seconds, self._on_half_frame)

    def _on_half_frame(self) -> None:
        self._break_off(f"a call must be complete within {self._bounds.half_frame_seconds:g} seconds")

    def _break_off(self, why: str) -> None:
        self._fault = FrameError(why)
        self._buffer.clear()
        self._scanned = 0
        self._stop_clock()
        self._arrived.set()

    def _stop_clock(self) -> None:
        if self._half_frame is not None:
            self._half_frame.cancel()
            self._half_frame = None
