"""A conversation of thirty turns over the loopback channel, against a transcript written by hand (acceptance 2)."""

import base64
import hashlib
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eventually import wait_until
from system.appliance import call
from system.loopback import Delivery, file
from system.town import Town

TRANSCRIPT = Path(__file__).with_name("thirty_turns.txt")
PATIENCE_SECONDS = 120.0
_SAYS = re.compile(
    r'(?P<who>\w+)(?: sends (?P<file>\S+) "(?P<content>[^"]*)"| answers "(?P<quoted>[^"]*)")?> ?(?P<text>.*)', re.DOTALL
)
_CLICKS = re.compile(r"(?P<who>\w+) clicks (?P<label>[^:]+): (?P<words>.*)")
_WORKS = re.compile(r"\(working: (?P<text>.*)\)")
_DIRECT = "[boss] "
# Two agents that answer each other begin once more where one of their messages crosses a person's: how often, nobody
# can write down, and the second of the two bounds may say so at any time.
_SECOND_BOUND = "messages to each other in ten minutes"


def test_thirty_turns_are_as_they_were_written_down(town: Town) -> None:
    """F-38, F-46, F-70, F-72, F-127, F-208: who says what where, which cards, edits, reactions and files there are."""
    play = Play(town)
    lines = list(transcript())
    assert sum(_SAYS.fullmatch(line) is not None for line in lines) >= 30
    for line in lines:
        play.line(line)
    play.nothing_more()


def transcript() -> Iterator[str]:
    """Yield the transcript's lines; one that goes on is one."""
    held = ""
    for line in TRANSCRIPT.read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            held += "\n" + line.removeprefix("| ")
            continue
        if held:
            yield held
        held = "" if line.startswith("#") else line
    if held:
        yield held


@dataclass
class Play:
    """The stage: a room with four people and an agent, and what was to be seen so far."""

    town: Town
    numbers: dict[str, str] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    """What stands there now, by the platform's id of the message."""
    cards: list[Delivery] = field(default_factory=list)
    files: str = ""
    seen: dict[str, deque[str]] = field(default_factory=dict)
    skips: bool = False
    position: int = 0
    signs: int = 0

    def __post_init__(self) -> None:
        town = self.town
        town.grant("boss")
        town.only_on(town.loop, "boss")
        for who in ("ann", "bea"):
            town.join(who)
        self.room = town.chat(town.loop, policy="public", is_group=True, room=town.room("room"))
        found = call("Destinations.List", group=town.group)["destinations"]
        self.room_name = next(str(one["name"]) for one in found if one.get("chat") == self.room)
        self.seen = {self.room: deque(), town.handle("boss"): deque()}

    def line(self, line: str) -> None:
        """Play or compare a line."""
        print(line)
        if says := _SAYS.fullmatch(line):
            self._say(says)
        elif clicks := _CLICKS.fullmatch(line):
            self._click(clicks)
        elif line.removeprefix(_DIRECT) == "…":
            self.skips = True
        elif works := _WORKS.fullmatch(line):
            self._works(self._filled(works["text"]))
        else:
            chat = self.town.handle("boss") if line.startswith(_DIRECT) else self.room
            self._expect(chat, line.removeprefix(_DIRECT))

    def nothing_more(self) -> None:
        """Check that nothing is left that the transcript does not have."""
        self._look()
        assert not [line for lines in self.seen.values() for line in lines]

    def _say(self, found: re.Match[str]) -> None:
        quoted = found["quoted"]
        quote = None
        if quoted is not None:
            quote = {"text": quoted, "sender": "agent", "message_id": self._message(quoted)}
        files = [file(found["file"], found["content"].encode())] if found["file"] else []
        text = self._filled(found["text"])
        message = self.town.say(self.town.loop, self.room, text, by=found["who"], group=True, quote=quote, files=files)
        self.said[message] = text
        if files:
            row = f"{message}:{self.town.group}"
            self.files = f"/session/in/files/{hashlib.sha256(row.encode()).hexdigest()[:16]}"

    def _click(self, found: re.Match[str]) -> None:
        card = next(one for one in reversed(self.cards) if found["label"] in one.labels)
        words = self.town.click(card, found["label"], by=found["who"])
        assert self._matches(found["words"], words), f"{found[0]!r}: {words!r}"

    def _works(self, text: str) -> None:
        def shown() -> bool:
            signs = self.town.loop.signs[self.signs :]
            return any(one.event == "progress" and text in str(one.values.get("text")) for one in signs)

        wait_until(shown, f"the agent shows {text!r}")
        self.signs = len(self.town.loop.signs)

    def _expect(self, chat: str, wanted: str) -> None:
        lines = self.seen[chat]

        def come() -> bool:
            self._look()
            return bool(lines)

        while True:
            wait_until(come, f"{wanted!r} in {chat}", PATIENCE_SECONDS)
            line = lines.popleft()
            if _SECOND_BOUND in line:
                continue
            matches = self._matches(wanted, line)
            if matches or not self.skips:
                break
        self.skips = False
        assert matches, f"{wanted!r} was to come, and {line!r} came"

    def _matches(self, wanted: str, line: str) -> bool:
        """Compare a line of the transcript with what came; keep the numbers that come the first time."""
        pattern = ""
        for part in re.split(r"(…|<\w+>)", self._filled(wanted)):
            if part == "…":
                pattern += ".*"
            elif re.fullmatch(r"<\w+>", part):
                pattern += rf"(?P<{part[1:-1]}>\d+)"
            else:
                pattern += re.escape(part)
        found = re.fullmatch(pattern, line, re.DOTALL)
        if found is not None:
            self.numbers |= found.groupdict()
        return found is not None

    def _filled(self, text: str) -> str:
        for name, number in self.numbers.items():
            text = text.replace(f"<{name}>", number)
        text = text.replace("{tag}", self.town.tag).replace("{room}", self.room_name)
        return text.replace("@/", f"{self.files}/")

    def _message(self, text: str) -> str:
        return next(message for message, there in reversed(self.said.items()) if there == text)

    def _look(self) -> None:
        """Put down what was delivered since the last look, as the transcript has it."""
        for one in self.town.loop.deliveries[self.position :]:
            self.position += 1
            if one.chat in self.seen:
                self.seen[one.chat].extend(self._written_down(one))

    def _written_down(self, one: Delivery) -> list[str]:
        whose = "appliance" if one.notice else "agent"
        match one.kind:
            case "card":
                self.cards.append(one)
                self.said[one.message] = one.title
                return [" ".join([f"card: {one.title}", *(f"[{label}]" for label in one.labels)])]
            case "edit":
                before, self.said[one.target or ""] = self.said[one.target or ""], one.text
                if any(one.target == card.message for card in self.cards):
                    return [f"card becomes: {one.text}"]
                return [f'{whose} edits "{before}": {one.text}']
            case "reaction":
                return [f'{whose} reacts {one.text} to "{self.said[one.target or ""]}"']
            case _:
                self.said[one.message] = one.text
        if one.files:
            (sent,) = one.files
            return [f'{whose} sends {sent["name"]} "{base64.b64decode(sent["data"]).decode()}": {one.text}']
        return [f"{whose}: {line}" for line in one.text.splitlines()]
