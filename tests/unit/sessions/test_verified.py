"""In the middle of a turn an agent hears at once what became of what it said; after the turn nobody needs it."""

import asyncio

import apsw
import pytest
from machine import Agent, House, at
from session_stage import Stage, message, said

from eventually import eventually
from nanoclaw_runner.contract import cards, clock
from nanoclaw_runner.contract.rows import Address
from nanoclawd.sessions.ports import Delivered, ShownCard, Undelivered

DEN = Address("irc", "#den")


def say(agent: Agent, identifier: str, content: str, kind: str = "chat", chat: str = DEN.platform_id) -> None:
    """Write a row in the middle of a turn."""
    connection = apsw.Connection(str(agent.paths.outbound_db))
    connection.execute(
        "INSERT INTO messages_out (id, seq, timestamp, kind, channel_type, platform_id, content)"
        " VALUES (?, (SELECT coalesce(max(seq), 1) + 2 FROM messages_out), ?, ?, ?, ?, ?)",
        (identifier, clock.now_text(), kind, DEN.channel_type, chat, content),
    )
    connection.close()
    agent.ring()


async def outcome(agent: Agent, identifier: str) -> tuple[str, str | None]:
    """Wait for rings, and only for them, until a row has an outcome."""
    query = f"SELECT status, reason FROM delivered WHERE message_out_id = '{identifier}' AND status <> 'sending'"
    while not (found := agent._read(agent.paths.inbound_db, query)):
        assert await agent.rung(), "the host has hung up"
    return found[0][0], found[0][1]


async def test_a_tool_hears_what_became_of_its_row(house: House):
    """Delivered, refused by the platform for good, put off, unreachable: each is told by a ring, without a poll."""
    heard: list[tuple[str, str | None]] = []
    quiet: list[bool] = []

    async def program(agent: Agent) -> None:
        ((asked, _content, address),) = agent.asked()
        agent.claim(asked)
        for identifier in ("fine", "gone", "later"):
            # What is put off has what comes after it in its chat wait, so it is said elsewhere.
            say(agent, identifier, said(identifier), chat="#attic" if identifier == "later" else DEN.platform_id)
            heard.append(await outcome(agent, identifier))
        house.platform.away = True
        say(agent, "nobody", said("nobody"))
        heard.append(await outcome(agent, "nobody"))
        house.platform.away = False
        agent.answer(asked, said("done"), address)
        await eventually(lambda: "done" in house.platform.texts)
        try:
            await asyncio.wait_for(agent.rung(), 0.3)
        except TimeoutError:
            quiet.append(True)
        while await agent.rung():
            pass

    house.rules.chats.add((DEN.channel_type, "#attic"))
    answers = {"gone": Undelivered("kicked", permanent=True), "later": Undelivered("flood", retry_after=99)}
    house.platform.answer = lambda outgoing: answers.get(outgoing.id, Delivered(f"p-{outgoing.id}"))
    house.machine.program = program
    await house.say(await house.session(await house.group(), DEN), at(DEN, message("one")))
    await eventually(lambda: bool(quiet))
    assert heard == [("delivered", None), ("failed", "kicked"), ("pending", "flood"), ("pending", None)]


async def test_a_card_that_asks_nothing_is_shown_and_no_question_is_kept(house: House):
    """F-75."""
    card = cards.Card("Report", "All is well.", (), fallback="Report: all is well")

    async def program(agent: Agent) -> None:
        ((asked, _content, address),) = agent.asked()
        agent.claim(asked)
        say(agent, "shown", cards.to_content(card), "card")
        assert await outcome(agent, "shown") == ("delivered", None)
        agent.answer(asked, said("done"), address)
        while await agent.rung():
            pass

    house.machine.program = program
    await house.say(await house.session(await house.group(), DEN), at(DEN, message("one")))
    await eventually(lambda: "done" in house.platform.texts)
    assert house.platform.got[0].body == ShownCard(card, "")
    assert house.rules.questions == {}


@pytest.mark.parametrize(("finished", "silent"), [(False, {"k-fresh"}), (True, set())])
async def test_a_failure_that_a_tool_tells_the_agent_is_not_told_to_people(
    stage: Stage, finished: bool, silent: set[str]
):
    """Who works on it hears it from its tool and can mend it; people hear what nobody mends any more."""
    written = ("k-fresh", "k-old", "out-1")
    await stage.files.append(message("one"))
    with stage.outbox() as outbox:
        outbox.claim(["one"])
        if finished:
            outbox.finish([], ["one"], 2)
    stage.write_out("k-fresh")
    stage.write_out("k-old", timestamp=clock.now_text(plus_seconds=-60))
    stage.write_out("out-1")
    stage.platform.answer = lambda outgoing: Undelivered(f"no {outgoing.id}", permanent=True)
    drained = await stage.run("one")
    known = await stage.files.read(lambda inbound: inbound.deliveries(written))
    assert [known[row_id].status for row_id in written] == ["failed"] * 3
    told = {row_id for row_id in written for problem in drained.problems if row_id in problem.text}
    assert told == {*written} - silent
    assert drained.outcomes == 3


@pytest.mark.parametrize("dies", [True, False])
async def test_a_failure_that_a_tool_could_not_tell_is_told_to_people(house: House, dies: bool):
    """The container dies with the tool that waits: its turn is repeated, perhaps without that call; never silent."""
    turns: list[int] = []

    async def program(agent: Agent) -> None:
        ((asked, _content, address),) = agent.asked()
        agent.claim(asked)
        turns.append(1)
        if len(turns) == 1:
            say(agent, "k-gone", said("gone"))
            assert await outcome(agent, "k-gone") == ("failed", "kicked")
            if dies:
                return
        agent.answer(asked, said("done"), address)
        while await agent.rung():
            pass

    house.platform.answer = lambda outgoing: (
        Undelivered("kicked", permanent=True) if outgoing.id == "k-gone" else Delivered(f"p-{outgoing.id}")
    )
    house.machine.program = program
    await house.say(await house.session(await house.group(), DEN), at(DEN, message("one")))
    await eventually(lambda: "done" in house.platform.texts or any("kicked" in text for text in house.platform.texts))
    assert [text for text in house.platform.texts if "kicked" in text] == (
        ["A reply could not be delivered: kicked."] if dies else []
    )
