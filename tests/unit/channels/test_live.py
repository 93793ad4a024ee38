"""Answers that are shown while they are written: one message that grows and becomes the whole answer."""

import asyncio
from pathlib import Path

import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.live import LiveAnswers, LivePace, TidyPace
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.sessions.ports import PartialText

CHAT = Address("chat", "room")
FAST = LivePace(first=0.01, every=0.01, least=5, longest=100)
TIDY = TidyPace(first=0.01, longest=0.02)


class Platform:
    """Has the messages; can be told to fail, or to wait."""

    def __init__(self) -> None:
        self.messages: dict[str, str] = {}
        self.calls = 0
        self.failing: Exception | None = None
        self.loses_answers = False
        self.names: dict[str, str] = {}
        self.shows = True
        self.news = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def begin(self, address: Address, text: str, name: str) -> str | None:
        del address
        await self._call()
        if not self.shows:
            return None
        if name not in self.names:
            self.names[name] = f"m{len(self.names) + 1}"
            self.messages[self.names[name]] = text
        if self.loses_answers:
            raise Unavailable("its answer is lost")
        return self.names[name]

    async def change(self, address: Address, message_id: str, text: str) -> None:
        del address
        await self._call()
        self.messages[message_id] = text

    async def remove(self, address: Address, message_id: str) -> None:
        del address
        await self._call()
        self.messages.pop(message_id, None)

    async def _call(self) -> None:
        self.calls += 1
        self.news.set()
        await self.gate.wait()
        if self.failing is not None:
            raise self.failing

    async def until_called(self, times: int) -> None:
        async with asyncio.timeout(10):
            while self.calls < times:
                self.news.clear()
                await self.news.wait()

    async def until_gone(self, message_id: str) -> None:
        async with asyncio.timeout(10):
            while message_id in self.messages:
                self.news.clear()
                await self.news.wait()
                await asyncio.sleep(0)  # what is called comes to its end


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
    await asyncio.sleep(FAST.every * 10)  # nothing is to happen
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
    platform.failing = Refused("not here")
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    live.show(CHAT, partial("Once upon a time"))
    assert await live.finish(CHAT, "q1") is None
    assert platform.messages == {}


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


async def test_a_beginning_whose_answer_was_lost_is_found_again(live: LiveAnswers, platform: Platform):
    """The platform has it, and may say so only later: it becomes the answer, and nothing is said twice."""
    platform.loses_answers = True
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    with pytest.raises(Unavailable):
        await live.finish(CHAT, "q1")
    platform.loses_answers = False
    assert await live.finish(CHAT, "q1") == "m1"
    assert list(platform.messages) == ["m1"]


async def test_a_daemon_that_dies_while_it_begins_finds_the_beginning(platform: Platform, tmp_path: Path):
    platform.loses_answers = True
    first = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await first.open()
    first.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    # As after kill -9: nothing but the file is left.
    platform.loses_answers = False
    second = LiveAnswers(platform, FAST, tmp_path / "live.json")
    await second.open()
    assert await second.finish(CHAT, "q1") == "m1"
    assert list(platform.messages) == ["m1"]
    await first.close()


async def test_where_the_platform_knows_no_names_nothing_is_begun_again(platform: Platform, tmp_path: Path):
    live = LiveAnswers(platform, FAST, tmp_path / "live.json", named=False)
    platform.loses_answers = True
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    assert await live.finish(CHAT, "q1") is None
    assert platform.calls == 1


async def test_what_is_shown_of_an_answer_that_does_not_come_goes(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    await live.withdraw(CHAT, "q1")
    assert platform.messages == {}
    assert await live.finish(CHAT, "q1") is None


@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
async def test_it_goes_once_the_platform_is_back(platform: Platform, tmp_path: Path, dies: bool):
    live = LiveAnswers(platform, FAST, tmp_path / "live.json", tidy=TIDY)
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    platform.failing = Unavailable("away")
    await live.withdraw(CHAT, "q1")
    assert list(platform.messages) == ["m1"]
    # It is on its way out: a later answer to the same question is a message of its own.
    assert await live.finish(CHAT, "q1") is None
    if dies:
        await live.close()
        live = LiveAnswers(platform, FAST, tmp_path / "live.json", tidy=TIDY)
        await live.open()
        live.resume()
    else:
        await platform.until_called(platform.calls + 3)
    platform.failing = None
    await platform.until_gone("m1")
    await live.close()
    assert platform.messages == {}


async def test_also_a_beginning_that_was_lost_goes(live: LiveAnswers, platform: Platform):
    platform.loses_answers = True
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    platform.loses_answers = False
    await live.withdraw(CHAT, "q1")
    assert platform.messages == {}


async def test_what_can_not_be_taken_away_is_not_tried_for_ever(live: LiveAnswers, platform: Platform):
    live.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    platform.failing = Refused("it is too old")
    await live.withdraw(CHAT, "q1")
    calls = platform.calls
    live.resume()
    await asyncio.sleep(0.05)  # nothing is to happen
    assert platform.calls == calls


async def test_what_an_earlier_daemon_left_and_nobody_claims_goes(platform: Platform, tmp_path: Path):
    """The end of its turn was told while the channel was not up."""
    first = LiveAnswers(platform, FAST, tmp_path / "live.json")
    first.show(CHAT, partial("Once upon"))
    await platform.until_called(1)
    await first.close()
    second = LiveAnswers(platform, FAST, tmp_path / "live.json", tidy=TidyPace(unclaimed=0.01))
    await second.open()
    second.resume()
    await platform.until_gone("m1")
    await second.close()
