"""What io.nanoclaw.Chat carries."""

from dataclasses import dataclass
from enum import StrEnum


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
    """

    type: EventType
    id: str | None = None
    in_reply_to: str | None = None
    text: str = ""
    timestamp: str = ""
    state: TurnState | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted message."""

    message_id: str
    state: TurnState = TurnState.ACCEPTED
