"""A day on a bad network: its weather by the hour, people who write all the while, and what has to be true after it."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from eventually import wait_until
from fault_proxy import RunningProxy, Weather
from system import appliance
from system.appliance import call, daemon_pid

FAILING, LIMITING = "failing", "limiting"
"""Hours in which the network is well, and the service is not: 5xx, 429."""

FAIR: Final = Weather.FAIR
NIGHT: Final = (Weather.REFUSED,) * 5
DAY: Final[tuple[str, ...]] = (
    *(FAIR, Weather.SLOW, Weather.RESET, FAIR, Weather.LOST, FAIR, Weather.TORN, FAIR, FAILING, FAIR, Weather.STALLED),
    *(FAIR, LIMITING, Weather.REFUSED, FAIR, Weather.LOST, Weather.TORN, FAILING, FAIR),
    *NIGHT,
)
HOUR_SECONDS: Final = 1.2
AFTERMATH_SECONDS: Final = 90.0
MORE_KIB: Final = 8 * 1024
MORE_DESCRIPTORS: Final = 4
_STORY: Final = "a story that is told slowly, so that its beginning can be seen before its end is there"


class Side(Protocol):
    """A platform with its people, and a channel whose way to it leads through a proxy."""

    channel: str
    proxy: RunningProxy
    chats: Sequence[str]
    secrets: Sequence[str]

    def say(self, chat: str, text: str) -> None:
        """Have a person of the chat write; the platform takes it, whatever the weather."""

    def seen(self, chat: str) -> tuple[list[str], int]:
        """Return what people see that the agent has written, in order; and how many doubles are left out of it.

        A double is left out only where the platform has no key to know it by, and where the answer to the request that
        made it has provably not come through.
        """

    def trouble(self, kind: str) -> None:
        """Have the service fail, or ask to wait."""

    def relief(self) -> None:
        """Have it work again."""


@dataclass
class Day:
    """One day of one channel."""

    side: Side
    luck: random.Random
    hour_seconds: float = HOUR_SECONDS
    said: dict[str, list[str]] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)

    def play(self, weathers: Sequence[str]) -> None:
        """Play the hours; in each somebody writes in every chat, at some moment of it."""
        for hour, weather in enumerate(weathers):
            print(f"hour {hour}: {weather}", flush=True)
            self._change(weather)
            ends = time.monotonic() + self.hour_seconds
            moments = sorted((self.luck.uniform(0, 0.9), chat) for chat in self.side.chats)
            for moment, chat in moments:
                _sleep_until(ends - self.hour_seconds * (1 - moment))
                self.write(chat)
            _sleep_until(ends)
        self._change(FAIR)

    def write(self, chat: str) -> None:
        """Write the next message of a chat; one in eight has an answer that takes its time."""
        self.numbers[chat] += 1
        number = self.numbers[chat]
        self.said.setdefault(chat, []).append(f"echo: number {number} of the day")
        text = f"number {number} of the day"
        if number % 8 == 3:
            self.said[chat] += [f"echo: {_STORY}", "slept 2 s"]
            text += f"\n{_STORY}\n!sleep 2"
        self.side.say(chat, text)

    def answered(self, seconds: float) -> None:
        """Wait until all was answered; each once, and in its order."""
        for chat in self.side.chats:
            wanted = self.said[chat]

            def lines(chat: str = chat) -> list[str]:
                return [line for text in self.side.seen(chat)[0] for line in text.splitlines() if line]

            try:
                wait_until(lambda: len(lines()) >= len(wanted), "all answers", seconds)  # noqa: B023
                wait_until(lambda: lines() == wanted, "all answers, and nothing else", 10)  # noqa: B023
            except AssertionError as error:
                told = "\n".join(lines())
                raise AssertionError(f"{chat}: {error}; there is\n{told}\nand not\n" + "\n".join(wanted)) from None

    def _change(self, weather: str) -> None:
        self.side.relief()
        if weather in {FAILING, LIMITING}:
            self.side.proxy.change(FAIR)
            self.side.trouble(weather)
        else:
            self.side.proxy.change(Weather(weather))


@dataclass(frozen=True, slots=True)
class Size:
    """What the daemon has of the machine."""

    pid: int
    kib: int
    descriptors: tuple[str, ...]

    @classmethod
    def now(cls) -> "Size":
        """Look."""
        pid = daemon_pid()
        status = Path(f"/proc/{pid}/status").read_text()
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        found = []
        for one in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.append(str(one.readlink()).partition(":")[0])
            except OSError:
                continue  # closed meanwhile
        return cls(pid, kib, tuple(sorted(found)))


def day(side: Side, weathers: Sequence[str], luck: random.Random) -> None:
    """Have a fair hour, a day, and look at what is left of it."""
    began = time.time()
    one = Day(side, luck)
    one.play([FAIR])
    one.answered(AFTERMATH_SECONDS)
    one.play([FAIR])
    one.answered(AFTERMATH_SECONDS)
    before = Size.now()
    one.play(weathers)
    ended = time.monotonic()
    for chat in side.chats:
        one.write(chat)
    one.answered(AFTERMATH_SECONDS)
    print(f"all was answered {time.monotonic() - ended:.1f} s after the day")

    def state() -> tuple[str, int, int]:
        found = next(entry for entry in call("Channels.List")["channels"] if entry["name"] == side.channel)
        return found["state"], found["backlog"], found["set_aside"]

    wait_until(lambda: state() == ("ok", 0, 0), "the channel is up, and nothing waits or was set aside", 60)
    assert {entry["state"] for entry in call("Channels.List")["channels"]} == {"ok"}
    wait_until(lambda: _grown(before) <= MORE_DESCRIPTORS, f"the descriptors of before: {before.descriptors}", 60)
    after = Size.now()
    doubles = sum(side.seen(chat)[1] for chat in side.chats)
    print(
        f"{side.channel}: {sum(one.numbers.values())} messages, {doubles} doubled;"
        f" memory {before.kib} → {after.kib} KiB, descriptors {len(before.descriptors)} → {len(after.descriptors)}"
    )
    assert after.pid == before.pid, "the daemon has lived through it"
    assert after.kib <= before.kib + MORE_KIB
    journal = appliance.journal("_SYSTEMD_UNIT=nanoclawd.service", since=began)
    assert "Traceback" not in journal, journal[-20_000:]
    assert not [secret for secret in side.secrets if secret in journal]


def _grown(before: Size) -> int:
    return len(Size.now().descriptors) - len(before.descriptors)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))  # the weather lasts
