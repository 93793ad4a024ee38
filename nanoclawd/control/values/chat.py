"""What io.nanoclaw.Chat carries."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec


class EventType(StrEnum):
    """What a chat event is; see io.nanoclaw.Chat. ``attached`` is the control layer's own."""

    ATTACHED = "attached"
    MESSAGE = "message"
    NOTICE = "notice"
    PARTIAL = "partial"
    STATUS = "status"
    WAITING = "waiting"
    TURN = "turn"


class TurnState(StrEnum):
    """How far a message has come. ``completed`` only once its answers were delivered."""

    ACCEPTED = "accepted"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChatFile:
    """A file that an agent has sent; its name is the agent's, and the size is in bytes."""

    id: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """Something that a chat screen shows.

    Attributes:
        type: what it is.
        id: of a message or notice: its id, the same each time it is shown.
        in_reply_to: id of the person's message that this is about.
        text: the words; empty for a turn.
        timestamp: when it came to be.
        state: of a turn: how it ended.
        place: of a waiting message: its session's place in the queue, from 1.
        files: of a message; what is in them is to be downloaded.
    """

    type: EventType
    id: str | None = None
    in_reply_to: str | None = None
    text: str = ""
    timestamp: str = ""
    state: TurnState | None = None
    place: int | None = None
    files: tuple[ChatFile, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that goes with a person's message.

    Attributes:
        upload: what the client called it when it sent the bytes.
        name: what the agent sees; may be anything.
    """

    upload: Annotated[str, msgspec.Meta(max_length=128)]
    name: Annotated[str, msgspec.Meta(max_length=1024)]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """How many bytes of a file have come."""

    size: int


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file in base64, empty after its end; the size is the whole file's, in bytes."""

    name: str
    size: int
    data: str


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted message."""

    message_id: str
    state: TurnState = TurnState.ACCEPTED
