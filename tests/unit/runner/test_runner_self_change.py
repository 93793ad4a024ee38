"""The tools by which an agent asks for changes of itself, through a real runner; the test is the host."""

import json
from typing import Any

import pytest
from runner_stage import Host
from tool_stage import Stage

PENDING = {
    "error": "io.nanoclaw.Appliance.ApprovalPending",
    "parameters": {"message": "somebody has to allow this first (approval a1)", "hint": None, "approval": "a1"},
}


def asked(stage: Stage, tool: str, arguments: dict[str, object], reply: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Have a tool called and answer its call of the host; return what it asked for, and what the agent was told."""
    stage.calls((tool, arguments))
    (row,) = stage.await_rows(1)
    frame: dict[str, Any] = json.loads(row["content"]["frame"])
    stage.host.answer_call(row["content"]["requestId"], json.dumps(reply))
    stage.ring()
    return frame, stage.answered()


def test_packages_are_asked_for(host: Host):
    """F-203: the same method as the operator's; that it waits for somebody is no error."""
    frame, told = asked(
        Stage(host), "install_packages", {"apt": ["jq"], "pip": ["rich"], "reason": "for sums"}, PENDING
    )
    assert frame == {
        "method": "io.nanoclaw.Packages.Install",
        "parameters": {"apt": ["jq"], "pip": ["rich"], "reason": "for sums"},
    }
    assert "Not done yet: somebody has to allow this first (approval a1)" in told


def test_an_mcp_server_is_asked_for(host: Host):
    """F-203: with its variables as NAME=VALUE."""
    arguments: dict[str, object] = {"name": "files", "command": "mcp", "args": ["-v"], "env": {"A": "1"}, "reason": "r"}
    frame, told = asked(Stage(host), "add_mcp_server", arguments, PENDING)
    assert frame["method"] == "io.nanoclaw.Mcp.Install"
    assert frame["parameters"] == {"name": "files", "program": "mcp", "args": ["-v"], "env": ["A=1"], "reason": "r"}
    assert "Not done yet" in told


def test_what_the_host_refuses_is_an_error(host: Host):
    reply = {"error": "io.nanoclaw.Packages.InvalidName", "parameters": {"message": "no such name", "hint": None}}
    _, told = asked(Stage(host), "install_packages", {"apt": ["a b"], "reason": "r"}, reply)
    assert told == "no such name"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reason": "r"}, "name at least one package"),
        ({"apt": ["jq"]}, "reason"),
        ({"apt": [f"p{number}" for number in range(21)], "reason": "r"}, "<= 20"),
    ],
)
def test_what_is_plainly_wrong_asks_nobody(host: Host, arguments: dict[str, object], words: str):
    stage = Stage(host)
    stage.calls(("install_packages", arguments))
    assert words in stage.answered()
    assert [row for row in stage.rows() if row["kind"] == "system"] == []


def test_an_agent_that_may_not_ask_is_not_shown_them(host: Host):
    """F-203: cli_scope disabled."""
    stage = Stage(host, may_ask_host=False)
    stage.calls(("install_packages", {"apt": ["jq"], "reason": "r"}))
    assert "unknown tool" in stage.answered()


def test_a_host_is_asked_for(host: Host):
    frame, told = asked(Stage(host), "request_access", {"host": "a.example:8443", "reason": "the news"}, PENDING)
    assert frame["method"] == "io.nanoclaw.Egress.Request"
    assert frame["parameters"] == {"host": "a.example:8443", "reason": "the news"}
    assert "Not done yet" in told
