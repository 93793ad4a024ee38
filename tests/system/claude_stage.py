"""What the tests of the provider claude stand on: its image, a scripted Messages API on loopback, and its key."""

import contextlib
import json
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from system import appliance
from system.appliance import ControlError, Person

KEY: Final = f"sk-ant-api03-{secrets.token_hex(24)}"
"""What no container may ever hold."""

TOKEN: Final = f"sk-ant-oat01-{secrets.token_hex(24)}"
CREDENTIALS: Final = {"claude-test-key": KEY, "claude-test-token": TOKEN}
CREDSTORE: Final = Path("/etc/credstore.encrypted")
PORT: Final = 18_089
MODEL: Final = "claude-sonnet-4-5"
PATIENCE: Final = 60.0
SECONDS: Final = 60.0
"""For an answer."""

_TESTS: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Api:
    """The scripted API, as a test asks about it."""

    port: int

    def _ask(self, path: str, body: object | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def reset(self) -> None:
        """Forget what was asked, and accept the right credentials again."""
        self._ask("/_reset", {})
        self._ask("/_credentials", {"key": KEY, "token": TOKEN})

    def accept(self, key: str) -> None:
        """Accept another key, and no other."""
        self._ask("/_credentials", {"key": key, "token": "none"})

    def seen(self) -> list[dict[str, Any]]:
        """Return the requests, oldest first; none of them was wrong."""
        report = self._ask("/_seen")
        assert report["faults"] == []
        found: list[dict[str, Any]] = report["requests"]
        return found

    def body(self) -> str:
        """Return the last request."""
        return json.dumps(self._ask("/_body"))

    def credentials(self) -> list[str]:
        """Return every key and token that was shown to the API."""
        found: list[str] = self._ask("/_seen")["credentials"]
        return found


def store(name: str, value: str) -> Path:
    """Keep a credential for the gateway, sealed; return its file."""
    target = CREDSTORE / f"nanoclaw-gateway.{name}"
    CREDSTORE.mkdir(mode=0o700, exist_ok=True)
    appliance.run(
        *("systemd-run", "--pipe", "--wait", "--quiet", "--collect", "sh", "-c"),
        f"printf %s {value} | systemd-creds encrypt --name=nanoclaw-gateway.{name} - {target}",
    )
    return target


@contextlib.contextmanager
def claude_appliance() -> Iterator[Api]:
    """Have the image, the endpoints and the API for as long as a module's tests run."""
    if "agent-claude" not in {one["name"] for one in appliance.call("Images.List")["images"]}:
        appliance.run("ncl", "images", "build", "agent-claude", seconds=900)
    for name, value in CREDENTIALS.items():
        store(name, value)
    command = [sys.executable, "-m", "messages_api", "--port", str(PORT), "--key", KEY, "--token", TOKEN]
    server = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline(), "the scripted API does not come up"
    address = {"url": f"http://127.0.0.1:{PORT}", "api": "anthropic"}
    endpoints = {
        "claude-test": {**address, "credential": "claude-test-key"},
        "claude-token": {**address, "credential": "claude-test-token", "auth": "oauth"},
        "claude-none": {**address, "credential": "claude-no-such-key"},
    }
    try:
        with appliance.configured(endpoints=endpoints, timeouts={"idle": 60, "silence": 20, "turn": 300}):
            appliance.run("systemctl", "restart", "nanoclaw-gateway.service")
            api = Api(PORT)
            api.reset()
            yield api
    finally:
        server.terminate()
        server.wait()
        for name in CREDENTIALS:
            (CREDSTORE / f"nanoclaw-gateway.{name}").unlink(missing_ok=True)
        appliance.run("systemctl", "restart", "nanoclaw-gateway.service")


@contextlib.contextmanager
def claude_group(endpoint: str = "claude-test") -> Iterator[str]:
    """Make a group of the provider, and delete it with all that is its."""
    name = f"c{secrets.token_hex(4)}"
    appliance.call("Groups.Create", name=name, provider="claude", model=f"{endpoint}/{MODEL}")
    appliance.call("Roles.Grant", user="terminal:root", role="admin", group=name)
    try:
        yield name
    finally:
        with contextlib.suppress(ControlError):
            appliance.call("Groups.Delete", name=name, force=True, seconds=90)


@contextlib.contextmanager
def somebody(endpoint: str = "claude-test") -> Iterator[Person]:
    """Somebody at the terminal of a new group of the provider."""
    with claude_group(endpoint) as name, Person(name) as person:
        yield person


def ask(person: Person, *lines: str, seconds: float = SECONDS) -> str:
    """Return the answer to a message of these lines."""
    outcome = person.ask("\n".join(lines), seconds)
    assert outcome.state == "completed", outcome
    return outcome.text
