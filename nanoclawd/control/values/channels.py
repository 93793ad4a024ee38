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
    DISABLED = "disabled"


class ChannelOrigin(StrEnum):
    """Where a channel comes from."""

    APPLIANCE = "appliance"
    """It is always there."""
    CONFIGURATION = "configuration"
    """It stands in config.yaml."""
    COMMAND = "command"
    """It was added by command."""
    BOTH = "both"
    """It was added by command and stands in config.yaml, which goes before."""


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, how it is, and what its platform can."""

    name: str
    type: str
    platform: str
    origin: ChannelOrigin
    state: ChannelState
    detail: str
    hint: str | None
    since: str
    next_try_at: str | None
    last_event_at: str | None
    last_error: str | None
    last_error_at: str | None
    backlog: int
    set_aside: int
    threads: bool
    buttons: bool
    edits: bool
    reactions: bool


@dataclass(frozen=True, slots=True)
class SetAsideEvent:
    """An event of the platform that was given up. ``raw`` is the beginning of what the platform has sent."""

    id: str
    at: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class ChannelQuestion:
    """An option that people are asked for."""

    option: str
    text: str
    hint: str | None
    default: str | None
    required: bool


@dataclass(frozen=True, slots=True)
class ChannelSetup:
    """What a type asks whoever adds a channel of it."""

    type: str
    secret: str | None
    hint: str | None
    questions: Sequence[ChannelQuestion]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat that a channel's account is in, and whose agents hear it."""

    chat: str
    name: str | None
    is_group: bool
    groups: Sequence[str]


class PairingState(StrEnum):
    """How a pairing is."""

    PAIRED = "paired"
    ENDED = "ended"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Pairing:
    """A code that whoever sends it to the account is paired by, and what has become of it."""

    id: str
    channel: str
    code: str
    link: str | None
    account: str | None
    expires_at: str
    state: PairingState
    reason: str | None
    user: str | None
    name: str | None
    role: str | None
    group: str | None
