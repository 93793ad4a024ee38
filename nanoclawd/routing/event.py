"""What comes in from a channel: messages and clicks, as the channel vouches for them."""

from dataclasses import dataclass, field
from enum import StrEnum

from nanoclaw_runner.contract.rows import Address


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote.

    Attributes:
        user_id: ``<platform>:<the platform's own id of the person>``; None where the channel knows none. Never made of
            a name that people can change (W-59).
        name: what is shown; may be anything.
    """

    user_id: str | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The message that a message answers."""

    text: str
    sender: str = ""
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class InboundFile:
    """A file that came with a message; it is fetched when an agent is to hear the message, and only then.

    Attributes:
        reference: what the channel's ``fetch`` knows it by, also after a restart.
        name: as the platform gives it; may be anything, or empty.
        media_type: what the platform says that it is.
        size: bytes, where the platform says so.
    """

    reference: str
    name: str = ""
    media_type: str = ""
    size: int | None = None


class Change(StrEnum):
    """What somebody did to an earlier message."""

    EDITED = "edited"
    DELETED = "deleted"
    REACTED = "reacted"


@dataclass(frozen=True, slots=True)
class Hook:
    """The program that a message is from: no person wrote it, and its secret has been checked.

    Attributes:
        source: the hook's name.
        event: what has happened there, in that program's word.
        group: the folder of the agent that it is for; empty: for each that hears the chat.
    """

    source: str
    event: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One message from a chat.

    Attributes:
        address: where it was written; ``channel_type`` is the channel's name in the configuration.
        message_id: the platform's own id, unique in its chat: the same event told twice has the same one.
        is_mention: the platform says that it is addressed to the agent (mention, reply to it, command for it).
        is_group: several people can write here; everything in a chat of two is addressed to the agent.
        chat_name: the chat's shown name, where the event carries it.
        timestamp: when the platform says it was written (ISO-8601).
        change: it is no message but a change of an earlier one: the text is the new one, nothing, or the emoji. It
            wakes nobody; agents that have the earlier message find it before their next turn. It has an id of its own.
        about: the platform's id of that earlier message.
        hook: it is from a program; the text is what that has sent. It engages its agent, and is no command or answer.
    """

    address: Address
    message_id: str
    text: str
    sender: Sender
    is_mention: bool = False
    is_group: bool = False
    chat_name: str | None = None
    timestamp: str | None = None
    quote: Quote | None = field(default=None)
    files: tuple[InboundFile, ...] = ()
    change: Change | None = None
    about: str | None = None
    hook: Hook | None = None

    @property
    def is_speech(self) -> bool:
        """Whether it is what a person says: only that can be a command, an answer, or ask for an approval."""
        return self.change is None and self.hook is None

    @property
    def is_addressed(self) -> bool:
        """Whether it is said to the agent: by mention, or because nobody else is there."""
        return self.is_mention or not self.is_group


@dataclass(frozen=True, slots=True)
class Click:
    """Somebody chose an option of a card by its button.

    Attributes:
        card_id: what the button carried: an approval's or a question's id.
        value: the option's value.
        user_id: who clicked, as in :class:`Sender`.
        address: where the card is.
    """

    card_id: str
    value: str
    user_id: str
    address: Address
    sender_name: str = ""
