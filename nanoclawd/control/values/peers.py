"""What io.nanoclaw.Peers carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeerLink:
    """That one agent may write to another. See the interface for the fields."""

    group: str
    peer: str
    name: str
    back: str
    messages: int
    last_at: str | None
