"""Counts what is sent to a platform, so that its limit is kept whatever the way there does to the distances."""

import math
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    """So many in so many seconds.

    Each counts from its beginning on and until so long after its end: whenever in between it has arrived.
    """

    most: int
    seconds: float
    under_way: int = 0
    ended: deque[float] = field(default_factory=deque)

    @property
    def used(self) -> int:
        """How many count now, as of the last look."""
        return len(self.ended) + self.under_way

    def wait(self, now: float) -> float:
        """Return how long to wait, in seconds; infinite where one of those under way has to end first."""
        while self.ended and self.ended[0] <= now - self.seconds:
            self.ended.popleft()
        over = self.used - self.most
        if over < 0:
            return 0.0
        return self.ended[over] + self.seconds - now if over < len(self.ended) else math.inf

    def begin(self) -> None:
        """Count one more."""
        self.under_way += 1

    def end(self) -> None:
        """One of them has arrived, or never will."""
        self.under_way -= 1
        self.ended.append(time.monotonic())
