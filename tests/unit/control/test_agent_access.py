"""Agents that ask for a host: whoever may decide chooses for how long, nobody is asked over and over.

F-118: who may decide about the group is asked. The owner's word stands: what a rule denies is not asked about.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nanoclaw_runner.contract.clock import parse
from nanoclawd.control.agent_calls.service import MAX_OF_A_KIND
from nanoclawd.egress.rules import Asked, decide
from nanoclawd.egress.targets import Target
from nanoclawd.store import egress
from nanoclawd.store.egress import NewRule
from unit.control.agent_stage import ADMIN, AgentStage

HOST = "news.example.org"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[AgentStage]:
    made = AgentStage(tmp_path)
    await made.open()
    yield made
    await made.end()


async def rules(stage: AgentStage) -> list[egress.EgressRow]:
    return await stage.database.run(egress.listed)


async def write(stage: AgentStage, action: str, host: str = HOST, **more: object) -> None:
    await stage.database.run(egress.put, NewRule(stage.home.id, action, host, **more), "root")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "lasting"), [("10m", timedelta(minutes=10)), ("1h", timedelta(hours=1)), ("always", None)]
)
async def test_whoever_decides_chooses_for_how_long(stage: AgentStage, choice: str, lasting: timedelta | None):
    approval = await stage.asked("Egress.Request", host=HOST, reason="for the news")
    (waiting,) = await stage.pending()
    assert [one.value for one in waiting.options] == ["10m", "1h", "always", "deny"]
    assert f"ncl egress request {HOST}" in waiting.body
    assert "reason: for the news" in waiting.body
    assert await rules(stage) == []
    assert "by" in await stage.allowed_by(ADMIN, choice)
    (row,) = await rules(stage)
    assert (row.rule.action, row.rule.host, row.rule.group, row.rule.port) == ("allow", HOST, "home", None)
    assert (row.rule.private, row.created_by) == (False, "agent:home")
    if lasting is None:
        assert row.expires_at is None
    else:
        left = parse(row.expires_at or "") - datetime.now(UTC)
        assert lasting - timedelta(seconds=20) < left <= lasting
    assert stage.note(approval).startswith(f"Done: ncl egress request {HOST}")


async def test_a_no_is_told_and_not_asked_about_again(stage: AgentStage):
    approval = await stage.asked("Egress.Request", host=HOST, reason="one")
    assert await stage.asked("Egress.Request", host=HOST.upper(), reason="two") == approval, "the same host"
    await stage.allowed_by(ADMIN, "deny")
    assert stage.note(approval).startswith("Refused by somebody with the right to decide")
    assert await rules(stage) == []
    code, told = await stage.refused("Egress.Request", host=HOST, reason="three")
    assert (code, "has refused this already" in told["message"]) == ("Refused", True)
    await stage.database.run(
        lambda connection: connection.execute("UPDATE approvals SET decided_at = '2020-01-01T00:00:00.000Z'").get
    )
    await stage.asked("Egress.Request", host=HOST, reason="another day")


async def test_a_person_is_asked_about_so_many(stage: AgentStage):
    for number in range(MAX_OF_A_KIND):
        await stage.asked("Egress.Request", host=f"h{number}.example")
    code, told = await stage.refused("Egress.Request", host="one-more.example")
    assert (code, "ask again later" in told["message"]) == ("Refused", True)
    # What is not about hosts has bounds of its own.
    await stage.asked("Members.Add", user="chat:bob")


@pytest.mark.parametrize(
    "host",
    [
        *("*", "*.example.org", "127.0.0.1:80", "[::1]:80", "10.0.0.1", "169.254.169.254", "0177.0.0.1", "u@a.example"),
        *("ftp://a.example", "a.example:0", "a b", "http://", "a.example\n"),
    ],
)
async def test_what_nobody_is_asked_about(stage: AgentStage, host: str):
    code, _ = await stage.refused("Egress.Request", host=host)
    assert code == "InvalidName"
    assert await stage.pending() == []


@pytest.mark.parametrize(("action", "words"), [("deny", "owner's word"), ("allow", "already"), ("ask", "beforehand")])
async def test_what_a_rule_says_is_not_asked_about(stage: AgentStage, action: str, words: str):
    await write(stage, action, "*.example.org")
    code, told = await stage.refused("Egress.Request", host=HOST)
    assert (code, words in told["message"]) == ("Refused", True)
    assert await stage.pending() == []


@pytest.mark.parametrize(
    ("action", "rule", "host"),
    [
        ("deny", {"methods": ("POST",)}, HOST),
        ("ask", {"port": 443, "path": "/pay/"}, HOST),
        ("deny", {"port": 80}, HOST),
        ("deny", {"port": 80, "path": "/pay/"}, f"http://{HOST}"),
    ],
)
async def test_a_part_that_a_rule_denies_is_not_asked_for_with_the_rest(
    stage: AgentStage, action: str, rule: dict[str, object], host: str
):
    """Who allows a host does not know that this would take away what the owner has said of all hosts below a name."""
    await write(stage, action, "*.example.org", **rule)
    code, told = await stage.refused("Egress.Request", host=host)
    assert (code, "owner's word" in told["message"]) == ("Refused", True)
    assert await stage.pending() == []


async def test_a_part_of_the_very_host_stays_denied(stage: AgentStage):
    await write(stage, "deny", methods=("POST",))
    await stage.asked("Egress.Request", host=HOST)
    await stage.allowed_by(ADMIN, "always")
    (denied, allowed) = [row.rule for row in await rules(stage)]
    assert (denied.action, allowed.action) == ("deny", "allow")
    post = Asked(Target(HOST, 443), "POST", "/", "https")
    assert not decide([denied, allowed], "home", post, 0).allowed


async def test_a_rule_that_came_meanwhile_stands(stage: AgentStage):
    approval = await stage.asked("Egress.Request", host=HOST)
    await write(stage, "deny")
    await stage.allowed_by(ADMIN, "always")
    assert "Allowed, but it failed" in stage.note(approval)
    assert [row.rule.action for row in await rules(stage)] == ["deny"]


async def test_a_port_that_is_named_is_the_only_one(stage: AgentStage):
    await stage.asked("Egress.Request", host=f"https://{HOST}/news?x=1")
    await stage.allowed_by(ADMIN, "1h")
    await stage.asked("Egress.Request", host=f"{HOST}:8443")
    await stage.allowed_by(ADMIN, "1h")
    assert [row.rule.port for row in await rules(stage)] == [443, 8443]


async def test_an_agent_chooses_nothing_and_asks_for_no_other_group(stage: AgentStage):
    assert (await stage.refused("Egress.Request", host=HOST, lasting="always"))[0] == "InvalidParameter"
    assert (await stage.refused("Egress.Request", host=HOST, group="work"))[0] == "NotFound"
    assert await stage.pending() == []
