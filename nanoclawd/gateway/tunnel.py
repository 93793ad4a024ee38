"""Carries a tunnel's bytes both ways, until its permission ends, nobody says anything any more, or a side goes.

Between bare sockets: two transports of asyncio would take longer to begin than all else that a new tunnel needs, while
the caller has already been told that it is open.
"""

import asyncio
import socket
from dataclasses import dataclass
from functools import partial
from typing import Final

from nanoclawd.gateway.hangups import in_a_while
from nanoclawd.gateway.limits import is_within
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.wire import FLUSH_SECONDS, Side

PIECE_BYTES: Final = 64 * 1024
# One for all tunnels: a piece is sent on, or what is left of it is copied, before the next one is read.
_piece: Final = memoryview(bytearray(PIECE_BYTES))


@dataclass(slots=True)
class Carried:
    """What went through: bytes from the agent, bytes to it, and how it ended."""

    sent: int = 0
    received: int = 0
    outcome: str = "open"


class Tunnel:
    """Two connections that are one for those at their ends."""

    def __init__(self, permit: Permit, idle: float, agent: Side, host: Side) -> None:
        """Prepare.

        Args:
            permit: allows it.
            idle: seconds of silence after which it ends.
            agent: the caller's side, a socket that does not block.
            host: the other side, likewise.
        """
        self.carried = Carried()
        self._permit = permit
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._ends = _End(self, agent.connection, sends=True), _End(self, host.connection, sends=False)
        self._ends[0].other, self._ends[1].other = self._ends[1], self._ends[0]
        self._early = agent.early, host.early
        self._is_cut = False
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Carry until the end; then it has to be closed."""
        self._timer = self._loop.call_later(self._idle, self._look)
        try:
            for end, early in zip(self._ends, self._early, strict=True):
                end.read_on()
                if early:
                    self.pass_on(end, memoryview(early))
            await self._over
        finally:
            self._timer.cancel()

    def close(self) -> None:
        """Close both connections, after what is on its way to them."""
        for end in self._ends:
            end.close(at_once=self._is_cut)

    def pass_on(self, source: "_End", data: memoryview) -> None:
        """Hand on what one side has said, unless that is not allowed any more."""
        if self._over.done():
            return
        if not self._permit.holds():
            self._cut("withdrawn")
            return
        if source.sends:
            self.carried.sent += len(data)
        else:
            self.carried.received += len(data)
        if not is_within(self._permit, self.carried.sent, self.carried.received):
            self._cut("too_large")
            return
        self._last = self._loop.time()
        source.other.send(data)

    def hung_up(self) -> None:
        """The agent has gone; what it has sent may still be on its way."""
        in_a_while(partial(self._cut, "closed"))

    def end(self, outcome: str) -> None:
        """End it; the first reason counts."""
        if not self._over.done():
            self.carried.outcome = outcome
            self._over.set_result(None)

    def _cut(self, outcome: str) -> None:
        """End it, without what is on its way."""
        self._is_cut = True
        self.end(outcome)

    def _look(self) -> None:
        quiet = self._loop.time() - self._last
        if quiet >= self._idle:
            self.end("idle")
            return
        self._timer = self._loop.call_later(self._idle - quiet, self._look)


class _End:
    """One side: what cannot be sent to it waits here, and nothing is read of the other one meanwhile."""

    def __init__(self, tunnel: Tunnel, connection: socket.socket, *, sends: bool) -> None:
        self.sends = sends
        self.other: _End
        self._tunnel = tunnel
        self._connection = connection
        self._number = connection.fileno()
        self._waiting = bytearray()
        self._loop = asyncio.get_running_loop()
        self._closing: asyncio.TimerHandle | None = None

    def read_on(self) -> None:
        """Read what comes."""
        if self._closing is None and self._connection.fileno() >= 0:
            self._loop.add_reader(self._number, self._read)

    def send(self, data: memoryview) -> None:
        """Send, or have it wait."""
        if not self._waiting:
            try:
                data = data[self._connection.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._tunnel.end("broken")
                return
            if not data:
                return
            self._loop.add_writer(self._number, self._flush)
            self._loop.remove_reader(self.other._number)  # noqa: SLF001  # the same class
        self._waiting += data

    def close(self, *, at_once: bool) -> None:
        """Close it, after what waits; a side that takes nothing does not keep it open."""
        self._loop.remove_reader(self._number)
        if at_once or not self._waiting:
            self._close()
            return
        self._closing = self._loop.call_later(FLUSH_SECONDS, self._close)

    def _read(self) -> None:
        try:
            count = self._connection.recv_into(_piece)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._tunnel.end("broken")
            return
        if count:
            self._tunnel.pass_on(self, _piece[:count])
        else:
            self._tunnel.end("closed")

    def _flush(self) -> None:
        try:
            del self._waiting[: self._connection.send(self._waiting)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._waiting.clear()
            self._tunnel.end("broken")
        if self._waiting:
            return
        self._loop.remove_writer(self._number)
        if self._closing is None:
            self.other.read_on()
        else:
            self._close()

    def _close(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._loop.remove_writer(self._number)
        self._connection.close()
