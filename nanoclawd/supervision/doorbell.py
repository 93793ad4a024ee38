"""The host's end of a session's doorbell: one SOCK_SEQPACKET connection, rings both ways, bounded."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from nanoclaw_runner.contract.doorbell import MAX_FRAME_BYTES, MAX_FRAMES_PER_SECOND, RING, Partial, decode

log = logging.getLogger(__name__)

_FRAMES_PER_CALLBACK: Final = 64
"""So many are read before other work gets its turn."""


@dataclass(frozen=True, slots=True)
class DoorbellEvents:
    """Whom a doorbell tells. Called from the event loop; must not block."""

    rung: Callable[[], None]
    partial: Callable[[Partial], None]
    closed: Callable[[], None]
    broken: Callable[[str], None]
    """The container broke a bound: the text says which."""


class Doorbell:
    """A connected doorbell. ``closed`` is called once, also after :meth:`close`'s opposite: the container's end."""

    def __init__(self, connection: socket.socket, events: DoorbellEvents) -> None:
        self._socket = connection
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._window_start = self._loop.time()
        self._window_frames = 0
        self._ring_waits = False
        self._open = True
        self._loop.add_reader(connection.fileno(), self._on_readable)

    @classmethod
    async def connect(cls, path: Path, events: DoorbellEvents) -> Self:
        """Connect; systemd starts the container if it isn't there.

        Raises:
            OSError: nobody listens at the path.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            connection.connect(str(path))
        except BaseException:
            connection.close()
            raise
        return cls(connection, events)

    def ring(self) -> None:
        """Say "look again". Never blocks, never lost: a full queue already says it, and is tried again."""
        if not self._open:
            return
        try:
            self._socket.send(RING)
        except BlockingIOError:
            # The runner reads its rings late. It will look when it reads any of those that wait.
            if not self._ring_waits:
                self._ring_waits = True
                self._loop.add_writer(self._socket.fileno(), self._on_writable)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                log.warning("doorbell: %s", error)
            self._hang_up()

    def close(self) -> None:
        """Hang up without telling anybody."""
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._socket.fileno())
        if self._ring_waits:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _hang_up(self) -> None:
        if self._open:
            self.close()
            self._events.closed()

    def _on_writable(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._ring_waits = False
        self.ring()

    def _on_readable(self) -> None:
        rung = False
        last_partial: Partial | None = None
        for _ in range(_FRAMES_PER_CALLBACK):
            try:
                frame = self._socket.recv(MAX_FRAME_BYTES + 1)
            except BlockingIOError:
                break
            except OSError:
                frame = b""
            if not frame:
                self._tell(rung, last_partial)
                self._hang_up()
                return
            if not self._within_pace():
                self._break(f"more than {MAX_FRAMES_PER_SECOND} doorbell frames in a second")
                return
            try:
                partial = decode(frame)
            except ValueError as error:
                self._break(str(error))
                return
            last_partial = partial or last_partial
            rung = rung or partial is None
        self._tell(rung, last_partial)

    def _tell(self, rung: bool, partial: Partial | None) -> None:
        if partial is not None:
            self._events.partial(partial)
        if rung:
            self._events.rung()

    def _within_pace(self) -> bool:
        now = self._loop.time()
        if now - self._window_start >= 1.0:
            self._window_start = now
            self._window_frames = 0
        self._window_frames += 1
        return self._window_frames <= MAX_FRAMES_PER_SECOND

    def _break(self, reason: str) -> None:
        if self._open:
            self.close()
            self._events.broken(reason)
            self._events.closed()
