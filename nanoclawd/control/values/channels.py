"""What io.nanoclaw.Channels carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ChannelState(StrEnum):
    """How a channel is."""

    OK = "ok"
    STARTING = "starting"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, how it is, and what its platform can."""

    name: str
    platform: str
    state: ChannelState
    detail: str
    hint: str | None
    threads: bool
    buttons: bool
    edits: bool
    reactions: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat that a channel's account is in, and whose agents hear it."""

    chat: str
    name: str | None
    is_group: bool
    groups: Sequence[str]
