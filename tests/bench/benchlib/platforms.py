"""Chat platforms for the appliance: the servers of ``tests/telegram_api`` and ``tests/discord_api`` as programs."""

import json
import math
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchlib.appliance import Appliance
from benchlib.machine import systemctl
from benchlib.varlink import Link
from eventually import wait_until

CHATS = 20
IDLE_SECONDS = 600
_CREDENTIALS = Path("/etc/credstore.encrypted")
_TESTS = Path(__file__).parents[2]
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Moments:
    """When the server began to tell a message, and when an answer's request had come; by chat and text."""

    told: dict[tuple[str, str], float]
    came: list[tuple[float, str, str]]


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages in so many seconds."""

    count: int
    seconds: float

    def least(self, messages: int) -> float:
        """Return within how many seconds so many can come at the earliest: the first ones at once."""
        return (math.ceil(messages / self.count) - 1) * self.seconds


class Platform(ABC):
    """A server, the bot's token, a channel of the appliance, and chats in which people write.

    Attributes:
        per_chat: how many messages the server takes in one chat.
        overall: how many in all.
    """

    name: str
    per_chat: Rate
    overall: Rate

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = f"4242:{secrets.token_urlsafe(30)[:35]}"
        self.chats: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def section(self) -> dict[str, str]:
        """What the configuration says of the channel."""
        return {"type": self.name, "api": f"http://127.0.0.1:{self.port}"}

    def __enter__(self) -> Self:
        """Run the server, make its chats and store the token."""
        command = [sys.executable, "-m", f"{self.name}_api", "--port", str(self.port), "--token", self.token]
        self._server = subprocess.Popen(command, cwd=_TESTS, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        if not self._server.stdout.readline():
            raise RuntimeError(f"{self.name}: the server does not come up")
        self.chats = self._make_chats()
        self.store_secret()
        return self

    def store_secret(self) -> None:
        """Have the appliance get the token."""
        file = self._credential
        file.parent.mkdir(mode=0o700, exist_ok=True)
        seal = f"systemd-creds encrypt --name={file.name} - {file}"
        command = ["systemd-run", "--pipe", "--wait", "--quiet", "--collect", "sh", "-c", seal]
        subprocess.run(command, check=True, input=self.token.encode(), stdout=subprocess.DEVNULL)
        systemctl("daemon-reload")  # with a token there is a network

    def forget_secret(self) -> None:
        """Have the appliance get it no more."""
        self._credential.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        self.forget_secret()
        systemctl("daemon-reload")
        if self._server is not None:
            self._server.terminate()
            self._server.wait()

    @property
    def _credential(self) -> Path:
        return _CREDENTIALS / f"nanoclawd.{self.name}"

    def wire(self, group: str) -> None:
        """Have a group's agent hear everything in the chats."""
        link = Link()
        for chat in self.chats:
            made = link.call(
                "io.nanoclaw.Chats.Create",
                channel=self.name,
                chat=chat,
                is_group=self._is_group,
                unknown_sender_policy="public",
            )["chat"]
            link.call(
                "io.nanoclaw.Wirings.Create",
                chat=made["id"],
                group=group,
                engage_mode="pattern",
                engage_pattern=".",
            )
        link.close()

    def connected(self) -> None:
        """Wait until the appliance's channel is up."""
        wait_until(self._is_up, f"channel {self.name} is up", _PATIENCE_SECONDS)

    def answered(self, texts: Sequence[str], seconds: float = _PATIENCE_SECONDS) -> Moments:
        """Wait until all of these have come as answers, and return the moments.

        Raises:
            TimeoutError: they have not.
        """
        moments = self.seen(texts, seconds)
        missing = set(texts) - {text for _, _, text in moments.came}
        if missing:
            raise TimeoutError(f"{self.name}: {len(missing)} answers have not come, {min(missing)!r} among them")
        return moments

    def seen(self, texts: Sequence[str], seconds: float) -> Moments:
        """Wait until all of these have come, or so long, and return the moments."""
        ends = time.monotonic() + seconds
        while True:
            moments = self.moments()
            if set(texts) <= {text for _, _, text in moments.came} or time.monotonic() > ends:
                return moments
            time.sleep(_LOOK_SECONDS if len(texts) == 1 else 1.0)  # a look costs the server time

    def ask(self, messages: Sequence[tuple[str, str]], seconds: float = _PATIENCE_SECONDS) -> Moments:
        """Have people write at once (chats and texts), and wait until every message has its answer."""
        self.write(messages)
        return self.answered([echo(text) for _, text in messages], seconds)

    def moments(self) -> Moments:
        """Ask the server."""
        found = self._control("moments")
        # Of messages that are told again, the first time.
        told = {(chat, text): moment for moment, chat, text in reversed(found["told"])}
        return Moments(told, [(moment, chat, text) for moment, chat, text in found["came"]])

    @abstractmethod
    def write(self, messages: Sequence[tuple[str, str]]) -> None:
        """Have people write at once: chats and texts."""

    @abstractmethod
    def exceeded(self) -> int:
        """Return how many requests were more than the limits allow."""

    @property
    @abstractmethod
    def _is_group(self) -> bool:
        """Whether the chats are groups."""

    @abstractmethod
    def _make_chats(self) -> list[str]:
        """Make them, and return their ids."""

    @abstractmethod
    def _control(self, what: str, **arguments: object) -> Any:
        """Call a method of the server's control side."""

    def _post(self, path: str, body: object) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
            return json.load(answer)

    def _is_up(self) -> bool:
        link = Link()
        found = link.call("io.nanoclaw.Channels.List")["channels"]
        link.close()
        return any(one["name"] == self.name and one["state"] == "ok" for one in found)


class Telegram(Platform):
    """Private chats, with the limits that Telegram documents."""

    name = "telegram"
    per_chat = Rate(1, 1.0)
    overall = Rate(30, 1.0)
    _is_group = False

    def write(self, messages: Sequence[tuple[str, str]]) -> None:
        """Write; a private chat has its person's id."""
        self._control("write_all", messages=[(int(chat), text) for chat, text in messages])

    def exceeded(self) -> int:
        """Return how many messages were answered by 429."""
        return int(self._control("counts")["refused"])

    def _make_chats(self) -> list[str]:
        people = range(1001, 1001 + CHATS)
        for user in people:
            self._control("person", user=user, name=f"Person {user}")
        return [str(user) for user in people]

    def _control(self, what: str, **arguments: object) -> Any:
        return self._post("/control", {"do": what, "args": arguments})["result"]


class Discord(Platform):
    """Channels of a server; the buckets are the tests' own, as Discord documents none; the overall one is its own."""

    name = "discord"
    per_chat = Rate(5, 5.0)
    overall = Rate(50, 1.0)
    _is_group = True

    def write(self, messages: Sequence[tuple[str, str]]) -> None:
        """Write."""
        self._control("say_all", messages=messages)

    def exceeded(self) -> int:
        """Return how many requests were answered by 429."""
        return sum(self._control("counts")["exceeded"].values())

    def _make_chats(self) -> list[str]:
        return [str(self._control("channel", name=f"room-{number}")) for number in range(CHATS)]

    def _control(self, what: str, **arguments: object) -> Any:
        return self._post(f"/_control/{what}", arguments)["answer"]


def configure(appliance: Appliance, *platforms: Platform) -> None:
    """Have the appliance use these, and nothing else; room for a session of each chat."""
    channels = {platform.name: platform.section for platform in platforms}
    appliance.configure(idle=IDLE_SECONDS, max_awake=CHATS + 2, channels=channels)
    for platform in platforms:
        platform.connected()


def echo(text: str) -> str:
    """Return what the scripted agent answers."""
    return f"echo: {text}"
