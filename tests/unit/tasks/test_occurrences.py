"""When things are due, against an oracle that knows nothing of the library: it looks at every minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoclawd.errors import Refused
from nanoclawd.tasks.occurrences import (
    between,
    check_cron,
    instant,
    latest_until,
    next_after,
    parse_time,
    shown,
    upcoming,
)

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


# Each zone with a day on which its clocks are set: forward, back, at midnight, by half an hour, by a whole day.
CHANGES = [
    ("Europe/Berlin", day("2026-03-29")),
    ("Europe/Berlin", day("2026-10-25")),
    ("America/New_York", day("2026-03-08")),
    ("America/New_York", day("2026-11-01")),
    ("Australia/Lord_Howe", day("2026-04-05")),
    ("Australia/Lord_Howe", day("2026-10-04")),
    ("Asia/Beirut", day("2026-03-29")),
    ("Asia/Beirut", day("2026-10-25")),
    ("Pacific/Apia", day("2011-12-30")),
    ("Asia/Kolkata", day("2026-03-29")),
    ("UTC", day("2026-03-29")),
]


def field(lowest: int, highest: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field of a pattern, and the numbers that it means."""
    number = st.integers(lowest, highest)

    def span(ends: tuple[int, int]) -> tuple[str, frozenset[int]]:
        first, last = sorted(ends)
        return f"{first}-{last}", frozenset(range(first, last + 1))

    return st.one_of(
        st.just(("*", frozenset(range(lowest, highest + 1)))),
        st.integers(2, 20).map(lambda step: (f"*/{step}", frozenset(range(lowest, highest + 1, step)))),
        st.lists(number, min_size=1, max_size=4).map(lambda few: (",".join(map(str, few)), frozenset(few))),
        st.tuples(number, number).map(span),
    )


@st.composite
def patterns(draw: st.DrawFn) -> tuple[str, frozenset[int], frozenset[int]]:
    """A pattern of times of day, with its minutes and hours; days are the library's own affair."""
    minute, minutes = draw(field(0, 59))
    hour, hours = draw(field(0, 23))
    return f"{minute} {hour} * * *", minutes, hours


@cache
def clock(name: str, first: datetime, last: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Every minute between two moments, with what a clock on the wall shows."""
    zone = ZoneInfo(name)

    def minutes() -> Iterator[tuple[datetime, datetime]]:
        moment = first
        while moment <= last:
            yield moment, moment.astimezone(zone).replace(tzinfo=None)
            moment += MINUTE

    return tuple(minutes())


def oracle(
    name: str, minutes: frozenset[int], hours: frozenset[int], first: datetime, last: datetime
) -> list[datetime]:
    """What runs after the first moment until the last: looked up on the wall, minute by minute."""
    seen = clock(name, first - timedelta(days=2), last)
    runs: set[datetime] = set()
    walls: set[datetime] = set()
    before: datetime | None = None
    for moment, wall in seen:
        if len(hours) == 24:
            if wall.minute in minutes:
                runs.add(moment)
            continue
        # Each time that the clock shows for the first time, and those that it jumps over.
        passed = [wall] if wall not in walls else []
        if before is not None and wall > before + MINUTE:
            jumped = before + MINUTE
            while jumped < wall:
                passed.append(jumped)
                jumped += MINUTE
        walls.add(wall)
        before = wall
        if any(one.minute in minutes and one.hour in hours for one in passed):
            runs.add(moment)
    return sorted(moment for moment in runs if first < moment <= last)


@settings(max_examples=200, deadline=None)
@given(change=st.sampled_from(CHANGES), pattern=patterns(), start=st.integers(0, 30 * 60))
def test_a_pattern_runs_when_the_clock_on_the_wall_says_so(
    change: tuple[str, datetime], pattern: tuple[str, frozenset[int], frozenset[int]], start: int
):
    """W-41: over a change of the clocks each time of day runs once; what each hour has runs at each real hour."""
    name, changed = change
    expression, minutes, hours = pattern
    zone = ZoneInfo(name)
    base = (changed - timedelta(days=1)).replace(tzinfo=zone).astimezone(UTC).replace(second=0)
    base -= timedelta(minutes=base.minute)
    first, last = base + timedelta(minutes=start), base + timedelta(days=4)
    expected = oracle(name, minutes, hours, first, last)
    assert list(between(expression, zone, first, last)) == expected
    # Step by step it is the same: what is stored as the next occurrence depends on the one before only.
    found, moment = [], first
    while len(found) < min(len(expected), 40):
        moment = next_after(expression, zone, moment)  # type: ignore[assignment]
        found.append(moment)
    assert found == expected[:40]
    if expected:
        assert latest_until(expression, zone, expected[0], last) == expected[-1]


@pytest.mark.parametrize(
    ("expression", "date", "expected"),
    [
        ("30 2 * * *", "2026-03-29", ["03:00 CEST"]),
        ("0,30 2 * * *", "2026-03-29", ["03:00 CEST"]),
        ("0 2,3 * * *", "2026-03-29", ["03:00 CEST"]),
        ("30 2 * * *", "2026-10-25", ["02:30 CEST"]),
        ("0 */6 * * *", "2026-10-25", ["00:00 CEST", "06:00 CET", "12:00 CET", "18:00 CET"]),
        ("0 9 * * 7", "2026-10-25", ["09:00 CET"]),
        ("0 9 * * SUN#4", "2026-10-25", ["09:00 CET"]),
        ("0 9 L * *", "2026-10-25", []),
    ],
)
def test_days_on_which_the_clocks_are_set(expression: str, date: str, expected: list[str]):
    first = day(date).replace(tzinfo=BERLIN).astimezone(UTC)
    found = between(expression, BERLIN, first - MINUTE, first + timedelta(hours=24) - MINUTE)
    assert [f"{moment.astimezone(BERLIN):%H:%M %Z}" for moment in found] == expected


def test_each_minute_is_a_real_minute_and_each_hour_a_real_hour():
    first = datetime(2026, 10, 24, 23, 59, tzinfo=UTC)
    assert len(list(between("* * * * *", BERLIN, first, first + timedelta(hours=5)))) == 300
    assert len(list(between("30 * * * *", BERLIN, first, first + timedelta(hours=5)))) == 5
    assert len(list(between("*/15 0-23 * * *", BERLIN, first, first + timedelta(hours=5)))) == 20


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "five fields"),
        ("* * * *", "no cron pattern"),
        ("60 * * * *", "no cron pattern"),
        ("* * 30 2 *", "no cron pattern|never fires"),
        ("1/1/1 * * * *", "no cron pattern"),
        ("* * * * * *", "no cron pattern"),
        ("@daily", "no cron pattern"),
        ("*/0 * * * *", "no cron pattern"),
        ("L/2 L/2 * * *", "no cron pattern"),
        ("5 4 L/2,LW-3 * *", "no cron pattern"),
        ("1," * 150 + "1 * * * *", "200 characters"),
    ],
)
def test_a_pattern_that_never_fires_is_refused_with_the_reason(expression: str, reason: str):
    """W-41: when it is planned, and not found out each minute for ever."""
    with pytest.raises(Refused, match=reason):
        check_cron(expression, BERLIN, datetime(2026, 1, 1, tzinfo=UTC))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789*/,-LW# MON\t\u0663", max_size=30))
def test_no_text_breaks_the_reader(expression: str):
    try:
        found = check_cron(expression, BERLIN, datetime(2026, 1, 1, tzinfo=UTC))
    except Refused:
        return
    assert found > datetime(2026, 1, 1, tzinfo=UTC)


NOW = datetime(2026, 3, 28, 12, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-01 09:00", "2026-12-01T08:00:00+00:00"),
        ("2026-12-01T09:00:05", "2026-12-01T08:00:05+00:00"),
        ("2026-07-01 09:00", "2026-07-01T07:00:00+00:00"),
        ("2026-12-01T09:00+05:30", "2026-12-01T03:30:00+00:00"),
        ("2026-12-01T09:00:00.999Z", "2026-12-01T09:00:00+00:00"),
        ("2026-12-01", "2026-11-30T23:00:00+00:00"),
        ("2026-03-29 02:30", "2026-03-29T01:00:00+00:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30:00+00:00"),
        ("14:00", "2026-03-28T13:00:00+00:00"),
        ("12:00", "2026-03-29T10:00:00+00:00"),
        ("at 14:00", "2026-03-28T13:00:00+00:00"),
        ("tomorrow 09:00", "2026-03-29T07:00:00+00:00"),
        ("today at 23:59", "2026-03-28T22:59:00+00:00"),
        ("in 20 minutes", "2026-03-28T12:20:30+00:00"),
        ("in 2 h", "2026-03-28T14:00:30+00:00"),
        ("+30s", "2026-03-28T12:01:00+00:00"),
        ("in 1 day", "2026-03-29T12:00:30+00:00"),
        ("now", "2026-03-28T12:00:30+00:00"),
        ("2026-03-28 13:00", "2026-03-28T12:00:00+00:00"),
    ],
)
def test_times_without_an_offset_are_the_owners(text: str, expected: str):
    """F-61: right across the change of the clocks, too."""
    assert parse_time(text, BERLIN, NOW).isoformat() == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-03-28 12:58", "is in the past: it is 2026-03-28 13:00:30 CET now"),
        ("2025-01-01", "in the past"),
        ("today 09:00", "in the past"),
        ("2126-01-01", "more than 50 years away"),
        ("9999-12-31 23:59", "more than 50 years away"),
        ("tomorrow", "is no time"),
        ("25:00", "is no time"),
        ("", "is no time"),
        ("in many minutes", "is no time"),
        ("2026-02-30 09:00", "is no time"),
        ("0001-01-01T00:00+23:59", "is no time|in the past"),
    ],
)
def test_a_time_that_can_not_be_planned_is_refused_with_the_reason(text: str, reason: str):
    with pytest.raises(Refused, match=reason):
        parse_time(text, BERLIN, NOW)


@settings(max_examples=200, deadline=None)
@given(wall=st.datetimes(day("2000-01-01"), day("2040-01-01")), name=st.sampled_from([one for one, _ in CHANGES]))
def test_a_local_time_is_the_first_moment_that_shows_it_or_the_gaps_end(wall: datetime, name: str):
    zone, wall = ZoneInfo(name), wall.replace(microsecond=0)
    moment = instant(wall, zone)
    shows = moment.astimezone(zone).replace(tzinfo=None)
    assert shows >= wall
    assert (moment - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None) < wall or moment.astimezone(
        zone
    ).fold == 0


def test_what_people_read_has_the_zone():
    assert shown(datetime(2026, 7, 1, 7, 0, 5, tzinfo=UTC), BERLIN) == "2026-07-01 09:00:05 CEST"
    assert list(zip(upcoming("0 0 29 2 *", BERLIN, NOW), range(2), strict=False))[1][0].year == 2032
