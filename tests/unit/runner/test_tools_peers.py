"""The tool by which an agent asks for another one, with a host that is played."""

import json
from typing import Any

from runner_stage import Host
from tool_stage import Stage

ASKED = {"name": "Helper", "instructions": "Help."}


def exchange(stage: Stage, reply: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Have the agent ask and the host reply; return the call, and what the tool said."""
    stage.calls(("create_agent", ASKED))
    (row,) = stage.await_rows(1)
    told = {"type": "control_reply", "requestId": row["content"]["requestId"], "frame": json.dumps(reply)}
    stage.host.insert("", identifier=f"control-{row['id']}", kind="system", content=json.dumps(told), trigger=False)
    stage.ring()
    return json.loads(row["content"]["frame"]), stage.answered().removeprefix("call create_agent: ")


def test_somebody_is_asked_and_the_agent_is_not_kept_waiting(host: Host):
    """W-26: the host asks a person; a turn that is repeated asks once, by its key."""
    pending = {"error": "io.nanoclaw.Appliance.ApprovalPending", "parameters": {"message": "somebody is asked now"}}
    call, said = exchange(Stage(host), pending)
    assert call["method"] == "io.nanoclaw.Peers.Create"
    assert call["parameters"].pop("key").startswith("k-")
    assert call["parameters"] == ASKED
    assert said == "somebody is asked now"


def test_a_refusal_is_an_error(host: Host):
    refused = {"error": "io.nanoclaw.Peers.AlreadyExists", "parameters": {"message": "main knows a helper already"}}
    assert "main knows a helper already" in exchange(Stage(host), refused)[1]


def test_an_agent_that_may_not_ask_the_host_is_not_shown_the_tool(host: Host):
    """W-26: hidden, not only refused."""
    stage = Stage(host, may_ask_host=False)
    stage.calls(("create_agent", ASKED))
    assert "unknown tool: create_agent" in stage.answered()
