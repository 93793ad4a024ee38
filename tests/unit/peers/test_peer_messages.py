"""What an agent says to another one arrives there once, with its name, its files, and a way back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.rows import Address
from nanoclawd.sessions.ports import Delivered, Outgoing, ShownCard, Undelivered
from nanoclawd.store import agent_groups, destinations
from nanoclawd.store import sessions as session_rows
from unit.peers.peer_stage import Talk, file, talking


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    async with talking(tmp_path) as made:
        yield made


async def test_a_message_arrives_in_a_session_of_the_other_agents(talk: Talk):
    """F-76: a message to another agent group arrives in that group's session."""
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    question = await talk.person_says(main, "ask the other one")
    assert isinstance(await talk.says(main, "other", "how are you?", answers=question), Delivered)
    (session,) = await talk.sessions_of(other)
    (row,) = talk.heard(session)
    assert (row.kind, row.trigger, row.address) == ("chat", True, Address("agent", "main"))
    assert row.content["text"] == "how are you?"


async def test_the_sender_has_the_name_that_people_know(talk: Talk):
    """W-26 and F-76: in the reference every message between agents was shown as from "Unknown"."""
    other = await talk.agent("other")
    group = await talk.agent("main", other)
    main = await talk.session(group, "room")
    await talk.house.database.run(
        lambda connection: connection.execute("UPDATE agent_groups SET name = 'Ada' WHERE id = ?", (group.id,)).get
    )
    await talk.says(main, "other", "hello")
    (session,) = await talk.sessions_of(other)
    content = talk.heard(session)[0].content
    assert (content["sender"], content["senderId"]) == ("Ada", "agent:main")


async def test_what_is_told_twice_is_one_message(talk: Talk):
    """A daemon that dies between delivering and noting it delivers again; the other agent hears it once."""
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    for _ in range(3):
        assert isinstance(await talk.says(main, "other", "once", row_id="same"), Delivered)
    (session,) = await talk.sessions_of(other)
    assert [row.content["text"] for row in talk.heard(session)] == ["once"]
    assert await talk.house.count("peer_messages") == 1


async def test_an_answer_goes_back_to_exactly_the_session_that_asked(talk: Talk):
    """Two conversations of one agent ask the same other one: each gets its own answer."""
    other = await talk.agent("other")
    group = await talk.agent("main", other)
    first, second = await talk.session(group, "first"), await talk.session(group, "second")
    await talk.says(first, "other", "from the first")
    await talk.says(second, "other", "from the second")
    (shared,) = await talk.sessions_of(other)
    asked = {row.content["text"]: row.id for row in talk.heard(shared)}
    await talk.says(shared, "main", "to the first", answers=asked["from the first"])
    await talk.says(shared, "main", "to the second", answers=asked["from the second"])
    assert [row.content["text"] for row in talk.heard(first)] == ["to the first"]
    assert [row.content["text"] for row in talk.heard(second)] == ["to the second"]


async def test_what_answers_nothing_goes_where_the_two_talked_last(talk: Talk):
    other = await talk.agent("other")
    group = await talk.agent("main", other)
    first, second = await talk.session(group, "first"), await talk.session(group, "second")
    await talk.says(first, "other", "from the first")
    await talk.says(second, "other", "from the second")
    (shared,) = await talk.sessions_of(other)
    await talk.says(shared, "main", "by the way")
    assert (len(talk.heard(first)), len(talk.heard(second))) == (0, 1)


async def test_a_session_that_was_closed_is_not_written_to(talk: Talk):
    other = await talk.agent("other")
    group = await talk.agent("main", other)
    main = await talk.session(group, "room")
    await talk.says(main, "other", "question")
    (shared,) = await talk.sessions_of(other)
    (row,) = talk.heard(shared)
    await talk.house.database.run(session_rows.close, main.id)
    assert isinstance(await talk.says(shared, "main", "answer", answers=row.id), Delivered)
    assert not talk.heard(main)
    fresh = next(one for one in await talk.sessions_of(group) if one.id != main.id)
    assert [one.content["text"] for one in talk.heard(fresh)] == ["answer"]


async def test_files_go_along(talk: Talk):
    """F-76: bytes are copied from the one's hands; the other has them as with a person's message."""
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    files = (file("table.csv", b"a,b\n1,2\n"), file("dot.bin", b"\0\1"))
    assert isinstance(await talk.says(main, "other", "see", files=files), Delivered)
    (session,) = await talk.sessions_of(other)
    attachments = talk.heard(session)[0].content["attachments"]
    assert [(one["name"], one["type"], one["size"]) for one in attachments] == [
        ("table.csv", "text/plain", 8),
        ("dot.bin", "application/octet-stream", 2),
    ]
    root = talk.house.root / "sessions" / "other" / session.id / "in"
    assert (root / attachments[0]["path"]).read_bytes() == b"a,b\n1,2\n"
    assert not list((talk.house.root / "staging").iterdir())


async def test_an_agent_that_has_gone_takes_nothing(talk: Talk):
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    await talk.house.database.run(agent_groups.delete, other.id)
    outcome = await talk.says(main, "other", "hello?")
    assert isinstance(outcome, Undelivered)
    assert outcome.permanent
    assert "no agent 'other' any more" in outcome.reason


async def test_an_agent_is_asked_in_words(talk: Talk):
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    card = Outgoing("row", ShownCard(Card("Which?", "", ()), "card"), Address("agent", "other"), "", None)
    outcome = await talk.peers.deliver(main, card)
    assert isinstance(outcome, Undelivered)
    assert "ask in words" in outcome.reason


async def test_that_there_will_be_no_answer_is_told_to_who_asked(talk: Talk):
    """The host's own words about a peer's message are a note for the agent that asked."""
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    await talk.says(main, "other", "question")
    (shared,) = await talk.sessions_of(other)
    (row,) = talk.heard(shared)
    await talk.says(shared, "main", "I could not answer.", answers=row.id, is_notice=True)
    (told,) = talk.heard(main)
    assert (told.kind, told.content["type"]) == ("system", "note")
    assert "other: I could not answer." in told.content["text"]


async def test_only_a_destination_is_written_to_and_never_oneself(talk: Talk):
    """F-76: the destinations are the permission."""
    other, stranger = await talk.agent("other"), await talk.agent("stranger")
    main = await talk.agent("main", other)
    may = destinations.may_write_to_agent
    assert await talk.house.database.run(may, main.id, "other")
    assert not await talk.house.database.run(may, main.id, stranger.folder)
    assert not await talk.house.database.run(may, main.id, "main")
    await talk.house.database.run(destinations.add_agent, main.id, main.id, "myself")
    assert not await talk.house.database.run(may, main.id, "main")


async def test_an_agent_that_has_used_up_its_day_says_so_to_the_one_that_asks(talk: Talk):
    other = await talk.agent("other")
    main = await talk.session(await talk.agent("main", other), "room")
    talk.full["other"] = "This agent has used up what it may use in a day: 1,200 of 1,000 tokens."
    outcome = await talk.says(main, "other", "hello?")
    assert isinstance(outcome, Undelivered)
    assert outcome.permanent
    assert "has used up what it may use in a day" in outcome.reason
    assert "1,200" not in outcome.reason, "one agent's usage is none of another's business"
    assert not await talk.sessions_of(other)
