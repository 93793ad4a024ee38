"""What the Agent SDK's messages mean: they are known by their names, so these stand in for them."""

from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from nanoclaw_runner.contract.agent_config import McpServer
from nanoclaw_runner.providers import base, claude_tools, claude_words
from nanoclaw_runner.providers.claude_messages import Outcome, Reader
from nanoclaw_runner.providers.claude_words import Failure, failed, is_stale
from nanoclaw_runner.tools.base import Toolbox
from nanoclaw_runner.way_out import variables


@dataclass
class StreamEvent:
    event: dict[str, Any]
    parent_tool_use_id: str | None = None


@dataclass
class TextBlock:
    text: str


@dataclass
class ThinkingBlock:
    thinking: str = "hm"


@dataclass
class ToolUseBlock:
    name: str = "Bash"


@dataclass
class ToolResultBlock:
    content: str = "done"


@dataclass
class AssistantMessage:
    model: str = "claude-x"
    error: str | None = None
    content: list[object] = field(default_factory=list)
    message_id: str | None = "m1"
    parent_tool_use_id: str | None = None
    stop_reason: str | None = None
    uuid: str | None = None


@dataclass
class UserMessage:
    content: str | list[object] = ""
    parent_tool_use_id: str | None = None


@dataclass
class SystemMessage:
    subtype: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class ResultMessage:
    subtype: str = "success"
    is_error: bool = False
    result: str | None = "done"
    errors: list[str] | None = None
    api_error_status: int | None = None
    user_message_uuids: list[str] | None = None
    usage: dict[str, int] | None = None
    model_usage: dict[str, dict[str, Any]] | None = None
    total_cost_usd: float | None = None


@dataclass
class SomethingNew:
    """Of a client that is newer than this code."""


def delta(text: str, parent: str | None = None) -> StreamEvent:
    return StreamEvent({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}, parent)


def part(message_id: str, *blocks: object, parent: str | None = None) -> AssistantMessage:
    return AssistantMessage(content=list(blocks), message_id=message_id, parent_tool_use_id=parent)


def stop(reason: str) -> StreamEvent:
    return StreamEvent({"type": "message_delta", "delta": {"stop_reason": reason}})


def heard(*messages: object) -> tuple[list[str], str]:
    """Return what was said on the way, and the answer."""
    reader = Reader()
    events = [event for message in messages for event in reader.read(message)]
    assert isinstance(events[-1], Outcome)
    return [event.text for event in events if isinstance(event, base.Said)], events[-1].text


def counted(read: int, written: int, dollars: float) -> dict[str, Any]:
    models = {"claude-x": {"inputTokens": read, "outputTokens": written}}
    return {"model_usage": models, "total_cost_usd": dollars, "usage": {"output_tokens": 0}}


@pytest.mark.parametrize(
    "message",
    [
        SomethingNew(),
        UserMessage(),
        AssistantMessage(),
        SystemMessage("informational"),
        SystemMessage("status", {"status": "requesting"}),
        StreamEvent({"type": "ping"}),
        StreamEvent({"type": "message_stop"}),
        delta("a helper's words", "toolu_1"),
    ],
)
def test_every_message_is_a_sign_of_life(message: object):
    """F-38."""
    assert list(Reader().read(message)) == [base.Activity()]


def test_the_text_grows_and_begins_anew_with_each_message_of_the_model():
    reader = Reader()
    seen = [*reader.read(delta("Let me")), *reader.read(delta(" see"))]
    seen += [*reader.read(StreamEvent({"type": "message_start"})), *reader.read(delta("It is"))]
    assert seen == [base.Partial("Let me"), base.Partial("Let me see"), base.Activity(), base.Partial("It is")]


def test_words_beside_a_call_are_no_part_of_the_answer():
    said, answer = heard(
        *(part("m1", ThinkingBlock()), part("m1", TextBlock("one")), part("m1", ToolUseBlock()), stop("tool_use")),
        *(part("m1", TextBlock("a helper's"), parent="toolu_1"), UserMessage([ToolResultBlock()])),
        *(part("m2", ToolUseBlock()), part("m2", TextBlock("two")), stop("tool_use"), UserMessage([ToolResultBlock()])),
        *(part("m3", TextBlock("done")), stop("end_turn"), ResultMessage(result="done")),
    )
    assert (said, answer) == (["one", "two"], "done")


def test_an_answer_of_several_texts_is_whole():
    """The client's own result is the last text only."""
    parts = (part("m1", TextBlock("one")), part("m1", ThinkingBlock()), part("m1", TextBlock("two")))
    assert heard(*parts, stop("end_turn"), ResultMessage(result="two")) == ([], "one\n\ntwo")
    cut = (part("m1", TextBlock("be")), stop("max_tokens"), UserMessage("go on"), part("m2", TextBlock("gin")))
    assert heard(*cut, stop("end_turn"), ResultMessage(result="gin")) == ([], "begin")


def test_words_that_broke_off_are_not_said_twice():
    again = (part("m1", TextBlock("one")), part("m2", TextBlock("one")), stop("end_turn"))
    assert heard(*again, ResultMessage(result="one")) == ([], "one")


def test_what_was_said_before_a_failure_is_kept():
    failure = ResultMessage(is_error=True, result=None, subtype="error_during_execution")
    assert heard(part("m1", TextBlock("one")), stop("end_turn"), failure) == (["one"], "")


def test_a_summary_is_nobodys_answer():
    """W-38."""
    boundary = SystemMessage("compact_boundary", {})
    summary = (part("m1", TextBlock("all of it")), stop("end_turn"), boundary)
    assert heard(*summary, ResultMessage(result="")) == ([], "")


def test_the_conversations_name_is_told_and_a_server_that_failed_once():
    reader = Reader()
    servers = [{"name": "good", "status": "connected"}, {"name": "bad", "status": "failed"}]
    begin = SystemMessage("init", {"session_id": "s-1", "mcp_servers": servers})
    init, works, concern = reader.read(begin)
    assert (init, works) == (base.Init("s-1"), base.Works("good"))
    assert isinstance(concern, base.Concern)
    assert (concern.trouble, concern.subject) == ("mcp", "bad")
    assert list(reader.read(begin)) == [base.Init("s-1"), base.Works("good")]


def test_a_conversation_made_shorter_is_progress():
    """W-38: it is no answer."""
    (event,) = Reader().read(SystemMessage("compact_boundary", {"compact_metadata": {"pre_tokens": 165000}}))
    assert isinstance(event, base.Progress)
    assert "165,000 tokens" in event.message


def test_waiting_is_said_and_known():
    """W-72: silence while the client waits means nothing."""
    reader = Reader()
    data = {"attempt": 2, "max_retries": 6, "retry_delay_ms": 40_000, "error_status": 429, "error": "rate_limit"}
    (event,) = reader.read(SystemMessage("api_retry", data))
    assert event == base.Progress("the model's rate limit is reached; trying again in 40 s (2 of 6)")
    assert reader.wait_until > 0
    list(reader.read(delta("and on")))
    assert reader.wait_until == 0


def test_a_credential_that_is_refused_is_not_waited_for():
    (event,) = Reader().read(SystemMessage("api_retry", {"error_status": 401, "error": "authentication_failed"}))
    assert isinstance(event, Outcome)
    assert event.failure is not None
    assert failed(event.failure, "a/b").trouble == "credentials"


def test_usage_is_that_of_the_turn():
    reader = Reader()
    list(reader.read(AssistantMessage()))
    first, second = (
        next(reader.read(ResultMessage(**found))) for found in (counted(100, 20, 0.0005), counted(350, 50, 0.002))
    )
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert first.usage == base.Usage("claude-x", 100, 20, cost_micros=500)
    assert second.usage == base.Usage("claude-x", 250, 30, cost_micros=1500)


def test_a_client_that_goes_on_from_unknown_counts_is_believed_for_the_turn():
    reader = Reader(counted=None)
    message = ResultMessage(**counted(1000, 200, 0.5) | {"usage": {"input_tokens": 10, "output_tokens": 2}})
    (outcome,) = reader.read(message)
    assert isinstance(outcome, Outcome)
    assert outcome.usage == base.Usage("", 10, 2)


def test_a_failure_has_the_clients_name_for_it():
    reader = Reader()
    list(reader.read(AssistantMessage("<synthetic>", "overloaded")))
    (outcome,) = reader.read(ResultMessage(is_error=True, result="API Error: 529 Overloaded", api_error_status=529))
    assert isinstance(outcome, Outcome)
    assert outcome.failure == Failure("API Error: 529 Overloaded", 529, "overloaded")


@pytest.mark.parametrize(
    ("failure", "trouble", "words"),
    [
        (Failure("API Error: 401 {}", 401), "credentials", "its credential was not accepted"),
        (
            Failure('API Error: 401 {"error":{"message":"endpoint a does not accept the API key \\"k\\""}}', 401),
            "credentials",
            'endpoint a does not accept the API key "k"',
        ),
        (
            Failure('API Error: 503 the API key "k" is not stored; run: x'),
            "credentials",
            'the API key "k" is not stored',
        ),
        (Failure("limit", 429, "rate_limit", 36_000), "rate-limit", "until 10:00"),
        (Failure("API Error: 529 Overloaded", 529), "overloaded", "is overloaded"),
        (Failure('API Error: 400 {"error":{"message":"too\\nlong"}}', 400), "refused", "refused this: too long"),
        (Failure("API Error: 500 internal", 500), "network", "could not be reached, or broke off: internal"),
        (Failure("Connection error."), "network", "broke off: Connection error."),
        (Failure("Credit balance is too low", None, "billing_error"), "credentials", "cannot be asked"),
    ],
)
def test_failures_are_words(failure: Failure, trouble: str, words: str):
    event = failed(failure, "a/b", UTC)
    assert event.trouble == trouble
    assert words in event.message
    assert "{" not in event.message
    assert "\n" not in event.message


def test_endless_words_of_an_api_are_bounded():
    assert len(claude_words.said_by_api("x " * 10_000)) <= 300


@pytest.mark.parametrize(
    ("words", "stale"),
    [
        ("No conversation found with session ID: 1", True),
        ("ENOENT: no such file, open '/home/agent/.claude/projects/a.jsonl'", True),
        ("Session abc NOT FOUND", True),
        ("Command failed with exit code 1", False),
    ],
)
def test_a_stale_conversation_is_known(words: str, stale: bool):
    assert is_stale(words) is stale


def test_configured_servers_and_their_names():
    servers = (
        McpServer("my server", command="srv", args=("-x",), env={"A": "b"}),
        McpServer("web", url="github/mcp"),
        McpServer("nanoclaw", command="evil"),
    )
    found = claude_tools.configured(servers, "http://127.0.0.1:1", Path("/nowhere/gateway.sock"))
    env = {**variables("http://127.0.0.1:1"), "A": "b"}
    assert found["my server"] == {"type": "stdio", "command": "srv", "args": ["-x"], "env": env}
    assert found["web"] == {"type": "http", "url": "http://127.0.0.1:1/github/mcp"}
    assert "nanoclaw" not in found, "the runner's own tools are not replaced"
    assert "mcp__my_server__*" in claude_tools.allowed(servers)


async def test_calls_are_announced_refused_and_counted():
    said: list[base.Event] = []
    watch = claude_tools.Watch(Toolbox([], max_calls=9), 2, said.append)
    bash = {"tool_name": "Bash", "tool_input": {"timeout": 5000}}
    assert await watch.before(bash, "1", None) == {}
    assert watch.running == {"1": "Bash"}
    await watch.after(bash, "1", None)
    assert said == [base.ToolBegan("Bash", 20.0), base.ToolEnded("Bash")]
    assert not watch.running

    def denied(answer: dict[str, Any]) -> str:
        return str(answer.get("hookSpecificOutput", {}).get("permissionDecisionReason", ""))

    assert "not available" in denied(await watch.before({"tool_name": "CronCreate"}, "2", None))
    assert await watch.before({"tool_name": "Read"}, "3", None) == {}
    assert "2 tool calls" in denied(await watch.before({"tool_name": "Read"}, "4", None))
    assert watch.denials == 1
    # Those of the runner are counted and announced by the toolbox.
    assert await watch.before({"tool_name": "mcp__nanoclaw__send_message"}, "5", None) == {}
    watch.begin_turn()
    assert await watch.before({"tool_name": "Read"}, "6", None) == {}
