"""Telegram in the installed appliance, against a server of its Bot API and a transcript written by hand (acceptance 1).

F-47…F-49, F-58…F-60, F-73…F-75, F-121…F-123, F-128, F-129, F-177; W-11, W-39.
"""

import base64
import contextlib
import hashlib
import os
import random
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eventually import wait_until
from system import appliance
from system.appliance import call, daemon_pid, kill_daemon, rows, run, session_state
from telegram_api.remote import Remote

TRANSCRIPT = Path(__file__).with_name("telegram.txt")
TESTS = Path(__file__).parents[1]
CHANNEL = f"tele-{secrets.token_hex(3)}"
ANN, KITCHEN, HOUSE = 1001, -500, -1000000000777
PATIENCE_SECONDS = 120.0
SEED = int(os.environ.get("NANOCLAW_SOAK_SEED", "20260301"))
_SAYS = re.compile(r'ann(?: sends (?P<kind>\w+) (?P<file>\S+) "(?P<content>[^"]*)")?> ?(?P<text>.*)', re.DOTALL)
_CLICKS = re.compile(r"ann clicks (?P<label>[^:]+): (?P<words>.*)")
_EDITS = re.compile(r'ann edits "(?P<before>[^"]*)": (?P<after>.*)')
_SENDS = re.compile(r'bot sends (?P<kind>\w+) (?P<name>\S+) "(?P<content>.*?)"(?:> (?P<text>.*))?')
_CARD = re.compile(r"card: (?P<text>.*?)(?P<labels>(?: \[[^\]]+\])+)", re.DOTALL)

_CODE = "\n".join(f"    print('line {number} of a program')" for number in range(120))
_TABLE = "| place | people |\n|---|---|\n" + "".join(f"| room {number} | {number * 3} |\n" for number in range(80))
REPORT = "\n\n".join(
    [
        "# The report",
        "Some **bold** words, `code` and a [page](https://example.org). " * 30,
        f"```python\n{_CODE}\n```",
        _TABLE,
        "\n".join(f"{number}. item with some words" for number in range(1, 90)),
        "The end of the report.",
    ]
)


@dataclass
class Service:
    """The Bot API server in a process of its own, and the control side of it."""

    port: int
    token: str
    people: Remote

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def telegram() -> Iterator[Service]:
    """Run a server; with Ann, her kitchen group and her house's forum."""
    token = f"4242:{secrets.token_urlsafe(30)[:35]}"
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = int(chosen.getsockname()[1])
    command = [sys.executable, "-m", "telegram_api", "--port", str(port), "--token", token]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(TESTS)}) as process:
        try:
            wait_until(lambda: _listens(port), "the Bot API server listens")
            people = Remote(port)
            people.person(user=ANN, name="Ann", username="ann_a")
            people.group(chat=KITCHEN, title="Kitchen", kind="group")
            people.group(chat=HOUSE, title="House", is_forum=True)
            yield Service(port, token, people)
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def added(service: Service, *options: str) -> Iterator[None]:
    """Have the channel added as an operator does it, and take it away afterwards."""
    command = ["ncl", "channels", "add", "telegram", CHANNEL]
    for option in (f"api={service.address}", *options):
        command += ["--option", option]
    done = subprocess.run(command, input=service.token, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ncl channels pair {CHANNEL}" in done.stdout
    assert "@nano_test_bot" in done.stdout
    try:
        yield
    finally:
        run("ncl", "channels", "remove", CHANNEL, check=False)


@contextlib.contextmanager
def pairing(group: str) -> Iterator[str]:
    """Run ``ncl telegram pair`` and give its code; it ends when somebody was paired."""
    command = ["ncl", "telegram", "pair", CHANNEL, "--group", group]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = ""
            while not (found := re.search(r"^    (\w{5}-\w{5})$", said, re.MULTILINE)):
                line = process.stdout.readline()
                assert line, said
                said += line
            assert f"https://t.me/nano_test_bot?start={found[1]}" in said
            yield found[1]
            assert process.wait(60) == 0
            assert "Paired: Ann (telegram:1001)" in process.stdout.read()
        finally:
            process.kill()


def transcript() -> Iterator[str]:
    """Yield the transcript's lines; one that goes on is one."""
    held = ""
    for line in [*TRANSCRIPT.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            held += "\n" + line[2:]
            continue
        if held:
            yield held
        held = "" if line.startswith("#") else line


@dataclass
class Play:
    """The stage, and what was seen of each chat so far."""

    service: Service
    group: str
    code: str
    topic: int
    kitchen: int = KITCHEN
    seen: dict[int, int] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    files: str = ""
    message: int = 0

    def line(self, line: str) -> None:
        """Play or compare a line."""
        print(line)
        place, _, rest = line.partition("] ") if line.startswith("[") else ("", "", line)
        chat = {"": ANN, "[garden": HOUSE, "[kitchen": self.kitchen}[place]
        if says := _SAYS.fullmatch(rest):
            self._say(says, chat)
        elif clicks := _CLICKS.fullmatch(rest):
            self._click(clicks)
        elif edits := _EDITS.fullmatch(rest):
            self.service.people.edit(chat=chat, message=self.said[edits["before"]], text=edits["after"])
            self.service.people.acknowledged(seconds=60)
        elif sends := _SENDS.fullmatch(rest):
            self._sees(chat, lambda one: self._is_file(one, sends))
        elif card := _CARD.fullmatch(rest):
            labels = re.findall(r"\[([^\]]+)\]", card["labels"])
            self.card = self._sees(chat, lambda one: (one["text"], one["buttons"]) == (card["text"], labels))
        elif rest.startswith("card becomes: "):
            self._card_becomes(rest.removeprefix("card becomes: "))
        elif rest.startswith("bot: "):
            wanted = self._filled(rest.removeprefix("bot: "))
            self._sees(chat, lambda one: _matches(wanted, one["text"]))
        elif rest == "bot reports report.md":
            self._report(chat)
        elif rest == "(the daemon dies)":
            kill_daemon()
        else:
            assert rest == "(the kitchen becomes a supergroup)", rest
            self.kitchen = int(self.service.people.migrate(chat=KITCHEN))
            self.service.people.acknowledged(seconds=60)

    def _say(self, found: re.Match[str], chat: int) -> None:
        self.message = len(self.service.people.history(chat=chat)) + 1
        if found["file"]:
            row = f"{self.message}:{self.group}"
            self.files = f"/session/in/files/{hashlib.sha256(row.encode()).hexdigest()[:16]}"
            content = base64.b64encode(found["content"].replace("{report}", REPORT).encode()).decode()
            self.message = self.service.people.send(
                chat=chat,
                user=ANN,
                kind=found["kind"],
                content=content,
                name=found["file"],
                caption=self._filled(found["text"]),
            )
            return
        text = self._filled(found["text"])
        thread = self.topic if chat == HOUSE else None
        self.said[text] = self.service.people.write(chat=chat, user=ANN, text=text, thread=thread)

    def _click(self, found: re.Match[str]) -> None:
        query = self.service.people.click(chat=ANN, message=self.card["message_id"], label=found["label"], user=ANN)
        words = self.service.people.answer(query=query, seconds=60)
        assert _matches(found["words"], words), words

    def _card_becomes(self, wanted: str) -> None:
        def is_so() -> bool:
            (now,) = [one for one in self.service.people.see(chat=ANN) if one["message_id"] == self.card["message_id"]]
            return now["buttons"] == [] and _matches(wanted, now["text"])

        wait_until(is_so, f"the card becomes {wanted!r}", PATIENCE_SECONDS)

    def _sees(self, chat: int, fits: Any) -> dict[str, Any]:
        """Wait until the bot's next message is so: it may be shown in parts before."""
        number = self.seen.get(chat, 0)
        self.seen[chat] = number + 1
        last: list[dict[str, Any]] = []

        def come() -> bool:
            last[:] = self.service.people.see(chat=chat)[number : number + 1]
            return bool(last) and fits(last[0])

        try:
            wait_until(come, "the next message", PATIENCE_SECONDS)
        except AssertionError:
            raise AssertionError(f"there is {[one['text'] for one in last]}") from None
        if chat == HOUSE:
            assert last[0]["thread"] == self.topic
        return last[0]

    def _is_file(self, one: dict[str, Any], wanted: re.Match[str]) -> bool:
        if one["kind"] != wanted["kind"]:
            return False
        (file,) = one["files"]
        content = base64.b64decode(file["data"]).decode()
        return (file["name"], content, one["text"]) == (wanted["name"], wanted["content"], wanted["text"] or "")

    def _report(self, chat: int) -> None:
        """The whole report, in order, within the platform's bounds, its code in blocks of code."""
        first = self.seen.get(chat, 0)

        def ended() -> bool:
            found = self.service.people.see(chat=chat)[first:]
            return bool(found) and found[-1]["text"].endswith("The end of the report.")

        wait_until(ended, "the end of the report", PATIENCE_SECONDS)
        pieces = self.service.people.see(chat=chat)[first:]
        self.seen[chat] = first + len(pieces)
        assert 3 <= len(pieces) <= 6
        texts = [str(one["text"]) for one in pieces]
        assert all(len(text.encode("utf-16-le")) // 2 <= 4096 for text in texts)
        whole = "\n".join(texts)
        assert re.findall(r"line (\d+) of", whole) == [str(number) for number in range(120)]
        assert re.findall(r"^room (\d+)", whole, re.MULTILINE) == [str(number) for number in range(80)]
        assert re.findall(r"^(\d+)\. item", whole, re.MULTILINE) == [str(number) for number in range(1, 90)]
        assert not [text for text in texts if "**" in text or "```" in text]
        for one in pieces:
            if "of a program" in one["text"]:
                assert "pre" in {entity["type"] for entity in one["entities"]}

    def _filled(self, text: str) -> str:
        text = text.replace("{code}", self.code).replace("{message}", str(self.message))
        return text.replace("@/", f"{self.files}/")


def _matches(wanted: str, text: str | None) -> bool:
    pattern = ".*".join(map(re.escape, wanted.split("…")))
    return text is not None and re.fullmatch(pattern, text, re.DOTALL) is not None


@pytest.fixture
def service() -> Iterator[Service]:
    with telegram() as made:
        yield made


def hears(group: str, chat: int) -> None:
    made = call("Chats.Create", channel=CHANNEL, chat=str(chat), is_group=True, unknown_sender_policy="public")["chat"]
    call("Wirings.Create", chat=made["id"], group=group, engage_mode="pattern", engage_pattern=".")


def test_a_day_on_telegram_is_as_it_was_written_down(service: Service, group: str) -> None:
    """Pairing, pictures, voice, a card, a long answer, a file, a topic, an edit, a migration, and a daemon killed."""
    with added(service):
        hears(group, KITCHEN)
        hears(group, HOUSE)
        with pairing(group) as code:
            topic = service.people.topic(chat=HOUSE, user=ANN, name="Garden")
            play = Play(service, group, code, topic)
            lines = list(transcript())
            assert len(lines) > 30
            play.line(lines[0])
            play.line(lines[1])
        for line in lines[2:]:
            play.line(line)
        for chat in (ANN, HOUSE, play.kitchen):
            assert len(service.people.see(chat=chat)) == play.seen[chat], "nothing was said twice"
        (private,) = [
            one for one in call("Sessions.List", group=group)["sessions"] if one.get("chat", "").endswith(str(ANN))
        ]
        session = appliance.SessionNames(private["group"], private["id"])
        assert session_state(session)["state"] != "quarantined"
        told = rows(session.inbound_db, "SELECT content FROM messages_in WHERE content LIKE '%buy oat milk%'")
        assert len(told) == 1, "the agent learns of the edit once"
        # Who has just been killed does not remember what was sent in the second before.
        assert service.people.counts()["refused"] <= 1, "the platform's limits were kept"
        kept = Path("/var/lib/nanoclaw/channels") / CHANNEL
        assert not [path for path in kept.rglob("*") if path.is_file() and service.token.encode() in path.read_bytes()]


def test_a_daemon_that_is_killed_loses_nothing(service: Service, group: str) -> None:
    """F-48, W-39: ``kill -9`` at random points of forty messages. Telegram has no key to know a message by that comes
    again, so at each death the one message of a chat that was under way may be there twice; nothing else may.
    """
    luck = random.Random(SEED)
    people = (1002, 1003, 1004)
    with added(service):
        for user in people:
            service.people.person(user=user, name=f"P{user}")
            made = call("Chats.Create", channel=CHANNEL, chat=str(user), unknown_sender_policy="public")["chat"]
            call("Wirings.Create", chat=made["id"], group=group, engage_mode="pattern", engage_pattern=".")
        said: dict[int, list[str]] = {user: [] for user in people}
        kills = 0
        for number in range(40):
            user = luck.choice(people)
            service.people.write(chat=user, user=user, text=f"number {number}.")
            said[user].append(f"echo: number {number}.")
            time.sleep(luck.uniform(0, 0.4))  # people do not write all at once
            if luck.random() < 0.15:
                before = daemon_pid()
                kill_daemon()
                kills += 1
                wait_until(lambda old=before: daemon_pid() not in {0, old}, "another daemon")
        assert kills >= 3
        doubled = 0
        for user, expected in said.items():

            def shown(chat: int = user) -> list[str]:
                return [str(one["text"]) for one in service.people.see(chat=chat)]

            def lines(texts: list[str]) -> list[str]:
                return "\n".join(texts).splitlines()

            wait_until(lambda: set(lines(shown())) >= set(expected), f"all answers to {user}", PATIENCE_SECONDS)  # noqa: B023
            texts = shown()
            once = [text for text, before in zip(texts, ["", *texts], strict=False) if text != before]
            assert lines(once) == expected
            assert len(texts) - len(once) <= kills
            doubled += len(texts) - len(once)
        print(f"{kills} deaths, {doubled} messages twice")
