"""Answers that find their way: places and threads, corrections, words beside calls of tools."""

import pytest
from place_stage import TERMINAL, destinations, own_chat, rows, several
from runner_stage import Host
from told_provider import Opens

from nanoclaw_runner.providers.base import (
    Error,
    Partial,
    Result,
    Said,
)


async def test_plain_words_reach_the_only_place(host: Host, opened: Opens):
    """A weak model that forgets its tags, or to end one, is heard all the same."""
    destinations(host, TERMINAL)
    async with opened() as talk:
        for number, (said, heard) in enumerate(
            (("Hello!", ["Hello!"]), ('Well. <message to="ada">Hi', ["Well.", "Hi"]), ("<message>Hi</message>", ["Hi"]))
        ):
            one = talk.insert("hi", thread="t-7")
            (await talk.query(1, number + 1)).say(Result(said))
            await talk.settled(one)
            assert rows(host)[-len(heard) :] == [(text, "cli", "terminal", "t-7", one) for text in heard]
        assert len(talk.provider.queries) == 1


async def test_each_block_goes_to_its_place_and_thread(host: Host, opened: Opens):
    """F-128, F-129: back to the thread of the question; elsewhere on with what was written last there, or new."""
    several(host)
    earlier = host.insert("", platform="2", thread="t-1")
    host.inbound.execute("UPDATE messages_in SET channel_type = 'loop', status = 'completed'")
    async with opened() as talk:
        one = talk.insert("tell them", thread="t-7")
        (await talk.query()).say(
            Result(
                'Hm. <message to="team">1</message> <internal>x</internal>\n```\nnot sent\n```'
                '<message to="helper">2</message><message to="ada">3</message><message to="team"> </message>'
            )
        )
        await talk.settled(one)
    assert rows(host) == [
        ("1", "loop", "2", "t-1", earlier),
        ("2", "agent", "helper", None, None),
        ("3", "cli", "terminal", "t-7", one),
    ]


async def test_an_answer_to_nobody_is_corrected_once(host: Host, opened: Opens):
    several(host)
    async with opened() as talk:
        one = talk.insert("hi")
        query = await talk.query()
        query.say(Result("Hello Ada"))
        await talk.query(1, 2)
        assert "several destinations" in query.prompts[1].rendered()
        assert "- ada\n- helper, an agent\n- team (The team)" in query.prompts[1].rendered()
        assert host.acks() == {one: "processing"}
        query.say(Result('<message to="ada">Hello</message>'))
        await talk.settled(one)
    assert [row[0] for row in rows(host)] == ["Hello"]


@pytest.mark.parametrize(
    ("again", "heard"),
    [
        ("Sorry about that.", ["Hello Ada"]),
        ("", ["Hello Ada"]),
        ("<internal>nothing</internal>", []),
        ('<message to="bob">x</message>', ["Hello Ada"]),
    ],
)
async def test_what_still_names_nobody_goes_to_where_it_was_asked(
    host: Host, opened: Opens, again: str, heard: list[str]
):
    """Never silent, unless the agent says that it means to be."""
    several(host)
    async with opened() as talk:
        one = talk.insert("hi")
        query = await talk.query()
        query.say(Result("Hello Ada"), Result(again))
        await talk.settled(one)
        assert len(query.prompts) == 2
    assert [row[0] for row in rows(host)] == heard


async def test_an_unknown_name_is_corrected_then_told(host: Host, opened: Opens):
    """Also where there is one place only; what was for others is sent once."""
    destinations(host, TERMINAL)
    async with opened() as talk:
        one = talk.insert("tell bob")
        query = await talk.query()
        query.say(Result('<message to="ada">Will do.</message><message to="bob">Dinner!</message>'))
        await talk.query(1, 2)
        assert 'There is no destination "bob"' in query.prompts[1].rendered()
        assert rows(host) == []
        query.say(Result('<message to="bobby">Dinner!</message>'))
        await talk.settled(one)
    assert [row[0] for row in rows(host)] == [
        *("Will do.", '[This was meant for "bob", which is not one of my destinations.]\n\nDinner!')
    ]


async def test_a_failure_at_the_correction_loses_no_answer(host: Host, opened: Opens):
    several(host)
    async with opened() as talk:
        one = talk.insert("hi")
        (await talk.query()).say(Result("Hello Ada"), Error("the moon is down"))
        await talk.settled(one)
    assert [row[0] for row in rows(host)] == ["Hello Ada"]


async def test_a_follow_up_during_a_correction_has_its_own(host: Host, opened: Opens):
    """The provider answers in the order in which it was given its prompts."""
    several(host)
    async with opened() as talk:
        one = talk.insert("one")
        query = await talk.query()
        two = talk.insert("two")
        await talk.query(1, 2)
        query.say(Result("first"))
        await talk.query(1, 3)
        query.say(Result("second"))
        await talk.query(1, 4)
        query.say(Result('<message to="ada">FIRST</message>'), Result('<message to="ada">SECOND</message>'))
        await talk.settled(one, two)
        assert [prompt.reference for prompt in query.prompts] == [one, two, f"{one}-named", f"{two}-named"]
    assert [(row[0], row[4]) for row in rows(host)] == [("FIRST", one), ("SECOND", two)]


async def test_a_message_beside_a_call_of_a_tool_is_sent_at_once(host: Host, opened: Opens):
    """Its question is not answered by it; words around it are thoughts."""
    several(host)
    async with opened() as talk:
        one = talk.insert("tell them", thread="t-7")
        query = await talk.query()
        query.say(Said('Let me see. <message to="team">1</message><message to="ada">2</message> hm'))
        await talk.replies(2)
        assert host.acks() == {one: "processing"}
        query.say(Said("Just looking."), Result("Done."))
        await talk.settled(one)
    assert rows(host) == [("1", "loop", "2", None, None), ("2", "cli", "terminal", "t-7", one)]


async def test_where_only_others_were_written_to_the_asker_has_an_answer_yet(host: Host, opened: Opens):
    several(host)
    async with opened() as talk:
        one = talk.insert("tell them")
        query = await talk.query()
        query.say(Said('<message to="team">1</message>'), Result("They know."))
        await talk.query(1, 2)
        query.say(Said('<message to="ada">They know.</message>'), Result(""))
        await talk.settled(one)
    assert [row[0] for row in rows(host)] == ["1", "They know."]


async def test_plain_words_beside_a_call_are_shown_and_not_sent(host: Host, opened: Opens):
    """Where there is one place they are progress; a block is a message there, too."""
    destinations(host, TERMINAL)
    async with opened() as talk:
        one = talk.insert("hi")
        query = await talk.query()
        said = 'Let me see. <message to="ada">Soon.</message>'
        query.say(Partial("Let me see."), Said("Let me see."), Said(said), Result("It is noon."))
        await talk.settled(one)
        assert talk.shown == ["Let me see."]
    assert [row[0] for row in rows(host)] == ["Soon.", "It is noon."]


@pytest.mark.parametrize("end", [Result(""), Error("it broke")])
async def test_a_message_beside_a_call_that_names_nobody_is_not_lost(host: Host, opened: Opens, end: Result | Error):
    several(host)
    async with opened() as talk:
        one = talk.insert("tell bob")
        query = await talk.query()
        query.say(Said('<message to="bob">Dinner!</message><message to="team">1</message>'), end)
        if isinstance(end, Result):
            await talk.query(1, 2)
            assert 'There is no destination "bob"' in query.prompts[1].rendered()
            query.say(Result(""))
        await talk.settled(one)
    told = '[This was meant for "bob", which is not one of my destinations.]\n\nDinner!'
    assert [row[0] for row in rows(host)][:2] == ["1", told]


async def test_a_repeated_turn_doubles_no_message_beside_a_call(host: Host, opened: Opens):
    """After kill -9 the same question is asked again: what was sent of its answer is known."""
    several(host)
    block = Said('<message to="ada">1</message>')
    async with opened() as talk:
        one = talk.insert("tell us")
        (await talk.query()).say(block, block)
        await talk.replies(2)
    again = opened()
    again.outbox.drop_claims()
    async with again as talk:
        (await talk.query()).say(block, block, block, Result('<message to="ada">2</message>'))
        await talk.settled(one)
    assert [row[0] for row in rows(host)] == ["1", "1", "1", "2"]


async def test_a_message_of_background_work_is_sent(host: Host, opened: Opens):
    several(host)
    async with opened() as talk:
        one = talk.insert("hi")
        query = await talk.query()
        query.say(Result('<message to="ada">Hello</message>'))
        await talk.settled(one)
        query.say(Said('<message to="team">1</message><message to="bob">2</message>'))
        await talk.replies(3)
    assert [row[1] for row in rows(host)] == ["cli", "loop", "cli"]


async def test_bare_words_of_a_small_model_are_never_corrected(host: Host, opened: Opens):
    several(host)
    async with opened(prompt="plain") as talk:
        answers = (("Hi", "Hi"), ('<message to="user">Ho', "Ho"), ("  a < b ", "a < b"))
        for number, (said, heard) in enumerate(answers, start=1):
            one = talk.insert("hi")
            (await talk.query(1, number)).say(Result(said))
            await talk.settled(one)
            assert str(rows(host)[-1][0]).strip() == heard
        assert len(talk.provider.queries[0].prompts) == 3


async def test_what_a_question_from_an_agent_is_answered_with_returns_to_it(host: Host, opened: Opens):
    own_chat(host, "1")
    async with opened() as talk:
        host.inbound.execute("DELETE FROM messages_in")
        one = host.insert("2 + 2?")
        host.inbound.execute("UPDATE messages_in SET channel_type = 'agent', platform_id = 'helper'")
        talk.ring()
        query = await talk.query()
        assert 'from="helper"' in query.prompts[0].rendered()
        query.say(Result('<message to="helper">4</message>'))
        await talk.settled(one)
    assert rows(host) == [("4", "agent", "helper", None, one)]


async def test_only_what_goes_where_it_was_asked_is_shown_early(host: Host, opened: Opens):
    """Thoughts, words to nobody, words for others and half a tag are never seen, however the text grows."""
    several(host)
    text = (
        'Secret. <message to="team">secret</message><internal>secret</internal><message to="ada">Hello there</message>'
    )
    async with opened() as talk:
        one = talk.insert("hi")
        query = await talk.query()
        for end in range(1, len(text) + 1, 3):
            query.say(Partial(text[:end]))
        query.say(Result(text))
        await talk.settled(one)
        assert talk.shown[-1].startswith("Hello")
        assert not [shown for shown in talk.shown if "ecret" in shown or "<" in shown]


async def test_an_answer_of_background_work_goes_to_who_asked_last(host: Host, opened: Opens):
    async with opened() as talk:
        one = talk.insert("a", thread="t-7")
        query = await talk.query()
        query.say(Result("1"), Result("and by the way", covers=0))
        await talk.settled(one)
        await talk.replies(2)
        assert rows(host)[1] == ("and by the way", "cli", "terminal", "t-7", one)
