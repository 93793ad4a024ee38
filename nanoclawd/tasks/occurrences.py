"""When things are due, in the owner's zone: pure functions.

A pattern whose hours are all hours means real time: "every minute" and "at half past each hour" run at every such
moment, twice in the hour that exists twice. Every other pattern means times of day: one that exists twice runs once, at
the first; one that does not exist on a day (its clocks go forward over it) runs once, right after the gap.
"""

import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, takewhile
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from nanoclawd.errors import Refused

MAX_CRON_CHARACTERS: Final = 200
FARTHEST: Final = timedelta(days=366 * 50)
"""No task is planned for a time farther away."""

TOLERANCE: Final = timedelta(seconds=60)
"""A time that has just gone by counts as now: whoever wrote it took a moment."""

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
_EVENING: Final = 21
_ALL_HOURS: Final = frozenset(range(24))
_FIELDS: Final = "minute hour day-of-month month day-of-week"
_CLOCK = re.compile(r"(?:(today|tomorrow)(?:\s+at)?\s+|at\s+)?(\d{1,2}):(\d\d)", re.IGNORECASE)
_AWAY = re.compile(
    r"(?:in\s+|\+\s*)(\d{1,6})\s*(s|sec|m|min|h|d|w|seconds?|minutes?|hours?|days?|weeks?)", re.IGNORECASE
)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def zone_of(name: str) -> ZoneInfo:
    """Return a zone by its IANA name, UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def check_cron(expression: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first occurrence of a pattern after a moment.

    Raises:
        Refused: it is no pattern, or one that never fires.
    """
    words = " ".join(expression.split())
    if not words or len(words) > MAX_CRON_CHARACTERS:
        raise Refused(f"a cron pattern has five fields ({_FIELDS}) and {MAX_CRON_CHARACTERS} characters at most")
    try:
        found = next_after(words, zone, after)
    except (CronSimError, AssertionError, ValueError) as error:
        raise Refused(
            f"{words!r} is no cron pattern: {error or 'it can not be read'}; its fields are {_FIELDS}"
        ) from None
    if found is None:
        raise Refused(f"{words!r} never fires: there is no such day")
    return found


def next_after(expression: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Return a pattern's first occurrence after a moment, in UTC; None where there is none for 50 years.

    Raises:
        CronSimError: it is no pattern.
    """
    return next(upcoming(expression, zone, after), None)


def upcoming(expression: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield a pattern's occurrences after a moment, in UTC, without end where it has none. Raises as above."""
    walls = CronSim(expression, after.astimezone(zone).replace(tzinfo=None))
    # Times of day never go back while moments go on: what is not after the local time is not after the moment.
    is_real = walls.hours == _ALL_HOURS
    found = _moments(walls, zone, after) if is_real else (instant(wall, zone) for wall in walls)
    last = after
    for moment in found:
        if moment > last:
            last = moment
            yield moment


def between(expression: str, zone: ZoneInfo, first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the occurrences after a moment, up to and with another."""
    return takewhile(lambda moment: moment <= last, upcoming(expression, zone, first))


def latest_until(expression: str, zone: ZoneInfo, first: datetime, last: datetime) -> datetime:
    """Return the last occurrence that is not after ``last``; ``first`` is one itself.

    Found by looking back in growing steps: a task that was asleep for a year may have missed half a million.
    """
    back = timedelta(hours=1)
    while (start := last - back) > first:
        newest = deque(between(expression, zone, start, last), maxlen=1)
        if newest:
            return newest.pop()
        back *= 4
    return deque(chain([first], between(expression, zone, first, last)), maxlen=1).pop()


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment of a local time: the first of two, and the end of the gap for one that does not exist."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # By the offset before the gap the time lies behind it, by less than the gap is long.
    skipped = moment.astimezone(zone).replace(tzinfo=None) - wall
    before = wall.replace(tzinfo=zone, fold=0).utcoffset()
    low, high = 0, int(skipped.total_seconds())
    while low + 1 < high:
        middle = (low + high) // 2
        if (moment - timedelta(seconds=middle)).astimezone(zone).utcoffset() == before:
            high = middle
        else:
            low = middle
    return moment - timedelta(seconds=low)


def parse_time(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Read what somebody writes as a time, in UTC and whole seconds.

    With an offset it is taken as it is, without one as the owner's local time. Also understood: ``2026-12-01`` (the
    day's beginning), ``09:00`` (the next), ``tomorrow 09:00``, ``in 20 minutes``, ``now``.

    Raises:
        Refused: it can't be read, or is no time to plan for.
    """
    words = " ".join(text.split())
    moment = _relative(words, zone, now) or _absolute(words, zone)
    if moment is None:
        raise Refused(
            f"{words[:60]!r} is no time: write 2026-12-01 09:00, 2026-12-01T09:00+01:00, 09:00, tomorrow 09:00 or"
            " in 20 minutes"
        )
    if moment < now - TOLERANCE:
        raise Refused(f"{shown(moment, zone)} is in the past: it is {shown(now, zone)} now")
    if moment > now + FARTHEST:
        raise Refused(f"{shown(moment, zone)} is more than 50 years away")
    return moment


def shown(moment: datetime, zone: ZoneInfo) -> str:
    """Return a moment for people: local, with the zone's short name.

    >>> shown(datetime(2026, 7, 1, 7, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    '2026-07-01 09:00 CEST'
    """
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S %Z}" if local.second else f"{local:%Y-%m-%d %H:%M %Z}"


def _moments(pattern: CronSim, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the moments at which the clock shows a minute of the pattern, on its days, at whatever hour."""
    moment = after.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
    last = moment + FARTHEST
    while moment < last:
        wall = moment.astimezone(zone)
        if wall.month not in pattern.months or not pattern.match_day(wall.date()):
            # On to the evening, then hour by hour: a day may begin at one o'clock.
            hours = _EVENING - wall.hour if wall.hour < _EVENING else 1
            moment += timedelta(minutes=60 * hours - wall.minute)
            continue
        if wall.minute in pattern.minutes:
            yield moment
        moment += _MINUTE


def _relative(words: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    if words.lower() == "now":
        return _whole(now)
    away = _AWAY.fullmatch(words)
    if away is not None:
        return _whole(now + timedelta(seconds=int(away[1]) * _SECONDS[away[2][0].lower()]))
    clock = _CLOCK.fullmatch(words)
    if clock is None or int(clock[2]) > 23 or int(clock[3]) > 59:  # noqa: PLR2004  # of a clock
        return None
    day = now.astimezone(zone).replace(tzinfo=None, hour=int(clock[2]), minute=int(clock[3]), second=0, microsecond=0)
    if (clock[1] or "").lower() == "tomorrow":
        return instant(day + _DAY, zone)
    today = instant(day, zone)
    return today if clock[1] or today > now else instant(day + _DAY, zone)


def _absolute(words: str, zone: ZoneInfo) -> datetime | None:
    try:
        found = datetime.fromisoformat(words)
        return _whole(found.astimezone(UTC) if found.tzinfo else instant(found.replace(microsecond=0), zone))
    except (ValueError, OverflowError):
        return None


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
