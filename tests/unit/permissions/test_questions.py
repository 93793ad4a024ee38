"""Agents' questions: one answer from somebody whom the agent knows, or the end of their time."""

import asyncio
import json

import pytest

from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound, Refused, Unavailable
from nanoclawd.permissions import questions as question_service
from nanoclawd.routing.decision import CardAnswer
from nanoclawd.routing.event import Click
from nanoclawd.routing.ids import words_id
from nanoclawd.sessions.ports import Edit, Outgoing, ShownCard
from nanoclawd.store import host_messages, members, questions, sessions
from nanoclawd.store.agent_groups import AgentGroup
from unit.permissions.permission_stage import Stage, dm, until_killed, written

TEAM, PLAIN_TEAM = Address("chat", "team"), Address("plain", "team")
SESSION = "abcdefghijkl"
CARD = Card("Tea?", "Now.", (Option("Yes, please", "yes", "Tea it is"), Option("No", "no", "No tea")), "r-1")


@pytest.fixture
async def helper(stage: Stage) -> AgentGroup:
    group = await stage.group("helper")
    chat = await stage.chat(written())
    await stage.chat(written(channel="plain"))
    await stage.database.run(sessions.create, group.id, chat.id, None, SESSION)
    await stage.database.run(members.add, "chat:bob", group.id)
    return group


async def ask(stage: Stage, address: Address = TEAM, row: str = "row-1") -> str:
    """Ask, and have the card shown as the session's drain would."""
    question_id = await stage.permissions.questions.asked(SESSION, row, CARD, address)
    shown = await stage.manager._keepers[address.channel_type]._made.deliver(  # type: ignore[union-attr]
        outgoing(question_id, address)
    )
    stage.mailboxes.shown[SESSION, row] = shown.platform_message_id
    return question_id


def outgoing(question_id: str, address: Address) -> Outgoing:
    return Outgoing("row-1", ShownCard(CARD, question_id), address, "2026-01-01T00:00:00.000Z", None)


def answers(stage: Stage) -> list[dict[str, object]]:
    return [json.loads(row.content) for row in stage.mailboxes.rows.values()]


async def click(stage: Stage, question_id: str, value: str, user_id: str = "chat:bob") -> str:
    words = await stage.permissions.click(Click(question_id, value, user_id, TEAM, "Bob"))
    await stage.rest()
    return words


async def test_an_answer_reaches_the_session_that_asked(stage: Stage, helper: AgentGroup):
    """The row says who answered what; the card is changed; the question is gone (F-26)."""
    question_id = await ask(stage)
    assert await click(stage, question_id, "yes") == "Tea it is."
    (row,) = stage.mailboxes.rows.values()
    assert (row.id, row.kind, row.trigger, row.address) == (f"answer-{question_id}", "system", True, TEAM)
    assert json.loads(row.content) == {
        "type": "question_response",
        "questionId": question_id,
        "reference": "r-1",
        "title": "Tea?",
        "value": "yes",
        "label": "Yes, please",
        "userId": "chat:bob",
        "userName": "Bob",
    }
    (shown,) = stage.channels["chat"].in_chat("team")
    assert isinstance(shown.body, Edit)
    assert shown.text == "Tea?\n\nNow.\n\n→ Tea it is (Bob)"
    assert await stage.database.run(questions.every) == []


async def test_the_same_row_asks_once(stage: Stage, helper: AgentGroup):
    first = await ask(stage)
    assert await ask(stage) == first
    assert await ask(stage, row="row-2") != first


async def test_only_the_first_answer_counts(stage: Stage, helper: AgentGroup):
    question_id = await ask(stage)
    await click(stage, question_id, "no")
    assert await click(stage, question_id, "yes") == "This card is not open any more."
    assert [one["value"] for one in answers(stage)] == ["no"]


async def test_a_stranger_does_not_answer(stage: Stage, helper: AgentGroup):
    """Known to the agent, or a chat that is open to all."""
    question_id = await ask(stage)
    for user_id in ("chat:eve", "", "plain:bob"):
        assert "may not answer" in await click(stage, question_id, "yes", user_id)
    assert answers(stage) == []
    await stage.database.run(lambda c: c.execute("UPDATE messaging_groups SET unknown_sender_policy = 'public'").get)
    assert await click(stage, question_id, "#2", "chat:eve") == "No tea."


async def test_a_value_that_is_no_option(stage: Stage, helper: AgentGroup):
    question_id = await ask(stage)
    for value in ("maybe", "#0", "#3", "#", "#99999999999", "1", ""):
        assert await click(stage, question_id, value) == "There is no such choice."
    assert answers(stage) == []


async def test_a_text_answers_where_there_are_no_buttons(stage: Stage, helper: AgentGroup):
    """Said once in words, as the answer to the text; no second message in the card's place."""
    question_id = await ask(stage, PLAIN_TEAM)
    event = written("1", channel="plain")
    await stage.permissions.answer(event, CardAnswer("question", question_id, "yes"))
    await stage.rest()
    plain = stage.channels["plain"]
    assert plain.texts("team")[1:] == ["Tea it is."]
    assert plain.ended == [("m1", True)]
    await stage.permissions.answer(
        written("1", channel="plain", message_id="m2"), CardAnswer("question", question_id, "yes")
    )
    await stage.rest()
    assert plain.texts("team")[2:] == ["This card is not open any more."]


async def test_nobody_answers(stage: Stage, helper: AgentGroup):
    """W-60: after its time the agent is told, the card changed, a late answer told; also if the daemon slept then."""
    question_id = await ask(stage)
    await stage.make_old("pending_questions", "expires_at")
    assert "not open" in await click(stage, question_id, "yes")
    await stage.restart()
    await stage.rest()
    (answer,) = answers(stage)
    assert (answer["expired"], answer["value"], answer["reference"]) == (True, "", "r-1")
    (shown,) = stage.channels["chat"].in_chat("team")
    assert shown.text.endswith("→ Nobody answered in time.")
    assert await stage.database.run(questions.every) == []


async def test_the_timer_notices(stage: Stage, helper: AgentGroup):
    stage.hours = 0.2 / 3600
    await stage.restart()
    await ask(stage)
    await stage.channels["chat"].until(lambda: isinstance(stage.channels["chat"].messages[0].body, Edit))
    await stage.rest()
    assert len(answers(stage)) == 1


async def test_an_answer_that_cannot_be_stored_now(stage: Stage, helper: AgentGroup):
    """The person is told, and the question stays open."""
    question_id = await ask(stage)
    stage.mailboxes.fails.append(Unavailable("the disk is full"))
    assert "Try again" in await click(stage, question_id, "yes")
    assert await click(stage, question_id, "yes") == "Tea it is."


async def test_a_card_that_was_never_delivered(stage: Stage, helper: AgentGroup):
    question_id = await ask(stage)
    await stage.permissions.questions.failed(SESSION, "row-1")
    await stage.permissions.questions.failed(SESSION, "no such row")
    with pytest.raises(NotFound):
        await stage.database.run(questions.by_id, question_id)


async def test_a_session_that_is_gone(stage: Stage, helper: AgentGroup):
    with pytest.raises(NotFound):
        await stage.permissions.questions.asked("zzzzzzzzzzzz", "row", CARD, TEAM)


async def test_no_flood_of_questions(stage: Stage, helper: AgentGroup):
    for number in range(question_service.MAX_OPEN):
        await stage.permissions.questions.asked(SESSION, f"row-{number}", CARD, TEAM)
    with pytest.raises(Refused, match="50 questions"):
        await stage.permissions.questions.asked(SESSION, "one more", CARD, TEAM)


async def test_operators(stage: Stage, helper: AgentGroup):
    """By value, label or number; a wrong one is refused, and so is what is answered already."""
    service = stage.permissions.questions
    question_id = await ask(stage)
    with pytest.raises(Refused, match="there are: yes, no"):
        await service.decide(question_id, "perhaps", "root")
    assert await service.decide(question_id, "YES, please", "root") == "Tea it is."
    with pytest.raises(NotFound):
        await service.decide(question_id, "1", "root")
    assert answers(stage)[0]["userId"] == "terminal:root"


async def test_a_crash_between_answer_and_end(stage: Stage, helper: AgentGroup):
    """The answer was stored, the question was not taken away: the next click changes nothing and tells the truth."""
    question_id = await ask(stage)
    question = await stage.database.run(questions.by_id, question_id)
    await click(stage, question_id, "yes")
    await stage.database.run(questions.add, question)
    await stage.database.run(lambda c: c.execute("DELETE FROM host_messages").get)
    stage.channels["chat"].messages[0].body = ShownCard(CARD, question_id)
    assert "not open" in await click(stage, question_id, "no")
    assert [one["value"] for one in answers(stage)] == ["yes"]
    assert await stage.database.run(questions.every) == []
    assert stage.channels["chat"].texts("team") == ["Tea?\n\nNow.\n\n→ Tea it is (Bob)"]


async def test_a_card_that_is_delivered_once_more_after_its_answer(stage: Stage, helper: AgentGroup):
    """The daemon died before it had noted the delivery: the answer stands, and nothing is asked again."""
    question_id = await ask(stage)
    await click(stage, question_id, "yes")
    assert await stage.permissions.questions.asked(SESSION, "row-1", CARD, TEAM) == question_id
    assert await stage.database.run(questions.every) == []
    assert "not open" in await click(stage, question_id, "no")
    assert [one["value"] for one in answers(stage)] == ["yes"]


async def test_answers_at_the_same_time(stage: Stage, helper: AgentGroup):
    """One of them counts, and is what the card says."""
    question_id = await ask(stage)
    await stage.database.run(members.add, "chat:cid", helper.id)
    words = await asyncio.gather(click(stage, question_id, "yes"), click(stage, question_id, "no", "chat:cid"))
    (answer,) = answers(stage)
    said = "Tea it is" if answer["value"] == "yes" else "No tea"
    assert f"{said}." in words
    assert sum("not open" in one for one in words) == 1
    assert f"→ {said} (" in stage.channels["chat"].texts("team")[0]


@pytest.mark.parametrize("calls", range(8))
async def test_a_death_while_a_text_answers(stage: Stage, helper: AgentGroup, calls: int):
    """Told again by its platform, the text is the answer that it was, and no message to the agent."""
    question_id = await ask(stage, PLAIN_TEAM)
    await stage.end()
    event = written("1", channel="plain")
    answer = CardAnswer("question", question_id, "yes")
    await until_killed(stage, calls, lambda: stage.permissions.answer(event, answer))
    await stage.start()
    if await stage.database.run(questions.every):
        await stage.permissions.answer(event, answer)
    await stage.rest()
    # By this row the router knows that the text was an answer.
    known = await stage.database.run(host_messages.by_id, words_id("answer", event.address, event.message_id))
    assert json.loads(known.content) == {"text": "Tea it is."}
    assert [one["value"] for one in answers(stage)] == ["yes"]
    assert await stage.database.run(questions.every) == []
    assert "Tea it is." in stage.channels["plain"].texts("team")


async def test_a_card_that_is_nobodys(stage: Stage):
    for card_id in ("zzzzzzzzzzzz", "", ".", "a.b.c", "x" * 1000, "\ud800"):
        assert await click(stage, card_id, "yes") == "This card is not open any more."
    event = dm("1", by="chat:bob")
    await stage.permissions.answer(event, CardAnswer("approval", "zzzzzzzzzzzz", "x"))
    await stage.rest()
    assert stage.channels["chat"].texts("dm-bob") == ["This card is not open any more."]


async def test_a_question_of_a_closed_session(stage: Stage, helper: AgentGroup):
    """Nobody waits for the answer any more: who gives one is told, and the card says so to everybody."""
    question_id = await ask(stage)
    stage.mailboxes.closed.add(SESSION)
    assert await click(stage, question_id, "yes") == "This question is not open any more."
    (card,) = stage.channels["chat"].in_chat("team")
    assert card.text.endswith("→ This question is not open any more.")
    assert await stage.database.run(questions.every) == []
