"""When a failed request is asked again, and after how long: the endpoint's own hints first, within bounds of ours."""

import math
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

TRANSIENT: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""HTTP statuses after which the same request may succeed."""

LIMITED: Final = 429
OVERLOADED: Final = frozenset({503, 529})
MAX_ATTEMPTS: Final = 6
MAX_UNREACHABLE_ATTEMPTS: Final = 3
"""Where nobody answers at all: what is to be mended then does not mend itself within a minute."""

MAX_WAITING_SECONDS: Final = 120.0
"""All the waiting for one answer. Who is told to come back later than this is told so, and the person too."""

FIRST_PAUSE_SECONDS: Final = 1.0
_SPREAD: Final = 0.25
_MINUTE: Final = 60.0
_MINUTES_FROM: Final = 90.0


class Patience:
    """What is left of it for one request.

    Attributes:
        attempts: how often it has failed.
        waited: seconds, together.
    """

    def __init__(self, seconds: float = MAX_WAITING_SECONDS) -> None:
        """Begin.

        Args:
            seconds: of waiting, at most.
        """
        self._seconds = seconds
        self.attempts = 0
        self.waited = 0.0

    def next_pause(self, hint: float | None, *, most: int = MAX_ATTEMPTS) -> float | None:
        """Count a failure, and return for how many seconds to wait before asking again; None: it is to be given up.

        Args:
            hint: seconds that the endpoint asks for.
            most: attempts.
        """
        self.attempts += 1
        if self.attempts >= most:
            return None
        pause = hint
        if pause is None:
            # Spread, so that the sessions of a house that were refused together do not come back together.
            pause = FIRST_PAUSE_SECONDS * 2 ** (self.attempts - 1) * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311  # no secret
        if self.waited + pause > self._seconds:
            return None
        self.waited += pause
        return pause


def may_retry(status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether a refused request may be asked again; the endpoint's own word counts more than its status."""
    own_word = headers.get("x-should-retry")
    if own_word in {"true", "false"}:
        return own_word == "true"
    return status in TRANSIENT


def hint_of(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds for which an endpoint asks to be left alone, None where it does not say.

    Args:
        headers: of its answer, by lower-case names.
        now: the present time, with its zone.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return max(seconds * unit, 0.0)
    try:
        when = parsedate_to_datetime(headers.get("retry-after") or "")
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max((when - (now or datetime.now(UTC))).total_seconds(), 0.0)


def spoken(seconds: float) -> str:
    """Return a time for a sentence."""
    if seconds >= _MINUTES_FROM:
        return f"{math.ceil(seconds / _MINUTE)} minutes"
    whole = max(math.ceil(seconds), 1)
    return "1 second" if whole == 1 else f"{whole} seconds"


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
