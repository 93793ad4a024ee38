"""Notices callers that have gone while nothing is read from them, because nobody takes what they have sent.

A loop of asyncio looks at a connection only while it reads or writes there: a caller that filled a host's ear and was
killed would keep its group's place for as long as the host says nothing. The kernel tells a hang-up without reading.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final

FLUSH_SECONDS: Final = 10.0
"""What a caller has sent before it left may still go on its way for so long."""


class Hangups:
    """Tells when the other side of a connection has closed both of its directions."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, number: int, hung_up: Callable[[], None]) -> None:
        """Watch a connection until it is closed on this side.

        Args:
            number: its descriptor's; whatever is watched under this number already is this connection.
            hung_up: called once.
        """
        # No event is asked for; a hang-up is told always. A closed descriptor leaves the set by itself.
        try:
            self._epoll.register(number, 0)
        except FileExistsError:
            return
        self._watched[number] = hung_up

    def forget(self, number: int) -> None:
        """Watch a connection no more, whose descriptor is about to be given another number."""
        if self._watched.pop(number, None) is not None:
            self._epoll.unregister(number)

    def close(self) -> None:
        """Watch no more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._watched.clear()

    def _look(self) -> None:
        for number, _ in self._epoll.poll(0):
            self._epoll.unregister(number)
            self._watched.pop(number)()


def in_a_while(end: Callable[[], None]) -> None:
    """End a connection whose other side has hung up, after what may be on its way."""
    asyncio.get_running_loop().call_later(FLUSH_SECONDS, end)
