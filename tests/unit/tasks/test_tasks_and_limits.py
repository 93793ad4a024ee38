"""Tasks of an agent that has used up its day are left out, for that reason, and their series goes on."""

from task_stage import Stage

from nanoclawd.store import tasks


async def test_what_is_due_is_skipped_with_the_reason_and_the_next_day_runs(stage: Stage):
    task = await stage.plan(cron="0 14 * * *")
    stage.dispatcher.refusal = lambda _group_id, _group: "it has used up its day"
    await stage.after(hours=2)
    assert not stage.sessions.stored
    (run,) = await stage.database.run(tasks.runs_of, task.id, 10)
    assert (run.status, run.reason) == ("skipped", "it has used up its day")
    stage.dispatcher.refusal = lambda _group_id, _group: None
    await stage.after(days=1)
    assert len(stage.sessions.stored) == 1
