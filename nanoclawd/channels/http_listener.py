"""What other programs send by HTTP: one listener for all channels, each with paths of its own.

systemd holds the socket, so nobody is refused while the daemon restarts; the library that speaks HTTP is loaded by the
first connection, and costs no memory where nobody ever connects.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nanoclawd.channels.http_routes import MAX_BODY_BYTES, Conversation, Handler, Route
from nanoclawd.errors import AlreadyExists

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
"""At once. Further ones wait in the kernel's queue."""

_ACCEPT_AGAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a client may take: one connection carries one request.

    Attributes:
        receive_seconds: until its request is there as a whole.
        whole_seconds: until it has read the answer.
        stop_seconds: how long those that are connected may take when the daemon stops.
    """

    receive_seconds: float = 10.0
    whole_seconds: float = 30.0
    stop_seconds: float = 3.0


class HttpListener:
    """The listener, on the sockets that systemd has passed; without any, nobody ever comes.

    Implements :class:`~nanoclawd.channels.http_routes.HttpRoutes`.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._routes: dict[str, Route] = {}
        self._listeners: tuple[socket.socket, ...] = ()
        self._talks: set[asyncio.Task[None]] = set()
        self._loading: asyncio.Task[Conversation] | None = None
        self._accepting = False

    def register(self, path: str, handler: Handler, *, max_body: int = MAX_BODY_BYTES) -> None:
        """Take the requests for a path and all below it; see :class:`~nanoclawd.channels.http_routes.HttpRoutes`."""
        if path in self._routes:
            raise AlreadyExists(f"the path {path} is taken")
        self._routes[path] = Route(path, handler, max_body)

    def unregister(self, path: str) -> None:
        """Take no more requests for a path; again does nothing."""
        self._routes.pop(path, None)

    def find(self, path: str) -> tuple[Route, str] | None:
        """Return who answers requests for a path, and what of it is theirs to read."""
        above, rest = path, ""
        while above:
            if above in self._routes:
                return self._routes[above], rest
            above, _, last = above.rpartition("/")
            rest = f"{last}/{rest}" if rest else last
        return None

    def open(self, listeners: Sequence[socket.socket]) -> None:
        """Begin to answer on listening sockets, which are closed by :meth:`close`."""
        self._listeners = tuple(listeners)
        for listener in self._listeners:
            listener.setblocking(False)
        self._accept_more()

    async def close(self) -> None:
        """Accept no more, answer who is connected, hang up on who takes too long. Who waits is the next daemon's."""
        self._pause()
        for listener in self._listeners:
            listener.close()
        self._listeners = ()
        if not self._talks:
            return
        _, late = await asyncio.wait(self._talks, timeout=self._bounds.stop_seconds)
        for talk in late:
            talk.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _accept_more(self) -> None:
        if self._accepting or not self._listeners or len(self._talks) >= MAX_CONNECTIONS:
            return
        self._accepting = True
        for listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _pause(self) -> None:
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                asyncio.get_running_loop().remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        if len(self._talks) >= MAX_CONNECTIONS:
            self._pause()
            return
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors or memory left: the queue stays readable, so not at once again
            log.warning("a connection could not be accepted: %s", error)
            self._pause()
            asyncio.get_running_loop().call_later(_ACCEPT_AGAIN_SECONDS, self._accept_more)
            return
        talk = asyncio.get_running_loop().create_task(self._talk(connection))
        self._talks.add(talk)
        talk.add_done_callback(self._ended)

    def _ended(self, talk: asyncio.Task[None]) -> None:
        self._talks.discard(talk)
        self._accept_more()
        if not talk.cancelled() and (error := talk.exception()):
            log.error("a connection ended by a fault: %s", error, exc_info=error)

    async def _talk(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(self._bounds.whole_seconds):
                if self._loading is None:
                    self._loading = asyncio.create_task(self._load())
                converse = await asyncio.shield(self._loading)
                await converse(connection)
        except TimeoutError:
            log.info("a client of the HTTP listener took too long")
        finally:
            connection.close()

    async def _load(self) -> Conversation:
        """Load the library, in a thread: that takes a second on a small machine."""

        def load() -> Conversation:
            from nanoclawd.channels.http_server import HttpServer

            return HttpServer(self.find, loop, self._bounds.receive_seconds)

        loop = asyncio.get_running_loop()
        return await asyncio.to_thread(load)
