"""What io.nanoclaw.Requests carries."""

from dataclasses import dataclass
from typing import Literal

type RequestOutcome = Literal["asked", "allowed", "denied", "expired", "unreachable", "crowded"]


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """A request that waits. See the interface for the fields."""

    id: str
    group: str
    session: str | None
    rule: int
    scheme: str | None
    host: str
    port: int
    method: str | None
    path: str | None
    preview: str
    seconds: float
    outside: str | None = None


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """What became of it. See the interface for the fields."""

    outcome: RequestOutcome
    approval: str = ""
    until: float | None = None
    words: str = ""
