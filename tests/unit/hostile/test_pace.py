"""Looks that find nothing are rationed, turns are bounded, and what is postponed rings in time."""

import asyncio

import pytest

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.sessions import pace as pace_module
from nanoclawd.sessions.pace import LOOKS_PER_SECOND, STOCK, Alarm, LookPace, TurnBound


def test_a_burst_is_free_and_what_follows_is_spread() -> None:
    pace = LookPace()
    assert [pace.fruitless(100.0) for _ in range(STOCK)] == [0.0] * STOCK
    now, looks = 100.0, 0
    while now < 110.0:
        now += pace.fruitless(now)
        looks += 1
    assert looks <= 10 * LOOKS_PER_SECOND + 1


def test_the_stock_comes_back_and_has_a_bound() -> None:
    pace = LookPace()
    for _ in range(STOCK + 10):
        pace.fruitless(0.0)
    assert pace.fruitless(3600.0) == 0.0
    waits = [pace.fruitless(3600.0) for _ in range(STOCK)]
    assert waits[-1] > 0.0


def test_work_renews_the_stock() -> None:
    """Turn after turn with a look too many in each is never held up."""
    pace = LookPace()
    for _ in range(10 * STOCK):
        assert pace.fruitless(1.0) == 0.0
        pace.fruitful()


async def test_a_turn_has_one_bound() -> None:
    """Follow-ups do not renew it; progress and its end do."""
    over = asyncio.Event()
    bound = TurnBound(0.05, over.set)
    bound.begin()
    bound.begin()
    await asyncio.wait_for(over.wait(), 5)
    over.clear()
    again = TurnBound(3600, over.set)
    again.begin()
    again.end()
    again.end()
    assert not over.is_set()


async def test_an_alarm_rings_at_its_last_time_only() -> None:
    rung: list[str] = []
    last = asyncio.Event()
    alarm = Alarm(lambda: (rung.append("rung"), last.set()))
    alarm.at(now_text(plus_seconds=0.02))
    alarm.at(None)
    alarm.at(now_text(plus_seconds=3600))
    alarm.at(now_text(plus_seconds=-5))
    await asyncio.wait_for(last.wait(), 5)
    assert rung == ["rung"]


async def test_an_alarm_looks_at_the_clock_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is set an hour forward would else be an hour late."""
    monkeypatch.setattr(pace_module, "ALARM_SECONDS", 0.02)
    rung = asyncio.Event()
    Alarm(rung.set).at(now_text(plus_seconds=3600))
    await asyncio.wait_for(rung.wait(), 5)
