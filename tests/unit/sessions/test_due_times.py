"""Times: any ISO or SQLite form of an instant is that instant, on both sides (F-134…F-138), and what is due next."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from session_stage import CHAT, message, said

from nanoclaw_runner.contract import clock
from nanoclaw_runner.store.inbox import Inbox
from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.directory import make
from nanoclawd.sessions.inbound import Delivery, Inbound, Pending

type Form = Callable[[datetime, timezone], str]

INSTANT = datetime(2026, 4, 16, 14, 37, tzinfo=UTC)

instants = st.datetimes(
    min_value=datetime(1990, 1, 2),  # noqa: DTZ001  # hypothesis adds the zone
    max_value=datetime(2150, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
).map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
# The last and the first moments of days, months and years, where an offset changes the date.
midnights = st.builds(
    lambda day, shift: datetime.combine(day, datetime.min.time(), UTC) + timedelta(milliseconds=shift),
    st.dates(min_value=datetime(1990, 1, 2).date(), max_value=datetime(2150, 1, 1).date()),  # noqa: DTZ001
    st.integers(-2, 2),
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def iso_utc(moment: datetime, _zone: timezone) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def iso_offset(moment: datetime, zone: timezone) -> str:
    return moment.astimezone(zone).isoformat(timespec="milliseconds")


def sqlite(moment: datetime, _zone: timezone) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}"


def sqlite_offset(moment: datetime, zone: timezone) -> str:
    return moment.astimezone(zone).isoformat(sep=" ", timespec="milliseconds")


def iso_seconds(moment: datetime, _zone: timezone) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sqlite_seconds(moment: datetime, _zone: timezone) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


EXACT = (iso_utc, iso_offset, sqlite, sqlite_offset)
WHOLE_SECONDS = (iso_seconds, sqlite_seconds)


@contextmanager
def both_sides() -> Iterator[tuple[Inbound, Inbox]]:
    with tempfile.TemporaryDirectory() as directory:
        paths = SessionPaths(Path(directory) / "main" / "abcdefghijkl")
        make(paths)
        inbound = Inbound(paths.inbound_db)
        try:
            yield inbound, Inbox(paths.inbound_db)
        finally:
            inbound.close()


def due_for_host(inbound: Inbound, moment: datetime) -> bool:
    return [row.due(clock.to_text(moment)) for row in inbound.pending()] == [True]


def due_for_runner(inbox: Inbox, moment: datetime) -> bool:
    return len(inbox.look(lambda found: found, now=clock.to_text(moment), fresh=True).rows) == 1


def due_in_memory(text: str, moment: datetime) -> bool:
    """As the host keeps a message that it has just accepted, before it reads it again."""
    return Pending("m", 0, True, text, clock.now_text(), CHAT).due(clock.to_text(moment))


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-16T14:37:00Z",
        "2026-04-16 14:37:00",
        "2026-04-16T14:37:00.000Z",
        "2026-04-16T16:37:00+02:00",
        "2026-04-16T14:37:00.123Z",
        "2026-04-16 14:37",
        "2026-04-17T00:37:00+10:00",
        "2026-04-16T00:37:00-14:00",
    ],
)
def test_the_checklists_own_times(text: str):
    """F-134, F-135, F-136, F-137, F-138: at 14:37:01 it is due on both sides, a minute before it is not."""
    with both_sides() as (inbound, inbox):
        inbound.append(message("m", process_after=text))
        for seconds, expected in ((1, True), (-60, False), (61, True)):
            moment = INSTANT + timedelta(seconds=seconds)
            assert due_for_host(inbound, moment) is expected
            assert due_for_runner(inbox, moment) is expected
            assert due_in_memory(text, moment) is expected


@given(moment=instants | midnights, zone=offsets, form=st.sampled_from(EXACT))
@example(moment=datetime(2026, 12, 31, 23, 59, 59, 999000, UTC), zone=timezone(timedelta(minutes=-1)), form=iso_offset)
@example(moment=datetime(2028, 2, 29, 0, 0, 0, 0, UTC), zone=timezone(timedelta(hours=14)), form=sqlite_offset)
def test_every_form_of_an_instant_is_that_instant(moment: datetime, zone: timezone, form: Form):
    """F-134…F-138: to the millisecond, across midnight, on both sides and in Python."""
    text = form(moment, zone)
    assert clock.parse(text) == moment
    assert clock.to_text(clock.parse(text)) == iso_utc(moment, zone)
    with both_sides() as (inbound, inbox):
        inbound.append(message("m", process_after=text))
        assert inbound.pending()[0].process_after == iso_utc(moment, zone)
        assert inbound.next_due(clock.now_text()) == iso_utc(moment, zone)
        for shift, expected in ((-1, False), (0, True), (1, True)):
            other = moment + timedelta(milliseconds=shift)
            assert due_for_host(inbound, other) is expected
            assert due_for_runner(inbox, other) is expected
            assert due_in_memory(text, other) is expected


@given(moment=instants, form=st.sampled_from(WHOLE_SECONDS))
def test_forms_without_a_fraction(moment: datetime, form: Form):
    """F-138: the same instant, to the second."""
    whole = moment.replace(microsecond=0)
    assert clock.parse(form(moment, UTC)) == whole
    with both_sides() as (inbound, _inbox):
        inbound.append(message("m", process_after=form(moment, UTC)))
        assert clock.parse(inbound.pending()[0].process_after or "") == whole


@given(st.text(max_size=30))
@example("now")
@example("tomorrow")
@example("")
@example("2026-13-01T00:00:00Z")
@example("2026-04-16T25:00:00Z")
def test_what_is_no_time_is_refused_or_is_one_for_both(text: str):
    """A row whose time only one side could read would wait for ever, or never."""
    with both_sides() as (inbound, _inbox):
        try:
            inbound.append(message("m", process_after=text))
        except ValueError:
            assert inbound.pending() == []
            return
        assert inbound.pending()[0].process_after == clock.to_text(clock.parse(text))


@dataclass(frozen=True)
class Waiting:
    status: str
    trigger: bool
    moment: datetime | None
    form: int
    zone: timezone


@dataclass(frozen=True)
class Attempt:
    status: str
    moment: datetime | None


waiting = st.builds(
    Waiting,
    st.sampled_from(["pending", "pending", "completed", "failed", "paused"]),
    st.booleans(),
    st.none() | instants | midnights,
    st.integers(0, len(EXACT) - 1),
    offsets,
)
attempts = st.builds(
    Attempt, st.sampled_from(["pending", "sending", "delivered", "failed", "unknown"]), st.none() | instants
)


def next_due(rows: list[Waiting], written: datetime, tried: list[Attempt], looked: datetime) -> datetime | None:
    """When something is to be done next, said plainly."""
    found = [row.moment or written for row in rows if row.status == "pending" and row.trigger]
    found += [
        attempt.moment
        for attempt in tried
        if attempt.status in ("pending", "unknown") and attempt.moment is not None and attempt.moment > looked
    ]
    return min(found, default=None)


@given(rows=st.lists(waiting, max_size=6), tried=st.lists(attempts, max_size=6), looked=instants)
def test_what_is_due_next(rows: list[Waiting], tried: list[Attempt], looked: datetime):
    written = INSTANT
    with both_sides() as (inbound, _inbox):
        for number, row in enumerate(rows):
            process_after = None if row.moment is None else EXACT[row.form](row.moment, row.zone)
            inbound._connection.execute(
                "INSERT INTO messages_in (id, seq, kind, timestamp, status, process_after, series_id, trigger, content)"
                " VALUES (?1, ?2, 'chat', ?3, ?4, ?5, ?1, ?6, ?7)",
                (
                    f"m{number}",
                    2 + 2 * number,
                    clock.to_text(written),
                    row.status,
                    process_after,
                    int(row.trigger),
                    said("x"),
                ),
            )
        inbound.record(
            Delivery(
                f"o{number}", one.status, next_attempt_at=None if one.moment is None else clock.to_text(one.moment)
            )
            for number, one in enumerate(tried)
        )
        expected = next_due(rows, written, tried, looked)
        found = inbound.next_due(clock.to_text(looked))
        assert (None if found is None else clock.parse(found)) == expected
