"""What tools ask of the host: calls of its interface, each with one reply, bounded, and not made twice."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from runner_stage import Host, desk_of

from nanoclaw_runner import desk as desk_module
from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.contract.rows import Address, InboundRow
from nanoclaw_runner.desk import MAX_FRAME_BYTES, Desk
from nanoclaw_runner.intake import Batch
from nanoclaw_runner.tool_error import HostError, ToolError
from nanoclaw_runner.tools import outcome, toolbox

METHOD = "io.nanoclaw.Tasks.Create"
CHANGING = {"create_agent", "install_packages", "add_mcp_server"}


def asking(desk: Desk, *identifiers: str) -> None:
    here = Address("cli", "terminal")
    rows = (InboundRow(one, 2 * n, "chat", "", "{}", address=here) for n, one in enumerate(identifiers, start=1))
    desk.asked = Batch(tuple(rows))


async def answered(host: Host, desk: Desk, reply: dict[str, object], call: Awaitable[Any]) -> tuple[Any, Any]:
    """Have the host answer the last call; return the call as it was made, and what came of it."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)  # it writes its row in its first step
    request = host.contents("system")[-1]
    desk._intake.waiting.answered(request["requestId"], json.dumps(reply))
    await asyncio.wait([task])
    return json.loads(request["frame"]), task


def play(host: Host, scene: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        await scene(desk_of(host))

    asyncio.run(run())


def test_a_call_has_its_replys_parameters(host: Host):
    async def scene(desk: Desk) -> None:
        call = desk.call(METHOD, {"prompt": "ü", "script": None})
        frame, task = await answered(host, desk, {"parameters": {"id": "t-1"}}, call)
        assert frame == {"method": METHOD, "parameters": {"prompt": "ü"}}
        assert task.result() == {"id": "t-1"}

    play(host, scene)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"error": "io.nanoclaw.Tasks.NotFound", "parameters": {"message": "no task x", "hint": None}}, "no task x"),
        (
            {"error": "io.nanoclaw.Tasks.Refused", "parameters": {"message": "never", "hint": "ncl tasks list"}},
            r"never \(ncl tasks list\)",
        ),
        ({"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "when"}}, "parameter when"),
        ({"error": "org.varlink.service.MethodNotFound"}, "answered org.varlink.service.MethodNotFound"),
    ],
)
def test_a_hosts_error_is_its_words(host: Host, reply: dict[str, object], words: str):
    async def scene(desk: Desk) -> None:
        _frame, task = await answered(host, desk, reply, desk.call(METHOD, {}))
        with pytest.raises(HostError, match=words) as caught:
            task.result()
        assert caught.value.name == reply["error"]

    play(host, scene)


def test_a_host_that_says_nothing_is_an_error_in_time(host: Host, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(desk_module, "CALL_SECONDS", 0.1)

    async def scene(desk: Desk) -> None:
        with pytest.raises(ToolError, match=r"did not answer within 0\.1 seconds"):
            await desk.call(METHOD, {})
        assert not desk._intake.waiting._waiting

    play(host, scene)


def test_a_call_that_is_too_long_is_refused_before_any_row(host: Host):
    async def scene(desk: Desk) -> None:
        with pytest.raises(ToolError, match="too long"):
            await desk.call(METHOD, {"script": "x" * MAX_FRAME_BYTES})
        assert host.contents("system") == []

    play(host, scene)


def test_nobody_is_asked_where_an_agent_asks(host: Host):
    """A card needs somebody who can choose: another agent is told so."""

    async def scene(desk: Desk) -> None:
        desk.asked = Batch((InboundRow("in-2", 2, "chat", "", "{}", address=Address("agent", "helper")),))
        question = {"title": "Yes?", "question": "Or no?", "options": ["Yes"]}
        with pytest.raises(ToolError, match="another agent asks"):
            await toolbox(AgentConfig(), host.places, desk).call("ask_user_question", question)
        assert host.contents("card") == []

    play(host, scene)


def test_a_repeated_turns_call_is_not_made_twice(host: Host):
    """The same turn, begun anew with a message more to answer: its call finds the reply that the first one got."""

    async def scene(desk: Desk) -> None:
        asking(desk, "in-2")
        key = desk.key("schedule_task", {"prompt": "x"})
        assert desk.key("schedule_task", {"prompt": "x"}) != key
        await answered(host, desk, {"parameters": {"id": "t-1"}}, desk.call(METHOD, {"key": key}, key))
        content = {"type": "control_reply", "requestId": key, "frame": '{"parameters": {"id": "t-1"}}'}
        host.insert("", identifier=f"control-{key}", kind="system", content=json.dumps(content), status="completed")
        desk.asked = None
        asking(desk, "in-2", "in-4")
        assert desk.key("schedule_task", {"prompt": "x"}) == key
        assert await desk.call(METHOD, {"key": key}, key) == {"id": "t-1"}
        assert len(host.contents("system")) == 1
        asking(desk, "in-4")
        assert desk.key("schedule_task", {"prompt": "x"}) != key

    play(host, scene)


def test_parallel_calls_of_tools_and_of_ncl_share_one_sequence(host: Host, monkeypatch: pytest.MonkeyPatch):
    """W-12, W-13, W-17, F-77: one writer gives all numbers; each row is whole, in order, and answers the message."""
    monkeypatch.setattr(desk_module, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(outcome, "OUTCOME_SECONDS", 0.1)

    async def scene(desk: Desk) -> None:
        host.insert("hello", identifier="in-2")
        asking(desk, "in-2")
        box = toolbox(AgentConfig(), host.places, desk)
        said = (box.call("send_message", {"text": f"m{number}"}) for number in range(40))
        asked = (desk.call(METHOD, {"number": number}) for number in range(4))
        await asyncio.gather(*said, *asked, return_exceptions=True)
        rows = host.outbound("SELECT seq, kind, in_reply_to FROM messages_out ORDER BY rowid")
        numbers = [int(str(row[0])) for row in rows]
        assert numbers == list(range(3, 3 + 2 * 44, 2))
        assert [row[2] for row in rows if row[1] == "chat"] == ["in-2"] * 40
        assert [one["text"] for one in host.contents("chat")] == [f"m{number}" for number in range(40)]

    play(host, scene)


def test_what_changes_the_appliance_is_hidden_from_who_may_not_ask(host: Host):
    """W-26: such a tool is neither in the list nor callable."""

    async def scene(desk: Desk) -> None:
        box = toolbox(AgentConfig(may_ask_host=False), host.places, desk)
        names = {tool.name for tool in box.tools}
        assert names
        assert not names & CHANGING
        with pytest.raises(ToolError, match="unknown tool: create_agent"):
            await box.call("create_agent", {"name": "x"})

    play(host, scene)


def test_each_tools_schema_says_what_it_takes(host: Host):
    """F-50: every provider is offered the same: an object, without references, each argument described."""

    async def scene(desk: Desk) -> None:
        box = toolbox(AgentConfig(), host.places, desk)
        assert {tool.name for tool in box.tools} >= {
            *("send_message", "send_file", "edit_message", "add_reaction", "ask_user_question", "send_card"),
            *("schedule_task", "list_tasks", "update_task", "cancel_task", "pause_task", "resume_task"),
            *CHANGING,
        }
        for tool in box.tools:
            schema = tool.schema
            assert schema["type"] == "object"
            assert "$ref" not in json.dumps(schema)
            assert tool.description

    play(host, scene)
