"""[FAQ, "My bot is hitting limits, how do I avoid this?"]

"In a single chat, avoid sending more than one message per second … eventually you'll begin receiving 429 errors." "In a
group, bots are not able to send more than 20 messages per minute." "For bulk notifications, bots are not able to
broadcast
more than about 30 messages per second".
"""

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from .rules import ApiError


@dataclass
class Limits:
    """How many messages may be sent in how many seconds. Each that was refused is counted.

    Attributes:
        chat: in one chat; "We may allow short bursts that go over this limit": so many at once.
    """

    chat: tuple[int, float] = (1, 1.0)
    group: tuple[int, float] = (20, 60.0)
    overall: tuple[int, float] = (30, 1.0)
    is_on: bool = True
    refused: int = 0
    _sent: dict[object, deque[float]] = field(default_factory=dict)

    def take(self, chat: dict[str, Any]) -> None:
        """Count a message.

        Raises:
            ApiError: it is one too many. [ResponseParameters, retry_after] "In case of exceeding flood control, the
            number of
                seconds left to wait before the request can be repeated"; whole seconds.
        """
        if not self.is_on:
            return
        now = time.monotonic()
        rules: list[tuple[object, tuple[int, float]]] = [(("chat", chat["id"]), self.chat), ("overall", self.overall)]
        if chat["type"] != "private":
            rules.append((("group", chat["id"]), self.group))
        waits = [self._wait(key, rule, now) for key, rule in rules]
        if max(waits) > 0:
            self.refused += 1
            seconds = max(1, math.ceil(max(waits)))
            raise ApiError(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
        for key, _ in rules:
            self._sent[key].append(now)

    def _wait(self, key: object, rule: tuple[int, float], now: float) -> float:
        most, seconds = rule
        sent = self._sent.setdefault(key, deque())
        while sent and sent[0] <= now - seconds:
            sent.popleft()
        return 0.0 if len(sent) < most else sent[len(sent) - most] + seconds - now
