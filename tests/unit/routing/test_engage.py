"""Engage modes and patterns by themselves. Their combinations are in test_outcomes.py."""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import InvalidName
from nanoclawd.routing.decision import DropReason, Outcome
from nanoclawd.routing.engage import MAX_PATTERN_CHARACTERS, Match, Patterns, check_pattern, evaluate
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.store.chats import Wiring

BOMBS = [
    (r"(\w+\s?)+$", "word " * 5000 + "!"),
    (r"(?:(?R)|a)*", "a" * 3000),
    (r"(?:a|(?R)b)+", "a" * 3000),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 60),
    (r"(.*)(.*)(.*)(.*)(.*)[^a]$", "a" * 2000),
]


def wiring(mode: str, pattern: str | None = None) -> Wiring:
    return Wiring("mga-1", "mg-1", "ag-1", "shared", 0, mode, pattern, "all", "drop", "2026-01-01T00:00:00Z")


def said(text: str, *, mention: bool = False, is_group: bool = True) -> InboundEvent:
    return InboundEvent(Address("forum", "room"), "1", text, Sender(None), is_mention=mention, is_group=is_group)


def engages(one: Wiring, event: InboundEvent, *, is_sticky: bool = False) -> bool:
    return evaluate(one, event, is_sticky=is_sticky, patterns=Patterns()).engages


def test_a_pattern_is_searched_as_it_is_written():
    """F-147: with its anchors, case and boundaries."""
    bot = wiring("pattern", r"^!bot\b")
    assert engages(bot, said("!bot hi"))
    assert not engages(bot, said("hi !bot"))
    assert not engages(bot, said("!Bot hi"))
    assert not engages(bot, said("!bots"))


@pytest.mark.parametrize("text", ["", "hello", "\n", "\0", "x" * 100_000])
def test_the_dot_is_always(text: str):
    """F-148: also for a message without any text, which no expression could match."""
    assert engages(wiring("pattern", "."), said(text))


@pytest.mark.parametrize("pattern", ["(", "[", "a{99999999999}", r"\p{Nonsense}", "(?V1)[a--b]", "x" * 2000])
def test_an_invalid_pattern_in_the_database(pattern: str, caplog: pytest.LogCaptureFixture):
    """F-149: engages, since a broken filter must not make an agent deaf, and says so in the journal."""
    found = evaluate(wiring("pattern", pattern), said("hello"), is_sticky=False, patterns=Patterns())
    assert found.engages
    assert "no regular expression" in found.step.reason
    assert "mga-1" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "position 1"),
        ("ab[", "position 3"),
        ("a{5,1}", "position"),
        ("", "not empty"),
        ("x" * (MAX_PATTERN_CHARACTERS + 1), "1000"),
        ("(" * 400 + ")" * 400, "recursion"),
    ],
)
def test_an_invalid_pattern_is_refused_when_it_is_written(pattern: str, words: str):
    with pytest.raises(InvalidName, match=words):
        check_pattern(pattern)


def test_a_mention_is_the_channels_word():
    """F-150: only what is addressed to the agent, whatever the text says; everything is in a chat of two."""
    mention = wiring("mention")
    assert engages(mention, said("hello", mention=True))
    assert not engages(mention, said("@agent hello"))
    assert engages(mention, said("hello", is_group=False))


def test_a_sticky_thread_is_a_fact_of_its_own():
    """F-151."""
    sticky = wiring("mention-sticky")
    assert engages(sticky, said("hello", mention=True))
    assert not engages(sticky, said("hello"))
    assert engages(sticky, said("hello"), is_sticky=True)
    assert not engages(wiring("mention"), said("hello"), is_sticky=True)


@pytest.mark.parametrize(("pattern", "text"), BOMBS)
def test_a_regex_bomb_is_bounded(pattern: str, text: str):
    """It does not engage, and the reason is recorded."""
    began = time.perf_counter()
    found = evaluate(wiring("pattern", pattern), said(text), is_sticky=False, patterns=Patterns())
    assert time.perf_counter() - began < 2
    assert not found.engages or "matches" in found.step.reason
    if not found.engages and found.reason == DropReason.PATTERN_TIMEOUT:
        assert found.step.outcome is Outcome.STOP
        assert "longer than" in found.step.reason


def test_a_real_bomb_times_out():
    pattern, text = BOMBS[0]
    assert Patterns().match(pattern, text) is Match.TIMEOUT


async def test_a_bomb_leaves_the_loop_free():
    """The search gives the interpreter up: the loop goes on while it runs in a thread."""
    pattern, text = BOMBS[0]
    gaps = []
    with ThreadPoolExecutor(1) as pool:
        job = asyncio.get_running_loop().run_in_executor(pool, Patterns(timeout=0.5).match, pattern, text)
        last = time.perf_counter()
        while not job.done():
            await asyncio.sleep(0.001)  # the measure itself: the loop's turns
            gaps.append(time.perf_counter() - last)
            last = time.perf_counter()
        assert await job is Match.TIMEOUT
    assert len(gaps) > 50
    assert max(gaps) < 0.25


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_pattern_and_text_end_in_a_word(pattern: str, text: str):
    assert Patterns(timeout=0.05).match(pattern, text) in Match
    with contextlib.suppress(InvalidName):
        check_pattern(pattern)


def test_patterns_are_compiled_once_and_kept_within_bounds():
    patterns = Patterns()
    for number in range(3000):
        patterns.match(f"a{number}", "a7")
    info = patterns._compiled.cache_info()
    assert info.currsize == info.maxsize == 1024
    patterns.match("a2999", "a7")
    assert patterns._compiled.cache_info().hits == 1
