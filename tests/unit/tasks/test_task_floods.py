"""Agents plan without anybody's word, so what they plan is bounded: runs under way, and tasks that are over."""

from datetime import timedelta
from unittest.mock import AsyncMock

import pytest
from task_stage import Stage

from nanoclawd.errors import Refused
from nanoclawd.store import tasks
from nanoclawd.tasks import dispatcher, service


async def test_an_agent_can_not_have_runs_without_end(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Policy all after a long absence, tasks for this very moment in a loop, the same one again and again: bounded."""
    monkeypatch.setattr(dispatcher, "MAX_OPEN", 30)
    monkeypatch.setattr(service, "MAX_OPEN", 30)
    monkeypatch.setattr(stage.sessions, "row_status", AsyncMock(return_value="pending"))
    series = await stage.plan(cron="* * * * *", missed="all")
    await stage.after(minutes=40)
    statuses = [run.status for run in await stage.runs(series)]
    assert statuses == ["dispatched"] * 30 + ["missed"] * 10
    assert (await stage.runs(series))[-1].reason == "30 runs of its agent are not done yet"
    once = await stage.plan(at="now")
    await stage.after(seconds=1)
    assert [run.status for run in await stage.runs(once)] == ["missed"]
    with pytest.raises(Refused, match="not done yet"):
        await stage.service.run_now(series.id)
    monkeypatch.setattr(stage.sessions, "row_status", AsyncMock(return_value="completed"))
    await stage.after(minutes=1)
    assert [run.status for run in await stage.runs(series)][-1] == "dispatched"
    await stage.service.run_now(series.id)


async def test_tasks_that_are_over_do_not_pile_up(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """An agent that plans and cancels in a loop fills no disk; what still runs is kept."""
    monkeypatch.setattr(service, "MAX_ENDED", 5)
    running = await stage.plan(at="now")
    await stage.after(seconds=1)
    assert [run.status for run in await stage.runs(running)] == ["dispatched"]
    for number in range(12):
        stage.clock.moment += timedelta(seconds=1)
        await stage.service.cancel((await stage.plan(at="in 1 hour", prompt=f"no. {number}")).id)
    found = await stage.database.run(tasks.listed, stage.group.id, "cancelled")
    assert len(found) <= 6
    assert "no. 11" in {task.prompt for task in found}
    assert (await stage.task(running)).status == "done"
