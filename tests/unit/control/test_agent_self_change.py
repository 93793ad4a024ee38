"""Agents that ask for packages, MCP servers or a restart with words: what is shown, done, and told to whom."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nanoclawd.permissions.actions import APPROVE
from nanoclawd.store import approvals, group_configuration
from unit.control.agent_stage import ADMIN, AgentStage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[AgentStage]:
    made = AgentStage(tmp_path)
    await made.open()
    yield made
    await made.end()


async def configuration(stage: AgentStage) -> group_configuration.GroupConfiguration:
    return await stage.database.run(group_configuration.load, stage.home.id)


def row_of(stage: AgentStage, approval_id: str) -> tuple[str, bool]:
    row = stage.mailboxes.rows["hhhhhhhhhhhh", f"command-{approval_id}"]
    return json.loads(row.content)["text"], row.on_wake


async def test_packages_are_installed_for_who_asked(stage: AgentStage):
    """F-203, F-225, W-29: all names on the card; a yes, then the session that asked begins afresh, for a note."""
    approval_id = await stage.asked("Packages.Install", apt=["jq", "g++"], pip=["rich"], reason="for sums")
    text = stage.channels["chat"].all_cards()[-1].card.text
    assert "ncl packages install home --apt jq --apt g++ --pip rich --reason 'for sums'" in text
    assert 'apt: `["jq", "g++"]`' in text
    assert "exactly these packages" in text
    assert (await configuration(stage)).packages == {}
    await stage.allowed_by(ADMIN)
    assert (await configuration(stage)).packages == {"apt": ("jq", "g++"), "pip": ("rich",)}
    assert stage.restarted == ["hhhhhhhhhhhh"]
    told, on_wake = row_of(stage, approval_id)
    assert on_wake
    assert told.startswith("Done: ncl packages install home")
    assert told.endswith("Verify that what you asked for works, and report.")


async def test_what_fails_restarts_nobody(stage: AgentStage):
    approval_id = await stage.asked("Packages.Install", apt=["missing"], reason="r")
    await stage.allowed_by(ADMIN)
    told, on_wake = row_of(stage, approval_id)
    assert not on_wake
    assert "Unable to locate package missing" in told
    assert stage.restarted == []
    assert (await configuration(stage)).packages == {}


async def test_what_is_refused_is_told(stage: AgentStage):
    approval_id = await stage.asked("Packages.Install", apt=["jq"], reason="r")
    await stage.allowed_by(ADMIN, "deny")
    assert row_of(stage, approval_id) == (
        "Refused by somebody with the right to decide: ncl packages install home --apt jq --reason r",
        False,
    )
    assert (await configuration(stage)).packages == {}


@pytest.mark.parametrize(
    "asked",
    [{"apt": ["jq; reboot"]}, {"npm": ["--global"]}, {"pip": ["../x"]}, {}, {"apt": [f"p{n}" for n in range(21)]}],
)
async def test_what_can_t_be_installed_is_asked_of_nobody(stage: AgentStage, asked: dict[str, list[str]]):
    """W-57: an agent gets the rule for an answer, by every method."""
    for method in ("Packages.Install", "Packages.Add", "Packages.Remove"):
        code, told = await stage.refused(method, **asked)
        assert code in {"InvalidName", "TooLarge"}
        assert told["message"]
    for wrong in ({"program": "x", "url": "a/b"}, {}, {"program": "x", "env": ["no"]}, {"url": "https://x"}):
        assert (await stage.refused("Mcp.Install", name="files", **wrong))[0] == "InvalidName"
    assert await stage.pending() == []


async def test_a_daemon_that_died_meanwhile_does_it_again(stage: AgentStage):
    """F-225: installing again does no harm, so nobody is told that it is not known whether it was done."""
    approval_id = await stage.asked("Packages.Install", apt=["jq"], reason="r")
    waiting = await stage.database.run(approvals.by_id, approval_id)
    await stage.database.run(approvals.decide, approval_id, "approved", "root", APPROVE.value)
    approved = await stage.database.run(approvals.by_id, approval_id)
    assert approved.payload == waiting.payload
    await stage.calls.finish(approved, resumed=True)
    assert row_of(stage, approval_id)[1]
    assert (await configuration(stage)).packages == {"apt": ("jq",)}
    await stage.calls.finish(approved, resumed=True)
    assert (await configuration(stage)).packages == {"apt": ("jq",)}


async def test_an_mcp_server_is_added_or_replaced(stage: AgentStage):
    """F-203, F-225: with every argument and variable on the card."""
    await stage.asked("Mcp.Install", name="files", program="mcp-files", args=["-v", "a b"], env=["A=1"], reason="r")
    text = stage.channels["chat"].all_cards()[-1].card.text
    assert "ncl mcp install home files --program mcp-files --arg=-v --arg 'a b' --env A=1 --reason r" in text
    await stage.allowed_by(ADMIN)
    (server,) = (await configuration(stage)).mcp_servers
    assert (server.command, server.args, server.env) == ("mcp-files", ("-v", "a b"), {"A": "1"})
    approval_id = await stage.asked("Mcp.Install", name="files", url="notes/mcp", reason="r")
    await stage.allowed_by(ADMIN)
    assert row_of(stage, approval_id)[1]
    (server,) = (await configuration(stage)).mcp_servers
    assert (server.command, server.url) == ("", "notes/mcp")


@pytest.mark.parametrize(
    ("url", "words"),
    [("notes/other", "has the paths mcp"), ("vllm/mcp", "speaks the API of openai"), ("x/mcp", "no endpoint")],
)
async def test_an_mcp_server_must_be_one_behind_the_gateway(stage: AgentStage, url: str, words: str):
    """Else its group would have one that never works; nobody is asked to allow what cannot be."""
    for method in ("Mcp.Install", "Mcp.Add"):
        code, told = await stage.refused(method, name="files", url=url)
        assert code in {"NotFound", "Refused"}
        assert words in told["message"]
        assert told.get("hint") is None
    assert await stage.pending() == []
    assert not (await configuration(stage)).mcp_servers


async def test_a_restart_with_a_message_and_a_new_image(stage: AgentStage):
    """F-223, F-224: after a yes, of the own session alone; only its next container has the message."""
    approval_id = await stage.asked("Groups.Restart", rebuild=True, message="go on with the sums")
    await stage.allowed_by(ADMIN)
    assert stage.rebuilt == ["home"]
    assert stage.restarted == ["hhhhhhhhhhhh"]
    told, on_wake = row_of(stage, approval_id)
    assert on_wake
    assert told.endswith("\ngo on with the sums")


async def test_settings_that_only_write(stage: AgentStage):
    """F-216: nothing is restarted, nothing is built."""
    for method, given in (
        ("Packages.Add", {"apt": ["jq"]}),
        ("Mcp.Add", {"name": "files", "program": "mcp-files"}),
        ("Packages.Remove", {"apt": ["jq"]}),
        ("Mcp.Remove", {"name": "files"}),
    ):
        approval_id = await stage.asked(method, **given)
        await stage.allowed_by(ADMIN)
        assert not row_of(stage, approval_id)[1]
    assert stage.restarted == []
    assert stage.rebuilt == []
    assert (await configuration(stage)).packages == {}


async def test_an_agent_without_a_scope_changes_nothing_of_itself(stage: AgentStage):
    """F-203: cli_scope disabled."""
    await stage.scope("disabled")
    for method in ("Packages.Install", "Mcp.Install", "Groups.Restart"):
        assert (await stage.refused(method, name="x"))[0] == "Refused"


async def test_nothing_on_a_card_is_invisible(stage: AgentStage):
    """Letters, symbols and marks that show nothing are spelled out, as controls are."""
    await stage.asked("Mcp.Install", name="sums", program="run", args=["a\u3164b", "c\u2800", "d\ufe0f\U000e0100"])
    text = stage.channels["chat"].all_cards()[-1].card.text
    assert r"--arg 'a\u3164b' --arg 'c\u2800' --arg 'd\ufe0f\U000e0100'" in text
    assert not set("\u3164\u2800\ufe0f\U000e0100") & set(text)


async def test_nobody_is_asked_what_nobody_could_read(stage: AgentStage):
    """A card has all of a call, so a call that needs somebody's word has a bound of its own."""
    code, told = await stage.refused("Mcp.Install", name="sums", program="run", args=["x" * 4000] * 10)
    assert (code, "too long for anybody" in told["message"]) == ("Refused", True)
    assert (await stage.refused("Peers.Create", name="helper", instructions="x" * 16385))[0] == "TooLarge"
    assert (await stage.refused("Peers.Create", name="helper", instructions="", key="k" * 129))[0] == "InvalidName"
    assert await stage.pending() == []
