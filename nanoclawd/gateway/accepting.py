"""Accepts connections as bare sockets: who needs a transport of asyncio gets one later, beside what has been begun."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Final

_PAUSE_SECONDS: Final = 1.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = logging.getLogger(__name__)


class Accepting:
    """Accepts on a listening socket until it is closed here; the socket itself stays open, it is its owner's."""

    def __init__(self, listening: socket.socket, accepted: Callable[[socket.socket], None]) -> None:
        """Begin.

        Args:
            listening: bound.
            accepted: gets each connection, which does not block.
        """
        self._listening = listening
        self._accepted = accepted
        self._loop = asyncio.get_running_loop()
        self._pausing: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(socket.SOMAXCONN)
        self._resume()

    def close(self) -> None:
        """Accept no more."""
        if self._pausing is not None:
            self._pausing.cancel()
        self._loop.remove_reader(self._listening.fileno())

    def _resume(self) -> None:
        self._pausing = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        # One in each turn of the loop: those who are here already are served in between.
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            log.error("no connection can be accepted for a moment: %s", error.strerror)  # noqa: TRY400
            self._loop.remove_reader(self._listening.fileno())
            self._pausing = self._loop.call_later(_PAUSE_SECONDS, self._resume)
            return
        connection.setblocking(False)
        self._accepted(connection)
