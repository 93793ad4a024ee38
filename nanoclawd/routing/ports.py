"""What the router needs from the layers above it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from nanoclaw_runner.contract.rows import Address
from nanoclawd.routing.decision import CardAnswer
from nanoclawd.routing.event import InboundEvent
from nanoclawd.sessions.received import Received
from nanoclawd.store.chats import Chat, Wiring


class Abilities(Protocol):
    """The part of a channel's capabilities that routing depends on."""

    @property
    def threads(self) -> bool:
        """A thread is a conversation of its own."""

    @property
    def buttons(self) -> bool:
        """Cards have buttons, so that no text is taken for an answer."""


class Approvals(Protocol):
    """Implemented by :mod:`nanoclawd.permissions`. Every method may be called again for the same event."""

    async def sender_unknown(self, event: InboundEvent, chat: Chat, wiring: Wiring, group: str) -> None:
        """Ask whether a person may talk to an agent; keep the message. Once for each agent that it was said to."""

    async def chat_unknown(self, event: InboundEvent, chat: Chat) -> None:
        """Ask which agent a chat is to have; keep the message."""

    async def answer(self, event: InboundEvent, answer: CardAnswer) -> None:
        """Carry out what a text has chosen, and tell the outcome where it was written."""

    async def name_given(self, event: InboundEvent, approval_id: str) -> None:
        """Go on with a registration that waited for this text as a name."""


class HostWords(Protocol):
    """The appliance's own messages. Implemented by :mod:`nanoclawd.delivery.outbox`."""

    async def post(self, message_id: str, address: Address, text: str, in_reply_to: str | None = None) -> bool:
        """Keep a text and deliver it; False when this id was posted before."""


type Subscribe = Callable[[Address], Awaitable[None]]
"""Have a platform send everything of a thread from now on."""

type AbilitiesOf = Callable[[str], Abilities]
"""A channel's abilities by its name; of an unknown channel, those of one that can nothing."""

type Refusal = Callable[[str, str], str | None]
"""Why an agent (by its group's id and folder) takes nothing now, in words for whoever asks it; None: it does."""

type Fetch = Callable[[InboundEvent], AbstractAsyncContextManager[tuple[Received, ...]]]
"""Have a message's files at hand while it is stored; one that can't be had is there with the reason. Never raises."""
