"""What falls due wakes its session, by the wall clock, also when that was set.

With the clock injected: a machine's CLOCK_REALTIME is not the bed's own, so no system test may set it. That the timer
notices a clock that was set is :mod:`nanoclawd.scheduling.timer`'s own test.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw_runner.contract.clock import to_text
from nanoclawd.paths import StatePaths
from nanoclawd.sessions import registry
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import agent_groups
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database
from nanoclawd.store.sessions import Session

NOON = datetime(2026, 4, 16, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Every look at it takes a millisecond."""

    moment: datetime = NOON

    def __call__(self) -> datetime:
        self.moment += timedelta(milliseconds=1)
        return self.moment


@dataclass
class Woken:
    ids: list[str] = field(default_factory=list)


class Nudged(Sessions):
    """Sessions whose actors only note that they were woken: what an actor does then is the system tests' subject."""

    def __init__(self, paths: StatePaths, database: Database, woken: Woken) -> None:
        super().__init__(paths, database)
        self._woken = woken

    async def actor(self, session: Session, *, look_first: bool = False) -> "Noting":  # type: ignore[override]
        return Noting(session.id, self._woken)


@dataclass
class Noting:
    session_id: str
    woken: Woken

    def nudge(self) -> None:
        self.woken.ids.append(self.session_id)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "central.db")
    await opened.open()
    yield opened
    await opened.close()


async def sleeping(database: Database, *due: datetime) -> list[str]:
    group = await database.run(agent_groups.create, "main", None, None, None, "")
    ids = []
    for moment in due:
        session = await database.run(session_rows.create, group.id, None)
        await database.run(session_rows.mark_asleep, session.id, None, to_text(moment))
        ids.append(session.id)
    return ids


async def test_what_falls_due_between_two_looks_at_the_clock_is_not_missed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two back-offs that end a millisecond apart: the second one has its own ring of the timer."""
    clock = Clock()
    monkeypatch.setattr(registry, "now", clock)
    woken = Woken()
    sessions = Nudged(StatePaths(tmp_path), database, woken)
    first, second = await sleeping(database, NOON + timedelta(milliseconds=1), NOON + timedelta(milliseconds=2))
    await sessions._wake_due()
    assert woken.ids == [first]
    assert sessions._next_due == to_text(NOON + timedelta(milliseconds=2))
    await sessions._wake_due()
    assert woken.ids[1:].count(second) == 1


async def test_a_clock_that_is_set_forward_by_a_day_wakes_what_is_due_then(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(registry, "now", clock)
    woken = Woken()
    sessions = Nudged(StatePaths(tmp_path), database, woken)
    soon, later = await sleeping(database, NOON + timedelta(hours=1), NOON + timedelta(hours=30))
    await sessions._wake_due()
    assert woken.ids == []
    clock.moment += timedelta(days=1)
    await sessions._wake_due()
    assert woken.ids == [soon]
    assert sessions._next_due == to_text(NOON + timedelta(hours=30))
    assert later not in woken.ids
