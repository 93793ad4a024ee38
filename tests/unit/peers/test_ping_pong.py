"""Agents that answer each other for ever are stopped, and everybody concerned is told (W-23)."""

from pathlib import Path

import pytest

from nanoclawd.peers.planning import Bounds
from nanoclawd.sessions.ports import Delivered, SessionRef, Undelivered
from unit.peers.peer_stage import Talk, talking


async def two(talk: Talk) -> tuple[SessionRef, SessionRef]:
    """Return sessions of two agents that have greeted each other once."""
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    await talk.person_says(main, "talk to the other one")
    assert isinstance(await talk.says(main, "other", "hop 1"), Delivered)
    (shared,) = await talk.sessions_of(other)
    return main, shared


async def answer(talk: Talk, sender: SessionRef, to: str, text: str) -> Delivered | Undelivered:
    """Answer the newest message of the other agent."""
    return await talk.says(sender, to, text, answers=talk.heard(sender)[-1].id)


async def until_stopped(talk: Talk, main: SessionRef, other: SessionRef, most: int) -> tuple[int, Undelivered]:
    for hop in range(2, most):
        sender, to = (other, "main") if hop % 2 == 0 else (main, "other")
        outcome = await answer(talk, sender, to, f"hop {hop}")
        if isinstance(outcome, Undelivered):
            return hop - 1, outcome
    pytest.fail("nobody was stopped")


async def test_hops_are_bounded_and_both_sides_and_the_people_are_told(tmp_path: Path):
    """W-23: in the reference two agents may go on for ever; its own test documents forty messages."""
    async with talking(tmp_path, Bounds(hops=5, rate=1000)) as talk:
        main, other = await two(talk)
        hops, outcome = await until_stopped(talk, main, other, 40)
        assert hops == 5
        assert outcome.permanent
        assert "5 messages went between agents" in outcome.reason
        (note,) = [row for row in talk.heard(main) + talk.heard(other) if row.kind == "system"]
        assert not note.trigger
        assert "were stopped" in note.content["text"]
        assert [(words[1], "were stopped" in words[2]) for words in await talk.house.words()] == [(main.address, True)]


async def test_people_are_told_once_of_a_chain(tmp_path: Path):
    """W-23: however often the agents try again."""
    async with talking(tmp_path, Bounds(hops=3, rate=1000)) as talk:
        main, other = await two(talk)
        await until_stopped(talk, main, other, 10)
        for _ in range(5):
            assert isinstance(await answer(talk, main, "other", "and yet"), Undelivered | Delivered)
            assert isinstance(await answer(talk, other, "main", "and yet"), Undelivered)
        assert len(await talk.house.words()) == 1


async def test_a_restart_forgets_no_hop(tmp_path: Path):
    """W-23: the count is in the database."""
    async with talking(tmp_path, Bounds(hops=4, rate=1000)) as talk:
        main, other = await two(talk)
        assert isinstance(await answer(talk, other, "main", "hop 2"), Delivered)
        assert isinstance(await answer(talk, main, "other", "hop 3"), Delivered)
    async with talking(tmp_path, Bounds(hops=4, rate=1000)) as talk:
        assert isinstance(await answer(talk, other, "main", "hop 4"), Delivered)
        assert isinstance(await answer(talk, main, "other", "hop 5"), Undelivered)


async def test_a_persons_word_begins_anew(tmp_path: Path):
    """W-23: what people or tasks ask for is no ping-pong."""
    async with talking(tmp_path, Bounds(hops=2, rate=1000)) as talk:
        main, other = await two(talk)
        assert isinstance(await answer(talk, other, "main", "hop 2"), Delivered)
        assert isinstance(await answer(talk, main, "other", "hop 3"), Undelivered)
        await talk.person_says(main, "go on")
        assert isinstance(await answer(talk, main, "other", "hop 1 again"), Delivered)
        await talk.person_says(main, "go on, says a task", kind="task")
        assert isinstance(await answer(talk, main, "other", "hop 1 once more"), Delivered)


async def test_an_agent_that_says_it_answers_an_old_message_counts_all_the_same(tmp_path: Path):
    """W-23: the container's word about what it answers makes no hop fewer."""
    async with talking(tmp_path, Bounds(hops=6, rate=1000)) as talk:
        main, other = await two(talk)
        first = talk.heard(other)[0].id
        for hop in range(2, 20):
            sender, to = (other, "main") if hop % 2 == 0 else (main, "other")
            pretended = first if sender is other else talk.heard(main)[0].id
            if isinstance(await talk.says(sender, to, f"hop {hop}", answers=pretended), Undelivered):
                assert hop == 7
                return
        pytest.fail("nobody was stopped")


async def test_the_rate_of_two_sessions_is_bounded(tmp_path: Path):
    """W-23: also where a person speaks in between and begins a new chain each time."""
    async with talking(tmp_path, Bounds(hops=100, rate=4)) as talk:
        main, _other = await two(talk)
        outcomes = []
        for _ in range(6):
            await talk.person_says(main, "once more")
            outcomes.append(await talk.says(main, "other", "again"))
        assert [type(one) for one in outcomes] == [Delivered] * 3 + [Undelivered] * 3
        refused = outcomes[-1]
        assert isinstance(refused, Undelivered)
        assert refused.permanent
        assert "in ten minutes" in refused.reason
        assert len(await talk.house.words()) == 1


async def test_a_ring_of_three_is_stopped_whatever_one_of_them_says_that_it_answers(tmp_path: Path):
    """W-23: one that never hears from the agent it writes to counts what it has heard last, from whomever."""
    async with talking(tmp_path, Bounds(hops=6, rate=1000)) as talk:
        third = await talk.agent("third")
        other = await talk.agent("other", third)
        group = await talk.agent("main", other)
        main = await talk.session(group, "room")
        await talk.person_says(main, "tell it round")
        assert isinstance(await talk.says(main, "other", "hop 1"), Delivered)
        (second,) = await talk.sessions_of(other)
        assert isinstance(await answer(talk, second, "third", "hop 2"), Delivered)
        (last,) = await talk.sessions_of(third)
        assert isinstance(await answer(talk, last, "main", "hop 3"), Delivered)
        (back,) = [one for one in await talk.sessions_of(group) if any("hop 3" in str(row) for row in talk.heard(one))]
        oldest = next(row.id for row in talk.heard(back) if "hop 3" in str(row))
        laps = 0
        for _ in range(10):
            laps += 1
            outcomes = [
                await talk.says(back, "other", "on", answers=oldest),
                await answer(talk, second, "third", "on"),
                await answer(talk, last, "main", "on"),
            ]
            if any(isinstance(outcome, Undelivered) for outcome in outcomes):
                break
        assert laps == 2
