"""Tasks as they are planned, changed and run, with the test's clock."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import apsw
import pytest
from task_stage import NOON, Stage

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NanoclawError, NotFound, Refused, TooLarge, Unavailable
from nanoclawd.store import agent_groups, chats, tasks
from nanoclawd.store import sessions as session_rows
from nanoclawd.tasks import service
from nanoclawd.tasks.dispatcher import Dispatcher
from nanoclawd.tasks.rows import row_id, run_of
from nanoclawd.tasks.service import Where, Wish

FAR = datetime(2060, 1, 1, tzinfo=UTC)


def minute(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


async def test_a_single_task_runs_once_at_its_time_where_it_was_planned(stage: Stage):
    """F-61, F-102: the row has the channel, chat and thread of whoever planned it."""
    task = await stage.plan(at="in 10 minutes", script="echo '{}'", prompt="water the plants")
    await stage.after(minutes=9, seconds=59)
    assert not stage.sessions.stored
    await stage.after(seconds=1)
    ((session_id, _), row) = next(iter(stage.sessions.stored.items()))
    assert (session_id, row.kind, row.trigger) == (stage.session.id, "task", True)
    assert row.address == Address("matrix", "!room", "$thread")
    assert json.loads(row.content) == {
        "prompt": "water the plants",
        "script": "echo '{}'",
        "taskId": task.id,
        "occurrence": "2026-03-25T12:10:00.000Z",
        "late": False,
    }
    assert run_of(row.id) == (task.id, "2026-03-25T12:10:00.000Z")
    assert (await stage.task(task)).status == "done"
    await stage.after(days=3)
    assert len(stage.sessions.handed) == 1


async def test_the_next_occurrence_is_stored_before_this_one_runs(stage: Stage):
    """F-103: and never two of them."""
    task = await stage.plan(cron="*/5 * * * *")
    seen = []

    def look() -> None:
        with apsw.Connection(str(stage.path)) as other:
            seen.append(other.execute("SELECT next_run_at FROM tasks").get)

    stage.sessions.on_accept = look
    for number in (5, 10, 15):
        await stage.at(minute(number))
    assert seen == [f"2026-03-25T12:{number}:00.000Z" for number in (10, 15, 20)]
    assert await stage.occurrences(task) == [minute(5), minute(10), minute(15)]


async def test_a_failed_run_never_ends_a_series(stage: Stage):
    """W-16: whatever became of a run: its message failed, the disk was full, its session was closed, a fault."""
    task = await stage.plan(cron="* * * * *")
    await stage.after(minutes=1)
    stage.sessions.status[stage.session.id, row_id(task.id, "2026-03-25T12:01:00.000Z")] = "failed"
    await stage.dispatcher._reconcile(await stage.runs(task))
    stage.sessions.trouble = lambda _: Unavailable("the disk is full")
    await stage.after(minutes=1)
    stage.sessions.trouble = lambda _: ValueError("a fault")
    await stage.after(minutes=1)
    stage.sessions.trouble = lambda _: None
    await stage.database.run(session_rows.close, stage.session.id)
    await stage.after(minutes=1)
    await stage.after(minutes=1)
    outcomes = [(run.occurrence[14:16], run.status) for run in await stage.runs(task)]
    assert outcomes == [
        ("01", "failed"), ("02", "missed"), ("03", "failed"), ("04", "dispatched"), ("05", "dispatched"),
    ]  # fmt: skip
    assert (await stage.task(task)).next_run_at == "2026-03-25T12:06:00.000Z"


async def test_a_run_that_waits_for_the_disk_is_handed_over_when_it_can_be(stage: Stage):
    task = await stage.plan(at="in 1 minute")
    stage.sessions.trouble = lambda _: Unavailable("the disk is full")
    await stage.after(minutes=1)
    assert [run.status for run in await stage.runs(task)] == ["pending"]
    stage.sessions.trouble = lambda _: None
    await stage.after(minutes=1)
    assert [run.status for run in await stage.runs(task)] == ["dispatched"]


@pytest.mark.parametrize(
    ("missed", "expected", "passed_over", "statuses"),
    [
        ("latest", [5], [4], ["dispatched"]),
        ("skip", [5], [4], ["missed"]),
        ("all", [1, 2, 3, 4, 5], [0, 0, 0, 0, 0], ["dispatched"] * 5),
    ],
)
async def test_what_was_missed_follows_the_policy(
    stage: Stage, missed: str, expected: list[int], passed_over: list[int], statuses: list[str]
):
    """W-41: the machine was off over five of them; the series goes on with the next."""
    task = await stage.plan(cron="* * * * *", missed=missed)
    await stage.after(minutes=5, seconds=30)
    runs = await stage.runs(task)
    assert await stage.occurrences(task) == [minute(number) for number in expected]
    assert [run.passed_over for run in runs] == passed_over
    assert [run.status for run in runs] == statuses
    assert all(run.late for run in runs)
    assert all(json.loads(row.content)["late"] for row in stage.sessions.rows())
    assert (await stage.task(task)).next_run_at == "2026-03-25T12:06:00.000Z"
    await stage.after(seconds=30)
    assert (await stage.runs(task))[-1].status == "dispatched"
    assert not (await stage.runs(task))[-1].late


async def test_a_single_task_that_was_missed_runs_late_or_not_at_all(stage: Stage):
    late, skipped = await stage.plan(at="in 1 minute"), await stage.plan(at="in 1 minute", missed="skip")
    await stage.after(days=2)
    assert [(run.status, run.late) for run in await stage.runs(late)] == [("dispatched", True)]
    assert [run.status for run in await stage.runs(skipped)] == ["missed"]
    assert {(await stage.task(one)).status for one in (late, skipped)} == {"done"}


async def test_all_goes_back_a_week_and_says_what_it_left_out(stage: Stage):
    task = await stage.plan(cron="0 * * * *", missed="all")
    await stage.after(days=8)
    runs = await stage.runs(task)
    assert len(runs) == 7 * 24
    assert sum(run.passed_over for run in runs) == 24
    assert runs[0].occurrence == "2026-03-26T13:00:00.000Z"


async def test_a_paused_task_does_not_run_and_a_resumed_one_does(stage: Stage):
    """F-67, F-68: a series goes on with its next time, a single task that was due meanwhile runs now."""
    series, single = await stage.plan(cron="*/10 * * * *"), await stage.plan(at="in 10 minutes")
    for task in (series, single):
        assert (await stage.service.pause(task.id)).status == "paused"
        await stage.service.pause(task.id)
    await stage.after(minutes=15)
    assert not stage.sessions.stored
    assert (await stage.service.resume(series.id)).next_run_at == "2026-03-25T12:20:00.000Z"
    await stage.service.resume(single.id)
    await stage.after(seconds=1)
    assert [run_of(row.id) for row in stage.sessions.rows()] == [(single.id, "2026-03-25T12:10:00.000Z")]
    await stage.after(minutes=5)
    assert await stage.occurrences(series) == [minute(20)]
    early = await stage.plan(at="in 1 hour")
    await stage.service.pause(early.id)
    assert (await stage.service.resume(early.id)).next_run_at == early.next_run_at


async def test_a_cancelled_task_never_runs_again_and_is_not_listed(stage: Stage):
    """F-66"""
    series, single = await stage.plan(cron="* * * * *"), await stage.plan(at="in 1 minute")
    await stage.after(minutes=1)
    for task in (series, await stage.plan(at="in 1 minute")):
        assert (await stage.service.cancel(task.id)).status == "cancelled"
    assert await stage.database.run(tasks.listed, stage.group.id, None) == []
    before = len(stage.sessions.handed)
    await stage.after(days=1)
    assert len(stage.sessions.handed) == before
    for change in (stage.service.pause, stage.service.resume, stage.service.cancel, stage.service.run_now):
        for task in (series, single):
            with pytest.raises(Refused, match="it runs no more"):
                await change(task.id)


async def test_a_task_that_is_unknown_is_an_error(stage: Stage):
    """F-69"""
    for change in (stage.service.pause, stage.service.resume, stage.service.cancel, stage.service.run_now):
        with pytest.raises(NotFound, match="there is no task 'nosuchtask12'"):
            await change("nosuchtask12")
    with pytest.raises(NotFound):
        await stage.service.update("nosuchtask12", Wish(prompt="x"))


async def test_an_update_changes_what_is_given(stage: Stage):
    task = await stage.plan(cron="0 * * * *", script="true")
    changed = await stage.service.update(task.id, Wish(prompt="other", script="", missed="all"))
    assert (changed.prompt, changed.script, changed.missed) == ("other", None, "all")
    assert (changed.cron, changed.next_run_at) == (task.cron, task.next_run_at)
    assert (await stage.service.update(task.id, Wish(cron="30 * * * *"))).next_run_at == "2026-03-25T12:30:00.000Z"
    moved = await stage.service.update(task.id, Wish(at="in 3 hours"))
    assert (moved.cron, moved.next_run_at) == ("30 * * * *", "2026-03-25T15:00:00.000Z")
    last = await stage.service.update(task.id, Wish(cron=""))
    assert (last.cron, last.next_run_at) == (None, "2026-03-25T15:00:00.000Z")
    await stage.at(minute(180))
    assert (await stage.task(task)).status == "done"
    other = await stage.plan(at="in 1 hour")
    for wish, reason in (
        (Wish(), "nothing to change"),
        (Wish(at="2020-01-01"), "in the past"),
        (Wish(cron="0 0 30 2 *"), "Bad day-of-month"),
        (Wish(prompt=" "), "needs a prompt"),
    ):
        with pytest.raises(Refused, match=reason):
            await stage.service.update(other.id, wish)
    assert await stage.task(other) == other


async def test_a_series_may_begin_later(stage: Stage):
    task = await stage.plan(at="in 90 minutes", cron="0 * * * *")
    await stage.dispatcher.catch_up()
    await stage.at(minute(89))
    assert not stage.sessions.stored
    for number in (90, 120, 180):
        await stage.at(minute(number))
    assert await stage.occurrences(task) == [minute(90), minute(120), minute(180)]


async def test_run_now_leaves_the_plan_as_it_is(stage: Stage):
    task = await stage.plan(cron="0 * * * *")
    await stage.service.pause(task.id)
    stage.clock.moment += timedelta(seconds=7)
    await stage.service.run_now(task.id)
    with pytest.raises(Refused, match="in this very second"):
        await stage.service.run_now(task.id)
    await stage.dispatcher.catch_up()
    assert await stage.occurrences(task) == [NOON + timedelta(seconds=7)]
    assert (await stage.task(task)).next_run_at == task.next_run_at


async def test_the_same_key_is_the_same_task(stage: Stage):
    wish = Wish(prompt="once", at="in 1 hour")
    first = await stage.service.create(stage.group.id, "agent:main", wish, stage.here, "k-1")
    again = await stage.service.create(stage.group.id, "agent:main", Wish(prompt="x", at="1999-01-01"), Where(), "k-1")
    assert again == first
    other = await stage.database.run(agent_groups.create, "other")
    assert (await stage.service.create(other.id, "agent:other", wish, Where(), "k-1")).id != first.id


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        (Wish(prompt="", at="in 1 h"), "needs a prompt"),
        (Wish(prompt="x"), "needs a time"),
        (Wish(prompt="x", at="2020-01-01"), "in the past"),
        (Wish(prompt="x", cron="nonsense"), "no cron pattern"),
        (Wish(prompt="x", at="in 1 h", missed="some"), "no policy"),
        (Wish(prompt="é" * 9000, at="in 1 h"), "16 KiB at most"),
        (Wish(prompt="x", at="in 1 h", script="x" * 40_000), "32 KiB at most"),
    ],
)
async def test_what_can_not_be_planned_is_refused_with_the_reason(stage: Stage, wish: Wish, reason: str):
    with pytest.raises(NanoclawError, match=reason):
        await stage.service.create(stage.group.id, "agent:main", wish, stage.here)


async def test_a_task_answers_only_where_its_agent_may_write(stage: Stage):
    await stage.database.run(chats.create, "matrix", "!other", "Other")
    wish = Wish(prompt="x", at="in 1 h")
    for address in (Address("matrix", "!other"), Address("matrix", "!nowhere")):
        with pytest.raises(Refused, match="may not write to"):
            await stage.service.create(stage.group.id, "agent:main", wish, Where(stage.session.id, address))
    foreign = await stage.database.run(agent_groups.create, "other")
    with pytest.raises(NotFound, match="no active session"):
        await stage.service.create(foreign.id, "agent:other", wish, Where(stage.session.id))


async def test_tasks_of_a_group_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "MAX_LIVE", 2)
    first = await stage.plan(at="in 1 h")
    await stage.plan(at="in 1 h")
    with pytest.raises(Refused, match="has 2 tasks that wait"):
        await stage.plan(at="in 1 h")
    await stage.service.cancel(first.id)
    assert await stage.plan(at="in 1 h")
    assert TooLarge.code == "TooLarge"


async def test_where_a_task_runs_when_its_session_is_closed(stage: Stage):
    """F-102: in the session that its chat has now, made if there is none; the answers go where they went before."""
    task = await stage.plan(cron="* * * * *")
    await stage.database.run(session_rows.close, stage.session.id)
    await stage.after(minutes=1)
    ((made, _),) = stage.sessions.stored
    found = await stage.database.run(session_rows.by_id, made)
    assert (found.messaging_group_id, found.thread_id, found.status) == (stage.chat.id, None, "active")
    assert stage.sessions.rows()[0].address == Address("matrix", "!room", "$thread")
    assert (await stage.task(task)).session_id == made
    # In channels whose threads are conversations it is the thread's own.
    stage.threads = True
    await stage.database.run(session_rows.close, made)
    await stage.after(minutes=1)
    threaded = await stage.database.run(session_rows.by_id, list(stage.sessions.stored)[-1][0])
    assert threaded.thread_id == "$thread"
    # Nobody hears the chat any more: the agent's own session of all chats.
    await stage.database.run(session_rows.close, threaded.id)
    await stage.database.run(chats.delete, stage.chat.id)
    await stage.after(minutes=1)
    shared = await stage.database.run(session_rows.by_id, list(stage.sessions.stored)[-1][0])
    assert (shared.mode, shared.messaging_group_id) == ("agent-shared", None)


async def test_a_task_that_names_no_place_belongs_where_the_agent_talked_last(stage: Stage):
    wish = Wish(prompt="x", at="in 1 minute")
    task = await stage.service.create(stage.group.id, "terminal:alice", wish, Where())
    assert (task.session_id, task.address) == (stage.session.id, Address("matrix", "!room"))
    silent = await stage.database.run(agent_groups.create, "silent")
    alone = await stage.service.create(silent.id, "terminal:alice", wish, Where())
    assert (alone.session_id, alone.address) == (None, None)
    await stage.after(minutes=1)
    assert len(stage.sessions.stored) == 2


async def test_a_deleted_group_takes_its_tasks_along(stage: Stage):
    task = await stage.plan(cron="* * * * *")
    await stage.after(minutes=1)
    await stage.database.run(lambda c: c.execute("DELETE FROM agent_groups").get)
    await stage.after(minutes=1)
    with pytest.raises(NotFound):
        await stage.task(task)
    assert len(stage.sessions.stored) == 1


async def test_a_daemon_that_died_anywhere_hands_each_run_over_once(stage: Stage):
    """The run is stored, then handed over, then marked: a new daemon goes on from each of these points."""
    task = await stage.plan(cron="* * * * *")
    stage.clock.moment = minute(1)
    assert await stage.dispatcher._begin_due()
    stage.begin()
    await stage.at(minute(1))
    assert len(stage.sessions.stored) == 1
    await stage.database.run(lambda c: c.execute("UPDATE task_runs SET status = 'pending'").get)
    stage.begin()
    await stage.at(minute(1))
    assert len(stage.sessions.handed) == 2
    assert len(stage.sessions.stored) == 1
    assert [run.status for run in await stage.runs(task)] == ["dispatched"]


async def test_a_run_that_a_closed_session_had_already_is_not_given_to_another(stage: Stage):
    task = await stage.plan(at="in 1 minute")
    await stage.after(minutes=1)
    await stage.database.run(lambda c: c.execute("UPDATE task_runs SET status = 'pending'").get)
    await stage.database.run(session_rows.close, stage.session.id)
    stage.begin()
    await stage.after(seconds=1)
    assert len(stage.sessions.handed) == 1
    assert [run.status for run in await stage.runs(task)] == ["completed"]


async def test_a_slow_agent_is_not_buried_in_runs(stage: Stage):
    """One run is worked on and one waits; the others are left out, and the series goes on when they are done."""
    task = await stage.plan(cron="* * * * *")
    for number in range(1, 6):
        for key in stage.sessions.stored:
            stage.sessions.status[key] = "pending"
        await stage.at(minute(number))
    assert [run.status for run in await stage.runs(task)] == ["dispatched"] * 2 + ["missed"] * 3
    stage.sessions.status.clear()
    await stage.at(minute(6))
    assert [run.status for run in await stage.runs(task)][-1] == "dispatched"
    assert [run.status for run in await stage.runs(task)][:2] == ["completed"] * 2


async def test_one_session_in_trouble_holds_up_no_other(stage: Stage):
    """W-14"""
    stuck = await stage.plan(at="in 1 minute")
    other = await stage.database.run(session_rows.create, stage.group.id, None, None, "tttttttttttt", "agent-shared")
    stage.here = Where(other.id)
    fine = await stage.plan(at="in 1 minute")
    stage.sessions.trouble = lambda session: Unavailable("locked") if session == stage.session.id else None
    await stage.after(minutes=1)
    assert [(await stage.runs(task))[0].status for task in (stuck, fine)] == ["pending", "dispatched"]


async def test_a_clock_that_was_set_back_keeps_no_series_waiting_and_repeats_nothing(stage: Stage):
    """W-41: it was 2030 for a moment."""
    task = await stage.plan(cron="0 * * * *")
    single = await stage.plan(at="in 3 hours")
    await stage.at(minute(60))
    stage.dispatcher._on_jump()
    await stage.at(datetime(2030, 1, 1, 0, 30, tzinfo=UTC))
    assert len(await stage.runs(single)) == 1
    stage.dispatcher._on_jump()
    await stage.at(minute(30))
    assert (await stage.task(task)).next_run_at == "2026-03-25T13:00:00.000Z"
    await stage.at(minute(60))
    await stage.at(minute(120))
    rows = [row.id for row in stage.sessions.rows()]
    assert len(rows) == len(set(rows)) == 4  # 13:00, 2030, the single one, 14:00
    assert sorted(await stage.occurrences(task)) == [minute(60), minute(120), datetime(2030, 1, 1, tzinfo=UTC)]


async def test_outcomes_are_recorded_and_the_first_counts(stage: Stage):
    """F-63: what a task's script came to is told by the session that ran it, and by no other."""
    stage.clock.moment = FAR  # the real timer must not ring by the played clock
    task = await stage.plan(cron="* * * * *")
    stage.dispatcher.start()
    await stage.dispatcher.rest()
    for _ in range(2):
        await stage.after(minutes=1)
    first, second = (row.id for row in stage.sessions.rows())
    await stage.dispatcher.report("another", first, "failed", "not mine")
    await stage.dispatcher.report(stage.session.id, "no-run-of-a-task", "failed", "")
    await stage.dispatcher.report(stage.session.id, first, "skipped", "nothing to do")
    stage.dispatcher.ended(first, completed=True)
    stage.dispatcher.ended(second, completed=False)
    stage.dispatcher.ended("m1:main", completed=True)
    await stage.dispatcher.rest()
    runs = [(run.status, run.reason) for run in await stage.runs(task)]
    assert runs == [("skipped", "nothing to do"), ("failed", None)]


async def test_old_tasks_and_runs_are_forgotten(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nanoclawd.tasks.dispatcher.KEPT_RUNS", 5)
    series, single = await stage.plan(cron="* * * * *"), await stage.plan(at="in 1 minute")
    for number in range(1, 20):
        await stage.at(minute(number))
        await stage.dispatcher._reconcile(await stage.runs(series))
    assert len(await stage.runs(series)) <= 6
    await stage.database.run(tasks.prune, "2100-01-01T00:00:00.000Z")
    with pytest.raises(NotFound):
        await stage.task(single)
    assert await stage.task(series)


async def test_due_to_the_second_and_no_look_in_between(stage: Stage):
    """F-104, W-35: one timer on the real clock; nothing looks at the tasks while none is due."""
    looks = 0
    handed = asyncio.Event()

    def now() -> datetime:
        nonlocal looks
        looks += 1
        return datetime.now(UTC)

    stage.sessions.on_accept = handed.set
    stage.dispatcher = Dispatcher(stage.database, stage.sessions, lambda _: False, clock_is_right=stage._right, now=now)
    stage.service = service.TaskService(stage.database, "UTC", lambda: datetime.now(UTC))
    stage.service.changed = stage.dispatcher.look
    stage.dispatcher.start()
    await stage.dispatcher.rest()
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    await stage.plan(at=due.isoformat())
    await stage.dispatcher.rest()
    before = looks
    async with asyncio.timeout(10):
        await handed.wait()
    assert 0 <= time.time() - due.timestamp() < 0.9
    assert looks - before <= 2
    await stage.dispatcher.rest()


async def test_tasks_wait_for_the_clock_and_only_they(stage: Stage):
    right = asyncio.Event()

    async def clock_is_right() -> None:
        await right.wait()

    stage.clock.moment = FAR
    task = await stage.plan(at="in 1 minute")
    stage.clock.moment += timedelta(minutes=2)
    stage.dispatcher = Dispatcher(
        stage.database, stage.sessions, lambda _: False, clock_is_right=clock_is_right, now=stage.clock
    )
    stage.dispatcher.start()
    stage.dispatcher.look()
    await asyncio.sleep(0)
    assert await stage.plan(at="in 1 hour")
    assert not stage.sessions.stored
    right.set()
    await stage.dispatcher.rest()
    assert [run.status for run in await stage.runs(task)] == ["dispatched"]
