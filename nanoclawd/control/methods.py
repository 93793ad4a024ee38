"""What a method of an interface is, and how it answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec

from nanoclawd.control.values import Peer

type Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A name or id in a call. Whether it keeps its rule is for the core to say."""


class Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of what a method is called with."""


class NoParameters(Parameters, frozen=True):
    """What a method without parameters is called with."""


class Replies(Protocol):
    """Where a streaming method puts its replies."""

    async def send(self, parameters: object, *, last: bool = False) -> None:
        """Write a reply and wait until the client's socket has it.

        Raises:
            ClientGone: the client left, or did not read in time.
        """

    def send_now(self, parameters: object) -> bool:
        """Write a reply if nothing waits before it; tell whether that was so."""


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one reply: ``run(peer, parameters)`` returns its parameters."""

    parameters: type[Parameters]
    run: Callable[[Peer, Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Streaming:
    """A method that must be called with ``more``: ``run(peer, parameters, replies)`` writes them."""

    parameters: type[Parameters]
    run: Callable[[Peer, Any, Replies], Awaitable[None]]


type Methods = Mapping[str, Unary | Streaming]
"""By full name, e.g. ``io.nanoclaw.Groups.List``."""
