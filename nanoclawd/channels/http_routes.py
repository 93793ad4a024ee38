"""What the HTTP listener and those behind its paths say to each other. It knows no library of HTTP."""

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

MAX_BODY_BYTES: Final = 256 * 1024
"""Of one request, unless a path is registered for less. Bodies are held in memory until their request is answered."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, received as a whole.

    Attributes:
        path: what follows the registered path, without a slash before it: ``work`` of ``/hooks/work``; often empty.
        headers: their names in lower case; of one that came twice the first.
        query: likewise, decoded.
        body: as it was sent, which signatures are made of.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    Attributes:
        content: sent as JSON; None: no body.
    """

    status: int
    content: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


type Handler = Callable[[Request], Awaitable[Reply]]
"""Answers a request. What it raises is a 500, and logged without the request."""


class HttpRoutes(Protocol):
    """What a channel sees of the listener."""

    def register(self, path: str, handler: Handler, *, max_body: int = MAX_BODY_BYTES) -> None:
        """Take the requests for a path and all below it.

        Args:
            path: begins with a slash and ends without: ``/telegram/work``.
            handler: answers them.
            max_body: bytes; a longer body is answered with 413.

        Raises:
            AlreadyExists: somebody has this path.
        """

    def unregister(self, path: str) -> None:
        """Take no more requests for a path; again does nothing."""


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers requests for a path."""

    path: str
    handler: Handler
    max_body: int


class Conversation(Protocol):
    """Speaks HTTP over an accepted connection."""

    async def __call__(self, connection: socket.socket) -> None:
        """Return when it is over, in whichever way; closes the connection."""
