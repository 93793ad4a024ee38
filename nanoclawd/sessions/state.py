"""Where a session is in its life, as others may see it."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Self


class Phase(Enum):
    """A session's place in its state machine."""

    ASLEEP = "asleep"
    WAITING = "waiting"
    WAKING = "waking"
    AWAKE = "awake"
    STOPPING = "stopping"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A session at one moment. ``status`` is the container's own word: not to be trusted."""

    phase: Phase = Phase.ASLEEP
    since: str = ""
    status: str = ""
    reason: str = ""
    place: int | None = None

    def with_status(self, status: str) -> Self:
        """Return the same with another status text."""
        return replace(self, status=status)

    def placed(self, place: int, reason: str) -> Self:
        """Return the same with a place in the queue."""
        return replace(self, place=place, reason=reason)
