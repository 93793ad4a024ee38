"""Carries a tunnel's bytes both ways, until its permission ends, nobody says anything any more, or a side goes."""

import asyncio
from dataclasses import dataclass
from typing import Final

from nanoclawd.gateway.limits import is_within
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.wire import Wire, close

PIECE_BYTES: Final = 64 * 1024
# One for all tunnels: a piece is handed on, or copied, before the next one is read.
_piece: Final = memoryview(bytearray(PIECE_BYTES))


@dataclass(slots=True)
class Carried:
    """What went through: bytes from the agent, bytes to it, and how it ended."""

    sent: int = 0
    received: int = 0
    outcome: str = "open"


class Tunnel:
    """Two connections that are one for those at their ends."""

    def __init__(self, permit: Permit, idle: float) -> None:
        self.carried = Carried()
        self._permit = permit
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._agent = _End(self, sends=True)
        self._host = _End(self, sends=False)
        self._agent.other, self._host.other = self._host, self._agent
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, agent: Wire, host: Wire, early: bytes) -> Carried:
        """Carry until the end.

        Args:
            agent: the caller's side; what it has been to its connection, the tunnel is from now on.
            host: the other side, likewise.
            early: what the agent has sent already.
        """
        begun = ((self._agent, agent, early + agent.take()), (self._host, host, host.take()))
        for end, wire, _ in begun:
            if wire.transport is None or wire.transport.is_closing():
                self.end("closed")
                continue
            end.transport = wire.transport
            wire.transport.set_protocol(end)
        for end, wire, waiting in begun:
            if waiting:
                self.pass_on(end, waiting)
            if wire.ended:
                self.end("closed")
            elif wire.transport is not None and not wire.transport.is_closing():
                wire.transport.resume_reading()
        self._timer = self._loop.call_later(self._idle, self._look)
        try:
            await self._over
        finally:
            self._timer.cancel()
            self._close()
        return self.carried

    def pass_on(self, source: "_End", data: bytes) -> None:
        """Hand on what one side has said, unless that is not allowed any more."""
        target = source.other.transport
        if target is None or self._over.done():
            return
        if not self._permit.holds():
            self.end("withdrawn")
            return
        if source.sends:
            self.carried.sent += len(data)
        else:
            self.carried.received += len(data)
        if not is_within(self._permit, self.carried.sent, self.carried.received):
            self.end("too_large")
            return
        self._last = self._loop.time()
        target.write(data)

    def end(self, outcome: str) -> None:
        """End it; the first reason counts."""
        if not self._over.done():
            self.carried.outcome = outcome
            self._over.set_result(None)

    def _look(self) -> None:
        quiet = self._loop.time() - self._last
        if quiet >= self._idle:
            self.end("idle")
            return
        self._timer = self._loop.call_later(self._idle - quiet, self._look)

    def _close(self) -> None:
        cut = self.carried.outcome in ("withdrawn", "too_large")
        for transport in (self._agent.transport, self._host.transport):
            if transport is None:
                continue
            if cut:
                transport.abort()
            else:
                close(transport)


class _End(asyncio.BufferedProtocol):
    def __init__(self, tunnel: Tunnel, *, sends: bool) -> None:
        self.sends = sends
        self.other: _End
        self.transport: asyncio.Transport | None = None
        self._tunnel = tunnel

    def get_buffer(self, _size: int) -> memoryview:
        return _piece

    def buffer_updated(self, count: int) -> None:
        self._tunnel.pass_on(self, bytes(_piece[:count]))

    def pause_writing(self) -> None:
        if self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        self._tunnel.end("closed")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._tunnel.end("broken" if error is not None else "closed")
