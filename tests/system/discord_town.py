"""A Discord of our own for the appliance: the server of ``tests/discord_api`` as a program, and a channel before it."""

import base64
import contextlib
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eventually import wait_until
from system import appliance
from system.appliance import call, run

CHANNEL: Final = "discord"
TOKEN: Final = "MTIz.system-test.token"
PORT: Final = 18_095
CREDENTIAL: Final = Path("/etc/credstore.encrypted") / f"nanoclawd.{CHANNEL}"
SECONDS: Final = 60.0

_TESTS: Final = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Discord:
    """The other side: people, and what they see."""

    port: int = PORT

    def do(self, what: str, **arguments: Any) -> Any:
        """Call a method of the server's control."""
        body = json.dumps(arguments).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_control/{what}", body)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["answer"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{what}: {error.read().decode()}") from error

    def say(self, channel: str, text: str, who: str = "Alice", **more: Any) -> str:
        """Write; return the message's id."""
        return str(self.do("say", channel=channel, text=text, who=who, **more))

    def send_file(self, channel: str, text: str, name: str, content: bytes) -> str:
        """Write with a file."""
        file = {"name": name, "data": base64.b64encode(content).decode()}
        return self.say(channel, text, files=[file])

    def shown(self, channel: str) -> list[dict[str, Any]]:
        """Return what is seen in a channel."""
        found: list[dict[str, Any]] = self.do("shown", channel=channel)
        return found

    def texts(self, channel: str) -> list[str]:
        """Return what the bot said in a channel."""
        return [one["text"] for one in self.shown(channel) if one["author"] == "helper"]

    def sees(self, channel: str, wanted: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """Wait for a message in a channel."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [one for one in self.shown(channel) if wanted(one)]
            return bool(found)

        wait_until(look, f"{what} in {channel}", SECONDS)
        return found[0]

    def hears(self, channel: str, words: str) -> dict[str, Any]:
        """Wait until the bot has said something."""
        return self.sees(channel, lambda one: one["author"] == "helper" and words in one["text"], repr(words))


def chat_of(channel: str, group: str, **rules: Any) -> None:
    """Have an agent hear a channel."""
    made = call("Chats.Create", channel=CHANNEL, chat=channel, is_group=True, unknown_sender_policy="public")["chat"]
    call("Wirings.Create", chat=made["id"], group=group, **rules)


def state() -> dict[str, Any]:
    """Return how the channel is."""
    found: dict[str, Any] = next(one for one in call("Channels.List")["channels"] if one["name"] == CHANNEL)
    return found


@contextlib.contextmanager
def discord_appliance(known_as: int = PORT, heartbeat: float = 41.25) -> Iterator[Discord]:
    """Have the server, the token and the channel for as long as a module's tests run.

    Args:
        known_as: the port that the channel uses: a proxy's.
        heartbeat: so often, in seconds, the gateway wants to hear.
    """
    command = [sys.executable, "-m", "discord_api", "--port", str(PORT), "--token", TOKEN, "--unlimited"]
    command += ["--known-as", str(known_as), "--heartbeat", str(heartbeat)]
    server = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE)
    assert server.stdout is not None
    assert server.stdout.readline().startswith(b"listening"), "the server does not come up"
    CREDENTIAL.parent.mkdir(mode=0o700, exist_ok=True)
    run(
        *("systemd-run", "--pipe", "--wait", "--quiet", "--collect", "sh", "-c"),
        f"printf %s {TOKEN} | systemd-creds encrypt --name={CREDENTIAL.name} - {CREDENTIAL}",
    )
    run("systemctl", "daemon-reload")  # with a token there is a network
    made = Discord()
    try:
        channels = {CHANNEL: {"type": "discord", "api": f"http://127.0.0.1:{known_as}"}}
        with appliance.configured(channels=channels):
            wait_until(lambda: state()["state"] == "ok", "the channel is up", SECONDS)
            yield made
    finally:
        server.terminate()
        server.wait()
        CREDENTIAL.unlink(missing_ok=True)
        run("systemctl", "daemon-reload")
        appliance.restart_daemon()
