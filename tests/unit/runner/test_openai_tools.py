"""Tool calling by the ``openai`` provider: a real runner, a real socket, and a model that calls what it likes."""

import json
from collections.abc import Iterator

import pytest
from model_endpoint import Endpoint, refuses, says, wants
from runner_stage import Host
from tool_stage import Stage

from nanoclaw_runner.providers.openai_history import History

CONFIG = {"provider": "openai", "model": "tiny", "instructions": "Be brief.", "prompt": "addressed"}


@pytest.fixture
def endpoint(host: Host) -> Iterator[Endpoint]:
    server = Endpoint(host.places.gateway_socket)
    yield server
    server.shutdown()
    server.server_close()


def ask(stage: Stage, text: str, count: int = 1) -> str:
    stage.host.insert(text)
    stage.ring()
    return stage.answered(count)


def results(endpoint: Endpoint, index: int = -1) -> list[str]:
    return [one["content"] for one in endpoint.requests[index]["messages"] if one["role"] == "tool"]


def test_tools_are_offered_called_and_their_results_told(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(("current_time", "{}"), text="A moment."), says("It is late.")]
    stage = Stage(host, **CONFIG, timezone="Europe/Berlin")
    assert ask(stage, "What time is it?") == "It is late."
    offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in endpoint.requests[0]["tools"]}
    assert {"current_time", "send_message", "run_command"} <= set(offered)
    assert offered["send_message"]["type"] == "object"
    called, result = endpoint.requests[1]["messages"][-2:]
    assert called["tool_calls"][0]["function"] == {"name": "current_time", "arguments": "{}"}
    assert result["tool_call_id"] == called["tool_calls"][0]["id"]
    assert "+0" in result["content"]


def test_what_a_tool_does_has_its_effect(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(("send_message", '{"text": "on my way"}')), says("Done.")]
    stage = Stage(host, **CONFIG)
    stage.host.insert("go")
    stage.ring()
    (row,) = stage.await_rows(1)
    assert row["content"]["text"] == "on my way"
    stage.becomes(row, "delivered")
    assert stage.answered() == "Done."


def test_calls_of_one_answer_run_side_by_side_and_are_told_in_order(host: Host, endpoint: Endpoint):
    """The first waits for the second: one after the other they would never end."""
    first = "i=0; while [ ! -e there ] && [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done; test -e there && echo first"
    calls = [
        ("run_command", json.dumps({"command": first})),
        ("run_command", '{"command": "touch there; echo second"}'),
    ]
    endpoint.behaviours = [wants(*calls), says("Both.")]
    assert ask(Stage(host, **CONFIG), "go") == "Both."
    assert results(endpoint) == ["first", "second"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("current_time", "{not json"), "the arguments are no JSON"),
        (("current_time", "[1]"), "the arguments are no JSON object"),
        (("no_such_tool", "{}"), "unknown tool: no_such_tool. There are: "),
        (("send_message", "{}"), "send_message: "),
        (("run_command", '{"command": "sleep 60", "timeout": 1}'), "ended after 1 s"),
        (("run_command", '{"command": "x", "timeout": 100000}'), "run_command: "),
    ],
)
def test_what_goes_wrong_with_a_call_is_told_to_the_model(
    host: Host, endpoint: Endpoint, call: tuple[str, str], words: str
):
    endpoint.behaviours = [wants(call), says("I see.")]
    assert ask(Stage(host, **CONFIG), "go") == "I see."
    (result,) = results(endpoint)
    assert result.startswith("Error: ")
    assert words in result
    # what is sent back is an object, whatever the model wrote
    assert isinstance(json.loads(endpoint.requests[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]), dict)


def test_a_thousand_calls_are_bounded_and_the_session_lives(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(*[("current_time", "{}")] * 1000), says("Enough."), says("Still here.")]
    stage = Stage(host, **CONFIG, max_tool_calls=5)
    assert ask(stage, "go") == "Enough."
    found = results(endpoint, 1)
    assert len(found) == 1000
    assert sum("limit of tool calls" in result for result in found) == 995
    assert endpoint.requests[1]["tool_choice"] == "none"
    assert ask(stage, "and now?", 2) == "Still here."


def test_a_model_that_calls_without_end_is_stopped(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(("no_such_tool", "{}"))] * 4 + [says("Back.")]
    stage = Stage(host, **CONFIG, max_tool_calls=3)
    assert ask(stage, "go") == "Error: the model embedded/tiny called tools without end, and was stopped"
    assert ask(stage, "and now?", 2) == "Back."


def test_the_next_turn_knows_what_was_done(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(("run_command", '{"command": "echo forty-two"}')), says("Counted."), says("42")]
    stage = Stage(host, **CONFIG)
    ask(stage, "count")
    ask(stage, "how many?", 2)
    roles = [message["role"] for message in endpoint.requests[2]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert results(endpoint) == ["forty-two"]


def test_an_endpoint_that_refuses_tools_is_asked_without_and_the_operator_told(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [refuses(400, "this model does not support tools"), says("Plainly."), says("Again.")]
    stage = Stage(host, **CONFIG)
    assert ask(stage, "go") == "Plainly."
    assert "tools" not in endpoint.requests[1]
    ask(stage, "again", 2)
    assert "tools" not in endpoint.requests[2]
    (trouble,) = [content for content in host.contents("system") if content.get("action") == "trouble"]
    assert trouble["kind"] == "refused"
    assert trouble["subject"] == "embedded"


def test_no_tools_are_offered_where_they_are_off(host: Host, endpoint: Endpoint):
    assert ask(Stage(host, **CONFIG, tools=False), "go") == "ok"
    assert "tools" not in endpoint.requests[0]


def test_words_beside_a_call_are_the_answer_where_none_follow(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(("current_time", "{}"), text="Noted."), says()]
    assert ask(Stage(host, **CONFIG), "go") == "Noted."


def test_a_message_beside_a_call_is_sent_and_once(host: Host, endpoint: Endpoint):
    block = '<message to="here">First.</message>'
    endpoint.behaviours = [wants(("current_time", "{}"), text=block), says("Second.")]
    stage = Stage(host, **CONFIG)
    ask(stage, "go", 2)
    endpoint.behaviours = [wants(("current_time", "{}"), text=block), says()]
    ask(stage, "again", 3)
    assert host.replies() == ["First.", "Second.", "First."]


def test_usage_of_all_requests_of_a_turn_is_reported_together(host: Host, endpoint: Endpoint):
    endpoint.behaviours = [wants(("current_time", "{}"), usage=(100, 10)), says("So.", usage=(150, 5))]
    ask(Stage(host, **CONFIG), "go")
    (usage,) = [content for content in host.contents("system") if content.get("action") == "usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["toolCalls"]) == (250, 15, 1)
    assert usage["costMicros"] is None


def test_a_line_of_an_earlier_version_is_still_read(host: Host):
    path = host.places.home / "openai" / "x.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"reference": "in-2", "user": "u", "assistant": "a", "tokens_read": 3, "tokens_written": 4}\n')
    (exchange,) = History(path).past().exchanges
    assert (exchange.user, exchange.assistant, exchange.tokens_read, exchange.steps) == ("u", "a", 3, ())
