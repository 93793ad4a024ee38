"""What io.nanoclaw.Chats, Wirings and Destinations carry: where agents hear and where they may speak."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Chat:
    """One conversation on one channel; ``chat`` is the platform's id of it."""

    id: str
    channel: str
    chat: str
    name: str | None
    is_group: bool
    unknown_sender_policy: str
    denied_at: str | None
    denied_by: str | None
    groups: Sequence[str]
    created_at: str


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """A chat's changeable columns. None: not given (create: the default; update: as it was)."""

    name: str | None = None
    is_group: bool | None = None
    unknown_sender_policy: str | None = None


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which agent hears a chat, and when."""

    id: str
    channel: str
    chat: str
    chat_name: str | None
    group: str
    session_mode: str
    priority: int
    engage_mode: str
    engage_pattern: str | None
    sender_scope: str
    ignored_message_policy: str
    created_at: str


@dataclass(frozen=True, slots=True)
class WiringSettings:
    """A wiring's changeable columns. None: not given (create: what suits the chat; update: as it was)."""

    session_mode: str | None = None
    priority: int | None = None
    engage_mode: str | None = None
    engage_pattern: str | None = None
    sender_scope: str | None = None
    ignored_message_policy: str | None = None


class DestinationType(StrEnum):
    """What a destination is."""

    CHANNEL = "channel"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Destination:
    """Something that an agent may write to, under the agent's own name for it."""

    group: str
    name: str
    type: DestinationType
    channel: str | None
    chat: str | None
    agent: str | None
    display_name: str | None
    created_at: str
