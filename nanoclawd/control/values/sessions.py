"""What io.nanoclaw.Sessions carries."""

from dataclasses import dataclass
from enum import StrEnum


class SessionState(StrEnum):
    """Where a session is in its life; see io.nanoclaw.Sessions."""

    ASLEEP = "asleep"
    WAITING = "waiting"
    WAKING = "waking"
    AWAKE = "awake"
    STOPPING = "stopping"
    QUARANTINED = "quarantined"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as an operator sees it."""

    id: str
    group: str
    channel: str
    chat: str
    state: SessionState
    unit: str
    created_at: str
    last_active: str | None = None
    status: str | None = None
    reason: str | None = None
    place: int | None = None
    pending: int = 0
    thread: str | None = None
    mode: str = "shared"
