"""Stands before aiohttp's server, which keeps every header that comes, and bounds what is no body.

A head, trailers, and what is sent behind a request that is being answered cost thirty times their bytes once parsed.
So what has come must be body but for a bounded rest, else the connection ends. Bodies have a bound and flow control of
their own.
"""

import asyncio
from typing import Final

from aiohttp import web

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_REST_BYTES: Final = 64 * 1024
_MOST_FRAMING: Final = 8
"""Bytes of framing for each byte of a body: chunks of one byte have five."""

_END: Final = b"\r\n\r\n"
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"error": {"message": "the head of the request is too large", "type": "head_too_large"}}'
)


class Guard(asyncio.Protocol):
    """Hands everything on to another protocol, within the bounds."""

    def __init__(self, inner: asyncio.Protocol, begun: bytes = b"") -> None:
        """Prepare.

        Args:
            inner: behind it.
            begun: what was read of the connection before.
        """
        self._inner = inner
        self._begun = begun
        self._transport: asyncio.Transport | None = None
        self._head = bytearray()
        self._head_is_over = False
        self._request: web.BaseRequest | None = None
        self._received = self._delivered = 0

    def begin(self, request: web.BaseRequest) -> None:
        """A request is being answered from now on."""
        self._request = request
        self._received, self._delivered = 0, request.content.total_bytes
        if self._head:
            # It came between two requests, and is of this one.
            waiting = bytes(self._head)
            self._head.clear()
            self._inner.data_received(waiting)

    def end(self) -> None:
        """It was answered."""
        self._request = None
        self._head_is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # a stream's
        self._inner.connection_made(transport)
        if self._begun:
            self.data_received(self._begun)
            self._begun = b""

    def data_received(self, data: bytes) -> None:
        """Count it, and hand it on where it is not too much."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._request is None and not self._head_is_over:
            data = self._more_head(data)
            if not data:
                return
        self._inner.data_received(data)
        if self._request is None:
            return
        self._received += len(data)
        body = self._request.content.total_bytes - self._delivered
        if self._received - body > MAX_REST_BYTES + _MOST_FRAMING * body:
            self._transport.abort()

    def eof_received(self) -> bool | None:
        """Hand it on."""
        return self._inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """Hand it on."""
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """Hand it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand it on."""
        self._inner.resume_writing()

    def _more_head(self, data: bytes) -> bytes:
        """Keep what has come of a head; return it with what is behind it, once it is whole."""
        seen = max(0, len(self._head) - len(_END) + 1)
        self._head += data
        # Empty lines before a request are no end of one.
        skipped = len(self._head) - len(self._head.lstrip(b"\r\n"))
        end = self._head.find(_END, max(seen, skipped))
        if (end if end >= 0 else len(self._head)) > MAX_HEAD_BYTES:
            if self._transport is not None:
                self._transport.write(_TOO_LARGE)
                self._transport.close()
            return b""
        if end < 0:
            return b""
        found = bytes(self._head)
        self._head.clear()
        self._head_is_over = True
        return found
