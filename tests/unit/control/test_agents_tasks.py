"""What agents may do with tasks: their own group's at once, and nobody else's."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_stage import OWNER, AgentStage

from nanoclawd.store import tasks


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[AgentStage]:
    made = AgentStage(tmp_path)
    await made.open()
    yield made
    await made.end()


async def made(stage: AgentStage, **more: object) -> dict[str, object]:
    reply = await stage.call("Tasks.Create", **{"prompt": "water the plants", "at": "in 3 hours", **more})
    assert "error" not in reply, reply
    task: dict[str, object] = reply["parameters"]["task"]
    return task


@pytest.mark.parametrize("scope", ["disabled", "group", "global"])
async def test_an_agent_plans_for_itself_without_a_word_of_anybody(stage: AgentStage, scope: str):
    """F-61, F-100, F-102: in the session that calls, also where it has no other part of ncl."""
    await stage.scope(scope)
    task = await made(stage, thread="t1", chat="chat:team", key="k-1")
    assert (task["group"], task["session"], task["created_by"]) == ("home", stage.home_session.id, "agent:home")
    assert (task["channel"], task["chat"], task["thread"]) == ("chat", "team", "t1")
    assert (await made(stage, key="k-1"))["id"] == task["id"]
    for verb, status in (("Pause", "paused"), ("Resume", "active"), ("Cancel", "cancelled")):
        reply = await stage.call(f"Tasks.{verb}", task=task["id"])
        assert reply["parameters"]["task"]["status"] == status
    assert await stage.pending() == []


async def test_an_agent_of_one_group_reaches_no_other(stage: AgentStage):
    """F-69: another group's task and one that does not exist are told apart by nothing."""
    foreign = (await stage.call("Tasks.Create", stage.work_session, prompt="x", at="in 1 hour"))["parameters"]["task"]
    own = await made(stage)
    for verb in ("Get", "Pause", "Resume", "Cancel", "Run", "Runs"):
        told = await stage.refused(f"Tasks.{verb}", task=foreign["id"])
        unknown = await stage.refused(f"Tasks.{verb}", task="nosuchtask00")
        assert told[0] == unknown[0] == "NotFound"
        assert told[1]["message"].replace(foreign["id"], "") == unknown[1]["message"].replace("nosuchtask00", "")
    assert [one["id"] for one in (await stage.call("Tasks.List"))["parameters"]["tasks"]] == [own["id"]]
    assert (await stage.refused("Tasks.List", group="work"))[0] == "NotFound"
    assert (await stage.refused("Tasks.Create", group="work", prompt="x", at="in 1 hour"))[0] == "NotFound"
    parameters = {"prompt": "x", "at": "in 1 hour", "session": stage.work_session.id}
    reply = await stage.raw(json.dumps({"method": "io.nanoclaw.Tasks.Create", "parameters": parameters}))
    assert reply["error"] == "io.nanoclaw.Tasks.NotFound"
    for chat in ("chat:office", "chat:nowhere"):
        code, told_of = await stage.refused("Tasks.Create", chat=chat, prompt="x", at="in 1 hour")
        assert (code, "may not write to" in told_of["message"]) == ("Refused", True)


async def test_what_reaches_beyond_its_own_group_needs_somebodys_word(stage: AgentStage):
    """An agent that sees everything still changes only its own tasks unasked."""
    await stage.scope("global")
    foreign = (await stage.call("Tasks.Create", stage.work_session, prompt="x", at="in 1 hour"))["parameters"]["task"]
    assert (await stage.call("Tasks.Get", task=foreign["id"]))["parameters"]["task"]["group"] == "work"
    approval = await stage.asked("Tasks.Cancel", task=foreign["id"])
    assert "beyond home" in stage.channels["chat"].all_cards()[-1].card.text
    assert (await stage.database.run(tasks.by_id, foreign["id"])).status == "active"
    await stage.allowed_by(OWNER)
    assert (await stage.database.run(tasks.by_id, foreign["id"])).status == "cancelled"
    assert "Done: ncl tasks cancel" in stage.note(approval)
    await stage.asked("Tasks.Create", group="work", prompt="x", at="in 1 hour")
    assert await stage.call("Tasks.Create", prompt="mine", at="in 1 hour")
    assert len(await stage.pending()) == 1
