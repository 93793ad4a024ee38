"""What an agent may know of secrets: those that its own requests get, and of them what it needs to use them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nanoclaw_runner.contract.rows import OutboundRow
from nanoclawd.egress.secrets import Place
from nanoclawd.errors import Refused
from nanoclawd.store import secrets
from nanoclawd.store.secrets import Exchange, NewSecret
from unit.control.agent_stage import ADMIN, OWNER, AgentStage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[AgentStage]:
    made = AgentStage(tmp_path)
    await made.open()
    both = (made.home.id, made.work.id)
    for new in (
        NewSecret("both", (Place("a.example"),), both, "basic", "olga@example.org"),
        NewSecret(
            "mail", (Place("m.example"),), (made.home.id,), "bearer", "", Exchange("https://t.example", "client-7")
        ),
        NewSecret("works", (Place("w.example"),), (made.work.id,), "bearer"),
        NewSecret("words", (Place("p.example"),), None, "placeholder"),
    ):
        await made.database.run(secrets.put, new, OWNER)
    yield made
    await made.end()


async def test_an_agent_sees_its_own_and_nothing_of_whose_they_are(stage: AgentStage):
    """F-119: no value is there to be told. Neither is another group, a user's name, a client, or who bound it."""
    reply = await stage.call("Secrets.List")
    found: dict[str, Any] = {one["name"]: one for one in reply["parameters"]["secrets"]}
    assert found.keys() == {"both", "mail", "words"}
    assert found["both"]["groups"] == ["home"]
    assert found["both"]["style"] == "basic:…"
    assert found["words"]["placeholder"] == "nanoclaw-secret-words"
    assert {one["group"] for one in found["words"]["closed"]} == {"home"}
    for word in ("olga", "client-7", "t.example", OWNER, "work"):
        assert word not in str(reply)


async def test_an_agent_of_a_wider_scope_sees_all_and_binds_none(stage: AgentStage):
    await stage.scope("global")
    reply = await stage.call("Secrets.List")
    assert len(reply["parameters"]["secrets"]) == 4
    assert "olga" not in str(reply)
    name, said = await stage.refused("Secrets.Bind", name="x", hosts=["x.example"], groups=["all"])
    assert (name, "is for operators" in said["message"]) == ("Refused", True)


async def test_an_agent_asks_for_no_other_group_and_without_ncl_for_none(stage: AgentStage):
    name, _ = await stage.refused("Secrets.List", group="work")
    assert name in {"Refused", "NotFound"}
    await stage.scope("disabled")
    assert (await stage.refused("Secrets.List"))[0] == "Refused"


async def test_to_ask_for_a_credential_is_no_action(stage: AgentStage):
    """F-144: the row is refused with words, which the journal gets, and nobody is asked anything."""
    content = json.dumps({"action": "request_credential", "requestId": "r", "frame": "{}", "name": "x"})
    row = OutboundRow("out-1", 1, "system", "2026-01-01T00:00:00.000Z", content)
    with pytest.raises(Refused, match="no action 'request_credential'"):
        await stage.calls.request(stage.home_session, row)
    assert stage.channels["chat"].all_cards() == []
    assert stage.mailboxes.rows == {}


async def test_approvals_go_on_beside_them(stage: AgentStage):
    """F-145: what is asked of people is decided as before, whatever secrets a group has."""
    await stage.asked("Members.Add", user="chat:bob")
    assert await stage.allowed_by(ADMIN) == "Allowed by Ada."
