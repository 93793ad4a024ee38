"""Answers that are shown while they are written: one message that grows and becomes the whole answer."""

import asyncio
from pathlib import Path

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.live import LiveAnswers, LivePace
from nanoclawd.sessions.ports import PartialText

CHAT = Address("chat", "room")
FAST = LivePace(first=0.01, every=0.01, least=5, longest=100)


class Platform:
    """Has the messages; can be told to fail, or to wait."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}
        self.calls = 0
        self.failing = False
        self.shows = True
        self.news = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def begin(self, address: Address, text: str, in_reply_to: str) -> str | None:
        del address, in_reply_to
        await self._call()
        if not self.shows:
            return None
        name = f"m{len(self.messages) + 1}"
        self.messages[name] = text
        return name

    async def change(self, address: Address, message_id: str, text: str) -> None:
        del address
        await self._call()
        self.messages[message_id] = text

    async def _call(self) -> None:
        self.calls += 1
        self.news.set()
        await self.gate.wait()
        if self.failing:
            raise ConnectionError("gone")

    async def until_called(self, times: int) -> None:
        async with asyncio.timeout(10):
            while self.calls < times:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
def platform() -> Platform:
    return Platform()


@pytest.fixture
async def live(platform: Platform, tmp_path: Path):
    answers = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await answers.open()
    yield answers
    await answers.close()


def partial(text: str, question: str = "q1") -> PartialText:
    return PartialText(question, text)


async def test_one_message_grows(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    live.show(CHAT, partial("Once upon a time"))
    await platform.until_called(2)
    assert await live.finish(CHAT, "q1") == "m1"
    assert platform.messages == {"m1": "Once upon a time …"}


async def test_nothing_is_asked_of_the_platform_without_news(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    await asyncio.sleep(FAST.every * 10)
    assert platform.calls == 1


async def test_a_short_answer_has_no_message_of_its_own(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("Yes"))
    assert await live.finish(CHAT, "q1") is None
    assert platform.messages == {}


async def test_what_is_too_long_is_shown_to_its_bound(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("x" * 1000))
    await platform.until_called(1)
    await live.finish(CHAT, "q1")
    assert platform.messages["m1"] == "x" * 100 + " …"


async def test_the_end_waits_for_the_call_under_way(live: LiveAnswers, platform: Platform):
    """A message that the platform is just getting is not forgotten, or it would stand there twice."""
    platform.gate.clear()
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    finishing = asyncio.create_task(live.finish(CHAT, "q1"))
    await asyncio.sleep(0)
    assert not finishing.done()
    platform.gate.set()
    assert await finishing == "m1"


async def test_until_it_is_settled_the_message_is_told_again(live: LiveAnswers, platform: Platform):
    """A delivery that fails is tried again, and changes the same message."""
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    assert await live.finish(CHAT, "q1") == "m1"
    assert await live.finish(CHAT, "q1") == "m1"
    await live.settled(CHAT, "q1")
    assert await live.finish(CHAT, "q1") is None


async def test_the_next_daemon_knows_the_message(platform: Platform, tmp_path: Path):
    first = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await first.open()
    first.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    await first.close()
    # As after kill -9: nothing but the file is left.
    second = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await second.open()
    assert await second.finish(CHAT, "q1") == "m1"
    await second.settled(CHAT, "q1")
    third = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await third.open()
    assert await third.finish(CHAT, "q1") is None


async def test_a_torn_file_is_no_trouble(platform: Platform, tmp_path: Path):
    (tmp_path / "live.json").write_text('[{"cha')
    answers = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await answers.open()
    assert await answers.finish(CHAT, "q1") is None


async def test_a_platform_that_fails_ends_the_showing_only(live: LiveAnswers, platform: Platform):
    platform.failing = True
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    live.show(CHAT, partial("Once upon a time"))
    assert await live.finish(CHAT, "q1") is None


async def test_where_nothing_can_be_shown_it_is_not_asked_again(live: LiveAnswers, platform: Platform):
    platform.shows = False
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    live.show(CHAT, partial("Once upon a time"))
    assert await live.finish(CHAT, "q1") is None
    assert platform.calls == 1


async def test_answers_to_two_questions_are_two_messages(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("Once upon", "q1"))
    live.show(CHAT, partial("Twice upon", "q2"))
    await platform.until_called(2)
    found = {await live.finish(CHAT, question) for question in ("q1", "q2")}
    assert found == {"m1", "m2"}
