"""What io.nanoclaw.Hooks carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hook:
    """Where other programs reach an agent. See the interface for the fields."""

    name: str
    group: str
    channel: str
    chat: str
    auth: str
    header: str
    rate: int
    enabled: bool
    url: str
    listening: bool
    accepted: int
    last_at: str | None
    created_by: str
    created_at: str


@dataclass(frozen=True, slots=True)
class HookSettings:
    """What a new hook is to be like. None: not given."""

    to: str | None = None
    auth: str | None = None
    header: str | None = None
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class HookWithSecret:
    """A hook, what lets a request in, and the command to type next where nothing listens yet."""

    hook: Hook
    secret: str
    next: str | None
