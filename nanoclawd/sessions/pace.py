"""How often a container may have the host look for nothing, and for how long it may work on one thing.

A ring costs a container nothing and the host a read of its database. Those that lead to something are free and renew
the stock of others; when that is used up there are a few a second, so that no container takes the processor from other
sessions.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from nanoclaw_runner.contract.clock import now, parse

STOCK: Final = 50
LOOKS_PER_SECOND: Final = 20
ALARM_SECONDS: Final = 60.0


class LookPace:
    """The stock of fruitless looks of one container. Times are seconds of the event loop's clock."""

    def __init__(self) -> None:
        self._stock = float(STOCK)
        self._counted_at = 0.0

    def fruitful(self) -> None:
        """Note a look that found something."""
        self._stock = float(STOCK)

    def fruitless(self, now: float) -> float:
        """Count a look that found nothing; returns for how many seconds not to look again."""
        self._stock = min(STOCK, self._stock + (now - self._counted_at) * LOOKS_PER_SECOND) - 1
        self._counted_at = now
        return max(0.0, -self._stock / LOOKS_PER_SECOND)


class TurnBound:
    """The daemon's own bound on a turn's wall time: a watchdog is only as honest as the container that feeds it."""

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._seconds = seconds
        self._over = over
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A turn is under way; it may be known already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._over)

    def end(self) -> None:
        """It has ended, or made progress."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Alarm:
    """Rings at a time of the wall clock while a container is awake: what is asleep has the timer of all sessions."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def at(self, moment: str | None) -> None:
        """Ring at a moment, or not at all; the last word holds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if moment is not None:
            wait = (parse(moment) - now()).total_seconds()
            # A clock that is set meanwhile is noticed after a minute.
            self._timer = asyncio.get_running_loop().call_later(min(max(wait, 0.0), ALARM_SECONDS), self._ring)
