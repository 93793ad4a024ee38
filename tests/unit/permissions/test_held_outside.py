"""Requests that OneCLI holds: cards like those of our own rules, and the answer that OneCLI is told.

F-108…F-114, F-116, F-118, F-130; W-52: the same question after a restart is the same card.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.egress.targets import BadTarget
from nanoclawd.gateway.onecli.approving import LEAST_SECONDS, seconds_left
from nanoclawd.gateway.onecli.card_asker import CardAsker, question
from nanoclawd.gateway.onecli.messages import ApprovalAgent, ApprovalRequest
from nanoclawd.gateway.policy import Agent
from nanoclawd.store.agent_groups import AgentGroup
from unit.permissions.permission_stage import BUTTONS, Platform
from unit.permissions.test_held import OWNER, Asking

ID = "7d5f2f7e-5a9c-4c0e-9a53-2f3f2f3f2f3f"
AGENT = Agent(uid=1, group="main", endpoints=(), id="ag-1")


class Outside(Asking):
    """A daemon, and a gateway that asks it for OneCLI."""

    group_id = ""

    def know(self, group: AgentGroup) -> None:
        """Publish the group, and no rule at all: OneCLI has its own."""
        self.group_id = group.id
        agent = {"uid": 1, "group": group.folder, "endpoints": [], "id": group.id, "name": group.name}
        published = {"version": 3, "agents": [agent], "egress": []}
        (self.path / "new.json").write_bytes(msgspec.json.encode(published))
        (self.path / "new.json").rename(self.path / "agents.json")

    def request(self, **changes: object) -> ApprovalRequest:
        made = ApprovalRequest(
            id=ID,
            method="DELETE",
            url="https://api.example.org:8443/v1/things/1?all=yes",
            host="api.example.org",
            path="/v1/things/1?all=yes",
            agent=ApprovalAgent("cm1", "Main", self.group_id),
            expires_at="2099-01-01T00:00:00Z",
            headers={"x-secret": "not shown"},
            body_preview='{"sure": true}',
        )
        return msgspec.structs.replace(made, **changes)

    def held_by_onecli(self, seconds: float = 20.0, **changes: object) -> "asyncio.Task[bool]":
        asker = CardAsker(self.approver, self.directory)
        return asyncio.create_task(asker.decide(self.request(**changes), seconds))


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Outside]:
    stage = Outside(tmp_path, {"chat": Platform("chat", BUTTONS)})
    await stage.start()
    await stage.person(OWNER, "Ada", "owner")
    stage.know(await stage.group("main"))
    yield stage
    await stage.end()
    stage.listening.close()


async def test_a_card_says_what_onecli_holds_and_there_is_no_hour(asking: Outside):
    """F-108, F-109, F-114, F-130: the group is found by its own id; OneCLI's id of the request is kept."""
    task = asking.held_by_onecli()
    card = await asking.card()
    assert card.card.title == "main asks: DELETE api.example.org"
    for words in ("OneCLI holds it", "DELETE https://api.example.org:8443/v1/things/1?all=yes", '> {"sure": true}'):
        assert words in card.card.text
    assert "not shown" not in card.card.text
    assert [one.value for one in card.card.options] == ["once", "deny"]
    assert len(f"{card.card_id}:once".encode()) <= 64
    (kept,) = await asking.database.run(
        lambda connection: list(connection.execute("SELECT json_extract(payload, '$.outside') FROM approvals"))
    )
    assert kept == (ID,)
    assert await asking.press(OWNER, card, "once") == "Allowed once by Ada."
    assert await task is True


async def test_no_is_no_and_an_hour_that_nobody_offered_decides_nothing(asking: Outside):
    """F-110."""
    task = asking.held_by_onecli()
    card = await asking.card()
    await asking.press(OWNER, replace(card, card_id=card.card_id), "hour")
    assert not task.done()
    await asking.press(OWNER, card, "deny")
    assert await task is False


async def test_nobody_decides_in_time(asking: Outside):
    """F-111: denied, and the card says so."""
    task = asking.held_by_onecli(seconds=1.0)
    await asking.card()
    assert await task is False
    await asking.says("→ Nobody decided in time")


async def test_nobody_to_ask_is_no_at_once(asking: Outside):
    """F-113."""
    asking.channels["chat"].without_dm.add("ada")
    assert await asking.held_by_onecli() is False
    assert asking.cards("dm-ada") == []


async def test_the_same_request_after_a_restart_of_the_gateway_is_the_same_card(asking: Outside):
    """F-112, W-52: and one decision."""
    asking.held_by_onecli()
    card = await asking.card()
    again = asking.held_by_onecli()  # before the daemon has noticed that the first has gone
    asking.gateway()
    await asking.press(OWNER, card, "once")
    assert await again is True
    assert len(asking.cards("dm-ada")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": ApprovalAgent("cm1", "Main", "ag-somebody-else")},
        {"agent": ApprovalAgent("cm1", "Main", None)},
        {"url": "ftp://api.example.org/"},
        {"url": "https:///nowhere"},
        {"method": "get it"},
    ],
)
async def test_what_cannot_be_shown_or_is_nobodys_is_denied(asking: Outside, changes: dict[str, object]):
    assert await asking.held_by_onecli(**changes) is False
    assert asking.cards("dm-ada") == []


@given(st.builds(ApprovalRequest, *[st.text(max_size=60)] * 5, st.just(ApprovalAgent()), st.text(max_size=30)))
def test_whatever_onecli_says_is_a_question_within_bounds_or_none(request_: ApprovalRequest):
    try:
        call = question(AGENT, request_)
    except BadTarget:
        return
    assert len(call["id"]) == 32
    assert 0 < call["port"] < 65_536


@given(st.text(max_size=40) | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat))
def test_every_time_that_onecli_names_is_one_that_somebody_can_wait_for(text: str):
    assert LEAST_SECONDS <= seconds_left(text) <= 3600
