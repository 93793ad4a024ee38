"""What io.nanoclaw.Credentials carries. Never a secret's content, in this direction."""

from dataclasses import dataclass
from enum import StrEnum


class Taken(StrEnum):
    """Whether the service that a credential is for has it now."""

    RESTARTED = "restarted"
    """It runs with what is stored."""
    RESTARTING = "restarting"
    """It lets running answers end first; whoever asks it meanwhile waits."""
    STOPPED = "stopped"
    """It does not run, and takes it when it is started."""
    FAILED = "failed"
    """It could not be restarted."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A stored credential. ``consumer`` is the service that gets it."""

    name: str
    consumer: str
    stored_at: str | None
