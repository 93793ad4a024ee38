"""What a session needs from the layer above it: somebody who delivers, and somebody who watches it work."""

from dataclasses import dataclass
from typing import BinaryIO, Protocol

from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.rows import Address


@dataclass(frozen=True, slots=True)
class SessionRef:
    """A session's name and its own chat, if it has one."""

    id: str
    group: str
    address: Address | None


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
    """A card with buttons. A button carries ``card_id`` and its option's number, which fits every platform's bound."""

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

    async def deliver(self, session: SessionRef, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once; bounded in time; never raises."""

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show what may be dropped. Never waits, never raises."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message is done with, after its answers were delivered. Never raises."""
