"""What a session needs from the layers above it: who delivers, who watches it work, and who says what its agent may."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.rows import Address, OutboundRow


@dataclass(frozen=True, slots=True)
class SessionRef:
    """A session's name and its own chat, if it has one.

    Attributes:
        group: the agent group's folder.
        address: None where the session belongs to no chat: an agent-shared one.
        agent_group_id: empty where the host itself speaks.
    """

    id: str
    group: str
    address: Address | None
    agent_group_id: str = ""

    def owns(self, address: Address) -> bool:
        """Tell whether a place is in the session's own chat: any thread of it."""
        own = self.address
        return own is not None and (own.channel_type, own.platform_id) == (address.channel_type, address.platform_id)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to deliver: opened, checked and bounded by the host. Whoever hands it out closes it after the delivery."""

    name: str
    size: int
    file: BinaryIO


@dataclass(frozen=True, slots=True)
class Text:
    """Words (Markdown, as the agent wrote them) and files."""

    text: str
    files: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class ShownCard:
    """A card. A button carries ``card_id`` and its option's number, which fits every platform's bound.

    One without options only shows something; nobody can answer it, and its id is empty.
    """

    card: Card
    card_id: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace a delivered message's text; where it was a card, its buttons go."""

    platform_message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Reaction:
    """React to a message with an emoji."""

    platform_message_id: str
    emoji: str


type Body = Text | ShownCard | Edit | Reaction


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to deliver: an agent's row, or the host's own notice.

    Attributes:
        id: the row's own id, the same at each attempt: the idempotency key where the platform has one.
        in_reply_to: the inbound message's id that this answers.
    """

    id: str
    body: Body
    address: Address
    timestamp: str
    in_reply_to: str | None
    is_notice: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """The platform has it, under this id where it gives one."""

    platform_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The platform has not taken it.

    Attributes:
        permanent: another attempt would fail the same way.
        retry_after: seconds that the platform asks to wait (429, flood wait); None: the host's own back-off.
    """

    reason: str
    permanent: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class PartialText:
    """The text so far of an answer that is being written."""

    in_reply_to: str
    text: str


@dataclass(frozen=True, slots=True)
class StatusText:
    """What the agent says it is doing; empty when it does nothing. From the container: not to be trusted."""

    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """The session waits for a place."""

    number: int
    reason: str


type Progress = PartialText | StatusText | Place


class DeliveryPort(Protocol):
    """Implemented by :mod:`nanoclawd.delivery`."""

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now. False costs nothing: somebody says when that has changed."""

    def at_once(self, address: Address) -> bool:
        """Tell whether what is delivered there again under its id is shown once, whenever that is and however often."""

    async def deliver(self, session: SessionRef | None, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once; bounded in time; never raises. Without a session it is the host's own message."""

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show what may be dropped. Never waits, never raises."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message is done with, after its answers were delivered. Never raises."""

    def working(self, session: SessionRef, address: Address) -> None:
        """Say that a session has waiting or claimed work for a chat: typing shows there until ``rested``.

        Again with the same chat does nothing, with another one moves the sign. Never waits, never raises.
        """

    def rested(self, session: SessionRef) -> None:
        """Say that a session has no work, or nobody to do it any more. Never waits, never raises."""


class HostRules(Protocol):
    """What an agent's rows may do, and who does it. Implemented by :mod:`nanoclawd.core`.

    A row may be handed in twice: the daemon may have died before it could note the first time.
    """

    async def may_write_to(self, session: SessionRef, address: Address) -> bool:
        """Tell whether the agent may write to a chat that is not its session's own."""

    async def question_asked(self, session: SessionRef, row_id: str, card: Card, address: Address) -> str:
        """Keep an agent's question so that it can be answered; return its card's id, the same for the same row.

        Raises:
            Unavailable: it can't be kept now; it is tried again.
            NanoclawError: it is refused, for the reason that the agent is told.
        """

    async def question_failed(self, session: SessionRef, row_id: str) -> None:
        """Forget a question whose card could not be delivered: nobody will answer it."""

    async def reported(self, session: SessionRef, row_id: str, content: Mapping[str, object]) -> None:
        """Write down what an agent reports; its content is the agent's, and may be anything.

        Raises:
            NanoclawError: it can't be written down now, or says nothing.
        """

    async def request(self, session: SessionRef, row: OutboundRow) -> None:
        """Do what a row of kind ``system`` asks for; its content is the agent's, and may be anything.

        Raises:
            Unavailable: it can't be done now; it is tried again.
            NanoclawError: it is refused, for the reason that the agent is told.
        """
