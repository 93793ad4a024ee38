"""Rate limits: a bucket for each route and channel, and one for everything.

Rate Limits: "Per-route rate limits exist for many individual endpoints, and may include the HTTP method …  top-level
resources … channels (channel_id)"; "All bots can make up to 50 requests per second to our API".
"""

import time
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Limit:
    """So many requests in so many seconds."""

    count: int
    seconds: float


@dataclass
class _Bucket:
    limit: Limit
    began: float = 0.0
    used: int = 0

    def left(self, now: float) -> int:
        if now >= self.began + self.limit.seconds:
            self.began, self.used = now, 0
        return self.limit.count - self.used


@dataclass
class Buckets:
    """All buckets of a bot.

    Attributes:
        routes: limits by the route's name; others have ``other``.
        everything: the global limit.
        exceeded: how often a request was one too many, by route.
    """

    routes: dict[str, Limit] = field(default_factory=lambda: {"POST messages": Limit(5, 5.0)})
    other: Limit = field(default_factory=lambda: Limit(50, 1.0))
    everything: Limit = field(default_factory=lambda: Limit(50, 1.0))
    exceeded: dict[str, int] = field(default_factory=dict)
    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)

    def take(self, route: str, major: str) -> tuple[dict[str, str], float, bool]:
        """Count a request; returns its headers, how long it would have to wait (0: it may go on), and for all routes.

        Header Examples: X-RateLimit-Limit, -Remaining, -Reset, -Reset-After, -Bucket; on a 429 also Retry-After,
        X-RateLimit-Global and -Scope.
        """
        now = time.time()
        while self._recent and self._recent[0] <= now - self.everything.seconds:
            self._recent.popleft()
        if len(self._recent) >= self.everything.count:
            self.exceeded["global"] = self.exceeded.get("global", 0) + 1
            wait = self._recent[0] + self.everything.seconds - now
            return {"X-RateLimit-Global": "true", "X-RateLimit-Scope": "global"}, max(wait, 0.001), True
        limit = self.routes.get(route, self.other)
        bucket = self._buckets.setdefault((route, major), _Bucket(limit))
        left = bucket.left(now)
        wait = bucket.began + limit.seconds - now
        if left > 0:
            bucket.used += 1
            self._recent.append(now)
        else:
            self.exceeded[route] = self.exceeded.get(route, 0) + 1
        headers = {
            "X-RateLimit-Limit": str(limit.count),
            "X-RateLimit-Remaining": str(max(left - 1, 0)),
            "X-RateLimit-Reset": f"{bucket.began + limit.seconds:.3f}",
            "X-RateLimit-Reset-After": f"{max(wait, 0.001):.3f}",
            "X-RateLimit-Bucket": f"{abs(hash(route)):x}"[:16],
        }
        if left > 0:
            return headers, 0.0, False
        return headers | {"X-RateLimit-Scope": "user"}, max(wait, 0.001), False
