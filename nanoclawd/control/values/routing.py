"""What io.nanoclaw.Routing carries."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a decision."""

    name: str
    outcome: str
    reason: str
    rule: str


@dataclass(frozen=True, slots=True)
class WiringDecision:
    """What one wiring makes of a message."""

    wiring: str
    group: str
    action: str
    reason: str
    session_mode: str
    thread: str | None
    session: str | None
    reply: str | None
    deciding: Step
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the router makes of a message."""

    message: str
    channel: str
    chat: str
    thread: str | None
    sender: str | None
    known: bool
    action: str
    reason: str
    answer: str | None
    reply: str | None
    deciding: Step
    steps: Sequence[Step]
    wirings: Sequence[WiringDecision]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A message that nobody has written, to be explained.

    Attributes:
        sender: a user in any form; empty for a message that names nobody.
        is_group: None: what is known of the chat.
    """

    channel: str
    chat: str
    thread: str | None
    sender: str
    text: str
    is_mention: bool
    is_group: bool | None


@dataclass(frozen=True, slots=True)
class DroppedSender:
    """Somebody whose messages were not heard in a chat."""

    channel: str
    chat: str
    user: str | None
    sender_name: str | None
    reason: str
    group: str | None
    message_count: int
    first_seen: str
    last_seen: str
