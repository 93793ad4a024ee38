"""WebSocket through the door: once both sides have agreed, bytes go both ways, and those from the host are searched."""

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from typing import Final

import h11

from nanoclawd.gateway.door.redaction import Redactor
from nanoclawd.gateway.limits import is_within
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.secure import Line
from nanoclawd.gateway.tunnel import Carried

WEBSOCKET: Final = b"websocket"
# Extensions change what is in a frame: what is packed can't be searched.
_LEFT_OUT: Final = (b"sec-websocket-extensions",)
_VERSION: Final = b"13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""

_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_SHORT_HEAD_BYTES: Final = 2
_LONGER: Final = {126: 2, 127: 8}


def asked_key(request: h11.Request) -> bytes | None:
    """Return the key of a request that wants to become a WebSocket, None where it does not."""
    headers = dict(request.headers)
    words = [word.strip().lower() for word in headers.get(b"connection", b"").split(b",")]
    has_body = b"content-length" in headers or b"transfer-encoding" in headers
    wants = headers.get(b"upgrade", b"").strip().lower() == WEBSOCKET and b"upgrade" in words
    version, key = headers.get(b"sec-websocket-version"), headers.get(b"sec-websocket-key")
    return key if wants and request.method == b"GET" and not has_body and version == _VERSION else None


def headers_of_request(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers by which the host is asked for it."""
    kept = [pair for pair in headers if pair[0].lower() not in _LEFT_OUT]
    return [*kept, (b"Connection", b"Upgrade"), (b"Upgrade", WEBSOCKET)]


def is_agreed(event: h11.InformationalResponse, key: bytes) -> bool:
    """Tell whether the host's answer makes it one, as it was asked for.

    A host that has not understood what it was asked for would take what comes next for requests, which nobody judged.
    """
    found = dict(event.headers)
    if found.get(b"upgrade", b"").lower() != WEBSOCKET or b"sec-websocket-extensions" in found:
        return False
    proof = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return found.get(b"sec-websocket-accept") == proof


class Frames:
    """Walks over what a host sends, frame by frame, and searches what is in them.

    What is held back goes on with the end of its frame: somebody may wait for it. So a secret that a host spreads over
    several frames is not found.
    """

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._redactor = Redactor(needles)
        self._head = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """Return what can go on.

        Raises:
            ConnectionResetError: a host does not send such frames.
        """
        found = []
        at = 0
        while at < len(data):
            if not self._left:
                self._head += data[at : at + 1]
                at += 1
                if (length := _length(self._head)) is not None:
                    found.append(self._head)
                    self._head, self._left = b"", length
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            found.append(self._redactor.feed(piece))
            if not self._left:
                found.append(self._redactor.end())
        return b"".join(found)


def _length(head: bytes) -> int | None:
    """Return how long what is behind a frame's head is, None where the head is not whole (RFC 6455, 5.2).

    Raises:
        ConnectionResetError: it is packed or masked, which a host has not been asked for.
    """
    if len(head) < _SHORT_HEAD_BYTES:
        return None
    if head[0] & _RESERVED or head[1] & _MASKED:
        raise ConnectionResetError("such a frame is not for an agent")
    more = _LONGER.get(head[1], 0)
    if len(head) < _SHORT_HEAD_BYTES + more:
        return None
    return int.from_bytes(head[_SHORT_HEAD_BYTES:]) if more else head[1]


class Upgraded:
    """Carries both ways until a side goes, nothing is said for long, or the permission ends."""

    def __init__(self, permit: Permit, needles: Sequence[bytes], idle: float) -> None:
        self.carried = Carried()
        self._permit = permit
        self._frames = Frames(needles)
        self._idle = idle
        self._last = asyncio.get_running_loop().time()

    async def run(self, agent: Line, host: Line, early: tuple[bytes, bytes]) -> None:
        """Carry.

        Args:
            agent: the caller's side.
            host: the other side.
            early: what each of them has sent already.
        """
        both = (
            asyncio.create_task(self._carry(agent, host, early[0], to_agent=False)),
            asyncio.create_task(self._carry(host, agent, early[1], to_agent=True)),
        )
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _carry(self, source: Line, target: Line, early: bytes, *, to_agent: bool) -> None:
        data = early
        try:
            while True:
                if data and not await self._hand_on(target, data, to_agent=to_agent):
                    return
                data = await self._heard(source)
                if not data:
                    self._end("closed")
                    return
        except TimeoutError:
            self._end("idle")
        except ConnectionError:
            self._end("broken")

    async def _hand_on(self, target: Line, data: bytes, *, to_agent: bool) -> bool:
        if not self._permit.holds():
            self._end("withdrawn")
            return False
        if to_agent:
            self.carried.received += len(data)
            data = self._frames.feed(data)
        else:
            self.carried.sent += len(data)
        if not is_within(self._permit, self.carried.sent, self.carried.received):
            self._end("too_large")
            return False
        if data:
            await target.write(data, self._idle)
        return True

    async def _heard(self, source: Line) -> bytes:
        """Return what a side has said next; its silence counts only where the other one is silent, too.

        Raises:
            TimeoutError: both are.
        """
        loop = asyncio.get_running_loop()
        while True:
            left = self._last + self._idle - loop.time()
            try:
                data = await source.read(max(left, 0.001))
            except TimeoutError:
                if loop.time() - self._last >= self._idle:
                    raise
                continue
            self._last = loop.time()
            return data

    def _end(self, outcome: str) -> None:
        if self.carried.outcome == "open":
            self.carried.outcome = outcome
