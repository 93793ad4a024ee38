"""The container's end of the doorbell: rings either way, and the text of an answer while it is written.

Several connections can come one after the other (the daemon restarts): all are read, the newest is written to. A ring
that does not fit into a full socket is sent when there is room; a partial is dropped.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator

from nanoclaw_runner.contract.doorbell import (
    MAX_FRAME_BYTES,
    MAX_PARTIALS_PER_SECOND,
    RING,
    Partial,
    decode,
    encode_partial,
)

_log = logging.getLogger(__name__)

RING_SPACING_SECONDS = 0.005
"""Rings closer together than this become one: the host ends a session that sends a thousand frames a second."""

PARTIAL_DELAY_SECONDS = 0.03
"""Nobody sees so short a wait, and an answer that is whole by then wakes nobody for a part of it."""

_FRAMES_PER_TURN_OF_LOOP = 64


class Doorbell:
    """Serves the listening socket on the running loop."""

    def __init__(self, listening: socket.socket, on_ring: Callable[[], None]) -> None:
        """Prepare; nothing is accepted before :meth:`open`.

        Args:
            listening: the passed socket, non-blocking.
            on_ring: called for each ring and each new connection ("look again").
        """
        self._listening = listening
        self._listeners = [on_ring]
        self._connections: list[socket.socket] = []
        self._loop = asyncio.get_running_loop()
        self._waiting_for_room: socket.socket | None = None
        self._unheard = False
        self._ring_timer: asyncio.TimerHandle | None = None
        self._last_ring = float("-inf")
        self._partial: Callable[[], Partial | None] | None = None
        self._partial_timer: asyncio.TimerHandle | None = None
        self._last_partial = float("-inf")

    def listen(self, on_ring: Callable[[], None]) -> None:
        """Have something else called as well, for each ring and each new connection."""
        self._listeners.append(on_ring)

    def open(self) -> None:
        """Begin to accept connections; the one that started this container waits already."""
        self._loop.add_reader(self._listening.fileno(), self._accept)
        self._accept()

    def ring(self) -> None:
        """Tell the host to look again; without a connection the next one is rung when it is accepted.

        That the host looks when it connects is not enough: it may have connected, looked and found nothing while its
        connection was still waiting to be accepted.
        """
        if self._ring_timer is not None:
            return
        due = self._last_ring + RING_SPACING_SECONDS
        if due <= self._loop.time():
            self._send_ring()
            return
        self._ring_timer = self._loop.call_at(due, self._send_ring)

    def show(self, partial: Callable[[], Partial | None]) -> None:
        """Show the text so far; only the latest of a tenth of a second is made and sent.

        Args:
            partial: called when it is to be sent; returns None where there is nothing to show.
        """
        self._partial = partial
        if self._partial_timer is None:
            due = max(self._last_partial + 1 / MAX_PARTIALS_PER_SECOND, self._loop.time() + PARTIAL_DELAY_SECONDS)
            self._partial_timer = self._loop.call_at(due, self._send_partial)

    def forget_partial(self) -> None:
        """Drop what has not been shown yet: its answer is written."""
        self._partial = None
        if self._partial_timer is not None:
            self._partial_timer.cancel()
            self._partial_timer = None

    def _accept(self) -> None:
        for connection in self._arrivals():
            connection.setblocking(False)
            self._connections.append(connection)
            self._loop.add_reader(connection.fileno(), self._read, connection)
            self._rung()
        # Only now: of those that arrived together, the newest is the one that is listened to.
        if self._unheard:
            self._send_ring()

    def _arrivals(self) -> Iterator[socket.socket]:
        while True:
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                _log.warning("doorbell: %s", error)
                return
            yield connection

    def _read(self, connection: socket.socket) -> None:
        rung = False
        for _ in range(_FRAMES_PER_TURN_OF_LOOP):
            try:
                frame = connection.recv(MAX_FRAME_BYTES + 1)
            except BlockingIOError:
                break
            except OSError:
                frame = b""
            if not frame:
                self._drop(connection)
                break
            try:
                rung = decode(frame) is None or rung
            except ValueError as error:
                _log.warning("doorbell: %s", error)
        if rung:
            self._rung()

    def _rung(self) -> None:
        for listener in self._listeners:
            listener()

    def _drop(self, connection: socket.socket) -> None:
        if connection not in self._connections:
            return
        self._loop.remove_reader(connection.fileno())
        if self._waiting_for_room is connection:
            self._stop_waiting()
        self._connections.remove(connection)
        connection.close()

    def _send_ring(self) -> None:
        self._ring_timer = None
        self._unheard = True
        while self._connections:
            connection = self._connections[-1]
            if self._waiting_for_room is connection:
                return
            try:
                connection.send(RING)
            except BlockingIOError:
                self._wait_for_room(connection)
                return
            except OSError:
                self._drop(connection)
                continue
            self._last_ring = self._loop.time()
            self._unheard = False
            return

    def _wait_for_room(self, connection: socket.socket) -> None:
        self._stop_waiting()
        self._waiting_for_room = connection
        self._loop.add_writer(connection.fileno(), self._has_room)

    def _has_room(self) -> None:
        self._stop_waiting()
        self._send_ring()

    def _stop_waiting(self) -> None:
        if self._waiting_for_room is None:
            return
        self._loop.remove_writer(self._waiting_for_room.fileno())
        self._waiting_for_room = None

    def _send_partial(self) -> None:
        self._partial_timer = None
        make, self._partial = self._partial, None
        partial = make() if make is not None and self._connections else None
        if partial is None:
            return
        self._last_partial = self._loop.time()
        try:
            self._connections[-1].send(encode_partial(partial))
        except BlockingIOError:
            return
        except OSError:
            self._drop(self._connections[-1])
