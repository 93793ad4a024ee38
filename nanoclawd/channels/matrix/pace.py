"""How long the Matrix channel waits for the homeserver."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds.

    Attributes:
        long_poll: so long the server may keep a sync open while nothing happens.
        grace: and so much longer its answer may take before the connection counts as dead.
        first_sync: the first one, which tells all rooms, may take so long.
        request: any other request.
        longest_pause: between two attempts to sync; the first is after one second.
        key_patience: a key may come so long after what it opens; then people are told.
    """

    long_poll: float = 30.0
    grace: float = 20.0
    first_sync: float = 600.0
    request: float = 30.0
    longest_pause: float = 60.0
    key_patience: float = 10.0
