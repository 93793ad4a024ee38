"""What a method of an interface is, and how it answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec

type Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""A name in a call. Whether it keeps its rule is for the core to say."""

type Reference = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
"""What names an object in any form: an id, a beginning of one, a name; platforms' own ids can be long."""

type Word = Annotated[str, msgspec.Meta(max_length=256)]
"""A setting; which words there are is for the core to say."""

type Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]

DEFAULT_LIMIT = 200


class Parameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Base of what a method is called with."""


class NoParameters(Parameters, frozen=True):
    """What a method without parameters is called with."""


class Listing(Parameters, frozen=True, kw_only=True):
    """Base of what a bounded list is asked for with."""

    limit: Limit | None = None

    @property
    def bound(self) -> int:
        """How many are listed."""
        return DEFAULT_LIMIT if self.limit is None else self.limit


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
    """A method with one reply: ``run(caller, parameters)`` returns its parameters.

    The caller is a Peer; of the methods that an agent may call, any Caller.

    ``check`` raises what is plainly wrong with parameters before anybody is asked to allow the call. ``topic(caller,
    parameters)`` likewise, and returns what the call is about: a group's agents have that asked about once, whatever
    else they say with it, and not again soon after it was refused. ``chosen(caller, parameters, choice)`` takes the
    place of ``run`` where whoever is asked has more than yes and no to choose from.
    """

    parameters: type[Parameters]
    run: Callable[[Any, Any], Awaitable[object]]
    check: Callable[[Any], object] | None = None
    topic: Callable[[Any, Any], Awaitable[str]] | None = None
    chosen: Callable[[Any, Any, str], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class Streaming:
    """A method that must be called with ``more``: ``run(peer, parameters, replies)`` writes them."""

    parameters: type[Parameters]
    run: Callable[[Any, Any, Replies], Awaitable[None]]


type Methods = Mapping[str, Unary | Streaming]
"""By full name, e.g. ``io.nanoclaw.Groups.List``."""
