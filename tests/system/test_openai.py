"""The provider openai in a container: a scripted endpoint calls an MCP server, the shell and the runner's own tools."""

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import pytest

from system import appliance
from system.appliance import ControlError, Person

PORT: Final = 18_097
SECONDS: Final = 90.0
SERVER: Final = """
import sys
sys.path.insert(0, "/opt/mcp")
from mcp.server import MCPServer
server = MCPServer("sums")
@server.tool()
def add(a: int, b: int) -> str:
    return str(a + b)
server.run()
"""


class Model(ThreadingHTTPServer):
    """Calls what it is told to, in its first answer; repeats the tools' results in its second."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", PORT), Handler)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Model

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        last = request["messages"][-1]
        if last["role"] == "tool":
            told = [one["content"] for one in request["messages"] if one["role"] == "tool"]
            delta: dict[str, Any] = {"content": " | ".join(told)}
        else:
            calls = [
                {"index": index, "id": f"c{index}", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for index, (name, arguments) in enumerate(self.server.calls)
            ]
            delta = {"tool_calls": calls}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        choices = [{"index": 0, "delta": delta, "finish_reason": "stop"}]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"data: {json.dumps({**chunk, 'choices': choices})}\n\ndata: [DONE]\n\n".encode())


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    server = Model()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with appliance.configured(endpoints={"scripted-openai": {"url": f"http://127.0.0.1:{PORT}"}}):
        appliance.run("systemctl", "restart", "nanoclaw-gateway.service")
        yield server
    server.shutdown()
    server.server_close()
    appliance.run("systemctl", "restart", "nanoclaw-gateway.service")


@pytest.fixture
def person(model: Model) -> Iterator[Person]:
    name = f"o{secrets.token_hex(4)}"
    appliance.call("Groups.Create", name=name, provider="openai", model="scripted-openai/m")
    appliance.call("Mcp.Add", group=name, name="sums", program="python3", args=["-c", SERVER])
    appliance.call("Mcp.Add", group=name, name="broken", program="/no/such/program")
    try:
        with Person(name) as found:
            yield found
    finally:
        with contextlib.suppress(ControlError):
            appliance.call("Groups.Delete", name=name, force=True, seconds=90)


def test_tools_of_all_kinds_have_their_effect_in_the_container(model: Model, person: Person):
    """What a model without a client of its own calls is carried out, and a server that fails hinders nobody."""
    model.calls = [
        ("mcp__sums__add", {"a": 19, "b": 23}),
        ("run_command", {"command": "echo written > note; cat note; id -u"}),
        ("current_time", {}),
        ("no_such_tool", {}),
    ]
    outcome = person.ask("go", SECONDS)
    assert outcome.state == "completed", outcome
    added, printed, time, unknown = outcome.text.split(" | ")
    assert added == "42"
    assert printed.startswith("written\n")
    assert time.startswith("20")
    assert unknown.startswith("Error: unknown tool")
    offered = {tool["function"]["name"] for tool in model.requests[0]["tools"]}
    assert {"send_message", "ask_user_question", "schedule_task", "run_command"} <= offered
    assert "broken" in json.dumps(appliance.call("Appliance.Status"))
