"""How often a hook takes a message: so many at once, and then as evenly as they come to that many a minute."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    room: float
    looked_at: float


class Pace:
    """Counts by hook. In memory: a restart forgets, which lets one more burst in."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, hook_id: str, per_minute: int) -> int:
        """Count a message; return 0, or in how many seconds there is room for it, which is then not counted."""
        now, most = self._now(), float(per_minute)
        bucket = self._buckets.setdefault(hook_id, _Bucket(most, now))
        bucket.room = min(most, bucket.room + (now - bucket.looked_at) * per_minute / 60)
        bucket.looked_at = now
        if bucket.room < 1:
            return max(1, math.ceil((1 - bucket.room) * 60 / per_minute))
        bucket.room -= 1
        return 0

    def forget(self, hook_id: str) -> None:
        """Forget a hook."""
        self._buckets.pop(hook_id, None)
