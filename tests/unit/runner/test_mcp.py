"""MCP servers for providers without a client of their own: real servers, made with the protocol's own library."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_stage import program, unpacked
from model_endpoint import Endpoint, Handler, refuses, says, sends, wants
from runner_stage import Host
from tool_stage import Stage

RUNNER = Path(__file__).parents[3] / "runner"


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("mcp"))


@pytest.fixture
def endpoint(host: Host) -> Iterator[Endpoint]:
    server = Endpoint(host.places.gateway_socket)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def stage_of(host: Host, libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A runner whose agent has the small server, and those that a test adds."""
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "x")
    start = host.start

    def starts(**environment: str) -> Any:
        return start(**environment, PYTHONPATH=f"{libraries}:{RUNNER}")

    monkeypatch.setattr(host, "start", starts)

    def stage(*more: dict[str, object], small: bool = True) -> Stage:
        command, *args = program(tmp_path, libraries)
        servers = [{"name": "small", "command": command, "args": args, "env": {"TOKEN": "its own"}}] if small else []
        return Stage(host, provider="openai", model="tiny", mcp_servers=(*servers, *more))

    return stage


def ask(stage: Stage, text: str = "go", count: int = 1) -> str:
    stage.host.insert(text)
    stage.ring()
    return stage.answered(count)


def results(endpoint: Endpoint, index: int = -1) -> list[str]:
    return [one["content"] for one in endpoint.requests[index]["messages"] if one["role"] == "tool"]


def offered(endpoint: Endpoint, index: int = -1) -> set[str]:
    return {tool["function"]["name"] for tool in endpoint.requests[index]["tools"]}


def troubles(host: Host) -> list[tuple[str, str]]:
    found = [content for content in host.contents("system") if content.get("action") == "trouble"]
    return [(content["subject"], content["message"]) for content in found if content["kind"] == "mcp"]


def test_a_servers_tools_are_offered_and_called(host: Host, endpoint: Endpoint, stage_of: Any):
    calls = [("mcp__small__add", '{"a": 2, "b": 3}'), ("mcp__small__fail", "{}"), ("mcp__small__much", "{}")]
    calls += [("mcp__small__add", '{"a": "no number"}'), ("mcp__small__environment", "{}")]
    endpoint.behaviours = [wants(*calls), says("Five.")]
    assert ask(stage_of()) == "Five."
    assert {"mcp__small__add", "send_message"} <= offered(endpoint)
    five, failed, much, wrong, variables = results(endpoint)
    assert five == "5"
    assert failed.startswith("Error: ")
    assert len(much) <= 64 * 1024
    assert "cut here" in much
    assert wrong.startswith("Error: ")
    assert "SECRET_OF_THE_RUNNER" not in variables
    assert "NOTIFY_SOCKET" not in variables
    assert variables.endswith(" its own")
    assert troubles(host) == []


def test_a_server_that_dies_is_named_and_started_again_for_the_next_turn(host: Host, endpoint: Endpoint, stage_of: Any):
    endpoint.behaviours = [wants(("mcp__small__die", "{}")), says("Oh."), wants(("mcp__small__add", '{"a":1,"b":1}'))]
    stage = stage_of()
    assert ask(stage) == "Oh."
    (result,) = results(endpoint)
    assert result.startswith("Error: the MCP server small")
    assert "mcp__small__add" not in offered(endpoint)
    assert ask(stage, "again", 2) == "ok"
    assert results(endpoint)[-1] == "2"
    ((subject, message),) = troubles(host)
    assert subject == "small"
    assert "it ended (exit status 3)" in message


def test_a_server_that_floods_is_ended_and_the_rest_works(host: Host, endpoint: Endpoint, stage_of: Any):
    endpoint.behaviours = [wants(("mcp__small__flood", "{}"), ("current_time", "{}")), says("Fine.")]
    assert ask(stage_of()) == "Fine."
    flooded, time = results(endpoint)
    assert "and was ended" in flooded
    assert time.startswith("20")
    ((subject, message),) = troubles(host)
    assert (subject, "more than anybody can read" in message) == ("small", True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/no/such/program"], "No such file or directory"),
        ([sys.executable, "-c", "import sys; sys.exit('no licence')"], "it ended (exit status 1): no licence"),
        ([sys.executable, "-c", "print('hello')"], "it ended (exit status 0)"),
        (["yes"], "and was ended"),
        (["sleep", "600"], "it did not begin to work within 5 s"),
    ],
)
def test_a_server_that_does_not_begin_leaves_the_others_alone(
    host: Host, endpoint: Endpoint, stage_of: Any, command: list[str], words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BEFORE_RUNNER", "from nanoclaw_runner.mcp import servers; servers.START_SECONDS = 5.0")
    endpoint.behaviours = [wants(("mcp__small__add", '{"a": 2, "b": 3}')), says("Five.")]
    assert ask(stage_of({"name": "bad", "command": command[0], "args": command[1:]})) == "Five."
    assert results(endpoint) == ["5"]
    ((subject, message),) = troubles(host)
    assert subject == "bad"
    assert words in message


def test_a_server_is_reached_over_the_gateway(host: Host, endpoint: Endpoint, stage_of: Any):
    def no_server(handler: Handler) -> None:
        refuses(404, "no such path")(handler)

    endpoint.behaviours = [no_server, says("Fine.")]
    assert ask(stage_of({"name": "far", "url": "notes/mcp"}, small=False)) == "Fine."
    assert endpoint.paths[0] == "/notes/mcp"
    assert endpoint.requests[0]["method"] == "initialize"
    ((subject, _),) = troubles(host)
    assert subject == "far"


def test_a_server_behind_the_gateway_works(host: Host, endpoint: Endpoint, stage_of: Any):
    def speak(handler: Handler) -> None:
        asked = json.loads(handler.body)
        results: dict[str, object] = {
            "initialize": {
                "protocolVersion": asked.get("params", {}).get("protocolVersion"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "far", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "look", "description": "Look.", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "a note"}]},
        }
        result = results.get(asked["method"])
        if result is None:
            sends(b"", "application/json", 202)(handler)
            return
        reply = {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        sends(json.dumps(reply).encode(), "application/json")(handler)

    endpoint.routes["/notes/mcp"] = speak
    endpoint.behaviours = [wants(("mcp__far__look", "{}")), says("Seen.")]
    assert ask(stage_of({"name": "far", "url": "notes/mcp"}, small=False)) == "Seen."
    assert results(endpoint) == ["a note"]
    assert troubles(host) == []


def test_an_image_without_the_library_is_told(host: Host, endpoint: Endpoint):
    stage = Stage(host, provider="openai", model="tiny", mcp_servers=({"name": "a", "command": "true"},))
    assert ask(stage) == "ok"
    ((_, message),) = troubles(host)
    assert "the image does not have what it takes" in message
