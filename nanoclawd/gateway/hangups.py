"""Notices callers that have gone while nothing is read from them, because nobody takes what they have sent.

A loop of asyncio looks at a connection only while it reads or writes there: a caller that filled a host's ear and was
killed would keep its group's place for as long as the host says nothing. The kernel tells a hang-up without reading.
"""

import asyncio
import select
from typing import Final

FLUSH_SECONDS: Final = 10.0
"""What a caller has sent before it left may still go on its way for so long."""


class Hangups:
    """Ends connections some time after their other side has closed both of its directions."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watched: dict[int, asyncio.Transport] = {}
        self._loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, transport: asyncio.Transport) -> None:
        """Watch a connection until it is closed on this side."""
        number = transport.get_extra_info("socket").fileno()
        # No event is asked for; a hang-up is told always. A closed descriptor leaves the set by itself.
        self._epoll.register(number, 0)
        self._watched[number] = transport

    def close(self) -> None:
        """Watch no more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watched.clear()

    def _look(self) -> None:
        for number, _ in self._epoll.poll(0):
            self._epoll.unregister(number)
            transport = self._watched.pop(number)
            if not transport.is_closing():
                self._loop.call_later(FLUSH_SECONDS, transport.abort)
