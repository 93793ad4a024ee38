"""An agent's calls with others' ids and hostile names in every parameter of every method."""

import json
import logging
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nanoclawd.control.agent_calls.rules import RULES
from nanoclawd.store import approvals, chats, members, questions, users
from unit.control.agent_stage import PENDING, AgentStage
from unit.fuzz.hostile import NASTY, dangerous

SECRET = "zulu"
"""In every name, text and id that the other agent's people have chosen."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[AgentStage]:
    made = AgentStage(tmp_path)
    await made.open()
    yield made
    await made.end()


async def _foreign(stage: AgentStage) -> list[str]:
    """Furnish the other agent, and return all that names something of it."""
    office = await stage.database.run(chats.by_address, "chat", "office")
    assert office is not None
    await stage.database.run(lambda c: chats.update(c, office.id, f"{SECRET} room"))
    await stage.database.run(users.ensure, f"chat:{SECRET}", f"Mister {SECRET}")
    await stage.database.run(members.add, f"chat:{SECRET}", stage.work.id)
    await stage.call("Members.Add", stage.work_session, user=f"chat:{SECRET}-2")
    (approval,) = await stage.pending()
    question = questions.Question(
        f"{SECRET}question", "wwwwwwwwwwww", "out-1", "chat", "office", None, SECRET, "", approval.options, "", "2026",
        "2090",
    )  # fmt: skip
    await stage.database.run(questions.add, question)
    (wiring,) = await stage.database.run(chats.wirings_of_chat, office.id)
    ids = [stage.work.id, "wwwwwwwwwwww", office.id, wiring.id, approval.id, question.id]
    names = ["work", "office", "chat:office", f"{SECRET} room", f"chat:{SECRET}", f"Mister {SECRET}", f"{SECRET}-2"]
    return [*ids, *(one[:6] for one in ids), *names, "wwww", "chat:office/work"]


def _parameters(stage: AgentStage, method: str) -> list[str]:
    found = stage.calls._methods[method]
    return list(found.parameters.__struct_fields__)


async def test_anothers_ids_are_worth_no_more_than_ones_that_do_not_exist(
    stage: AgentStage, caplog: pytest.LogCaptureFixture
):
    """Whatever parameter they stand in: the same answer as to any word, and nothing of the other agent in it."""
    foreign = await _foreign(stage)
    before = await _everything(stage)
    for method in RULES:
        short = method.removeprefix("io.nanoclaw.")
        for name in _parameters(stage, method):
            for text in foreign:
                reply = await stage.call(short, **{name: text})
                # Of the same form: that a name can't be one of this kind is no secret.
                nobody = re.sub("[a-z0-9]", "q", text)
                other = await stage.call(short, **{name: nobody})
                if reply.get("error") == PENDING:
                    assert other.get("error") == PENDING, (method, name, text)
                    await _forget(stage)
                    continue
                said, nothing = json.dumps(reply), json.dumps(other)
                assert SECRET not in said.replace(text, ""), (method, name, text, reply)
                assert said.replace(text, "X") == nothing.replace(nobody, "X"), (method, name, text)
    assert await _everything(stage) == before
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("scope", ["disabled", "group", "global"])
async def test_hostile_names_in_every_place(stage: AgentStage, caplog: pytest.LogCaptureFixture, scope: str):
    """An answer that can be told, a card that hides nothing, and no fault; the next call is answered as ever."""
    foreign = await _foreign(stage)
    await stage.scope(scope)
    await _forget(stage)
    before = await _everything(stage)
    chance = random.Random(scope)
    texts = [*(text for text in NASTY if len(text) < 3000), *foreign, "home", stage.home.id, "hhhh"]
    values: list[Any] = [*texts, None, True, 0, -1, 2**70, 1.5, [], {}, ["home"], {"name": "home"}]
    for _ in range(1000):
        method = chance.choice([*RULES, "io.nanoclaw.Approvals.Decide", "io.nanoclaw.Chat.Send", "x"])
        names = _parameters(stage, method) if method in stage.calls._methods else ["name"]
        given = {name: chance.choice(values if chance.random() < 0.3 else texts) for name in names}
        reply = await stage.raw(json.dumps({"method": method, "parameters": given}))
        assert {"error", "parameters"} & reply.keys()
        if reply.get("error") == PENDING:
            for approval in await stage.pending():
                assert not dangerous(approval.title + approval.body)
            await _forget(stage)
        elif "error" in reply and "message" in reply["parameters"]:
            assert not dangerous(reply["parameters"]["message"], allowed="\n")
    assert await _everything(stage) == before
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    if scope != "disabled":
        assert (await stage.call("Groups.Get", name="home"))["parameters"]["group"]["name"] == "home"


async def _forget(stage: AgentStage) -> None:
    for approval in await stage.pending():
        if approval.session_id == "hhhhhhhhhhhh":
            await stage.database.run(approvals.decide, approval.id, "expired", None, None)


async def _everything(stage: AgentStage) -> list[Any]:
    """Return all rows that a call could have changed; the approvers' direct chats come to be with their cards."""
    tables = (
        "agent_groups", "messaging_groups WHERE platform_id NOT LIKE 'dm-%'", "messaging_group_agents",
        "users", "user_roles", "agent_group_members",
        "agent_destinations", "sessions",
    )  # fmt: skip
    return await stage.database.run(
        lambda connection: [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
    )
