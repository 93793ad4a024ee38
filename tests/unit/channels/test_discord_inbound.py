"""What people do on Discord comes in as it is meant (F-47, F-121…123, F-129, F-73): words, threads, clicks.

All against a server written from the public documentation (``tests/discord_api``), by the library itself.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract import CARD
from discord_stage import NAME, Stage

from discord_api.world import File
from eventually import eventually
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound, Refused, TooLarge, Unavailable
from nanoclawd.routing.event import Change, InboundEvent
from nanoclawd.sessions.ports import Delivered, Edit, PartialText, Reaction, ShownCard, Text


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, monkeypatch)
    await made.api.start()
    made.people.channel("general")
    await made.begin()
    yield made
    await made.end()


async def said(stage: Stage, text: str = "hello", **how: object) -> InboundEvent:
    message = stage.people.say(stage.people.channel("general"), text, **how)  # type: ignore[arg-type]
    return await stage.hears(lambda one: one.message_id == message)


async def test_a_message_has_its_place_its_writer_and_its_time(stage: Stage):
    event = await said(stage, "good morning", who="Bob")
    assert event.address == Address(NAME, stage.people.channel("general"))
    assert (event.sender.user_id, event.sender.name) == (f"discord:{stage.people.user_id('Bob')}", "Bob")
    assert (event.is_group, event.is_mention, event.chat_name) == (True, False, "#general (Town)")
    assert event.timestamp is not None


async def test_a_thread_is_a_thread_of_its_channel(stage: Stage):
    """F-121, F-123, F-129: each thread has an address of its own, below the channel's."""
    channel = stage.people.channel("general")
    threads = [stage.people.thread(channel, name) for name in ("one", "two")]
    for number, thread in enumerate(threads):
        stage.people.say(thread, f"text {number}")
    events = [await stage.hears(lambda one, n=number: one.text == f"text {n}") for number in range(2)]
    assert [event.address for event in events] == [Address(NAME, channel, thread) for thread in threads]
    assert {event.chat_name for event in events} == {"#general (Town)"}
    assert stage.adapter.capabilities.threads


async def test_a_thread_that_began_before_the_bot_came_is_one_too(stage: Stage):
    channel = stage.people.channel("general")
    thread = stage.people.thread(channel, "old")
    await stage.adapter.teardown()
    await stage.begin()
    stage.people.say(thread, "in the old thread")
    event = await stage.hears(lambda one: one.text == "in the old thread")
    assert event.address == Address(NAME, channel, thread)


async def test_a_place_that_was_never_told_is_asked_for(stage: Stage):
    channel = stage.people.channel("general")
    emit, stage.api.world.emit = stage.api.world.emit, lambda *_: None
    thread = stage.people.thread(channel, "secret")
    stage.api.world.emit = emit
    stage.people.say(thread, "psst")
    event = await stage.hears(lambda one: one.text == "psst")
    assert event.address == Address(NAME, channel, thread)


async def test_a_direct_chat_has_two_people(stage: Stage):
    """F-122: no thread, no group; all of it is said to the agent."""
    chat = stage.people.dm("Carol")
    stage.people.say(chat, "hello", "Carol")
    event = await stage.hears(lambda one: one.text == "hello")
    assert event.address == Address(NAME, chat)
    assert (event.is_group, event.is_addressed, event.chat_name) == (False, True, "Carol")
    assert await stage.adapter.open_dm(stage.people.user_id("Carol")) == chat


@pytest.mark.parametrize("how", [{"mention": True}, {"role_mention": True}])
async def test_who_mentions_the_bot_speaks_to_it(stage: Stage, how: dict[str, bool]):
    event = await said(stage, "what do you think?", **how)
    assert event.is_mention
    assert event.text.startswith("@")
    assert event.text.endswith("what do you think?")
    assert "<@" not in event.text


async def test_who_mentions_somebody_else_does_not(stage: Stage):
    bob = stage.people.user_id("Bob")
    event = await said(stage, f"<@{bob}> and @everyone, see <#{stage.people.channel('general')}> <:wave:123>")
    assert not event.is_mention
    assert event.text == "@Bob and @everyone, see #general :wave:"


async def test_an_answer_to_the_bot_is_said_to_it_and_quotes_it(stage: Stage):
    channel = stage.people.channel("general")
    outcome = await stage.deliver(channel, Text("shall I?"))
    assert isinstance(outcome, Delivered)
    event = await said(stage, "yes", reply_to=outcome.platform_message_id)
    assert event.is_mention
    assert event.quote is not None
    assert (event.quote.text, event.quote.message_id) == ("shall I?", outcome.platform_message_id)
    other = await said(stage, "I agree", who="Bob", reply_to=event.message_id)
    assert not other.is_mention
    assert other.quote is not None
    assert (other.quote.sender, other.quote.text) == ("Alice", "yes")


async def test_a_command_after_a_mention_begins_the_text(stage: Stage):
    event = await said(stage, "/help", mention=True)
    assert (event.text, event.is_mention) == ("/help", True)


async def test_programs_notices_and_the_bot_itself_are_not_heard(stage: Stage):
    channel = stage.people.channel("general")
    stage.people.say(channel, "from a webhook", more={"webhook_id": "77"})
    stage.people.say(channel, "pinned a message", more={"type": 6})
    robot = {"id": "4711", "username": "robot", "bot": True}
    stage.api.world.post(channel, robot, "from a bot")
    await stage.deliver(channel, Text("from us"))
    await said(stage, "from a person")
    assert [event.text for event in stage.received.events] == ["from a person"]


async def test_stickers_polls_and_forwards_have_words(stage: Stage):
    event = await said(stage, "", more={"sticker_items": [{"id": "1", "name": "Wumpus"}]})
    assert event.text == "[sticker: Wumpus]"
    poll = {"question": {"text": "Lunch?"}, "answers": [{"poll_media": {"text": "soup"}}]}
    assert (await said(stage, "", more={"poll": poll})).text == "[poll: Lunch?]\n- soup"
    forwarded = {"message_snapshots": [{"message": {"content": "said elsewhere", "attachments": []}}]}
    event = await said(stage, "", more=forwarded)
    assert event.quote is not None
    assert event.quote.text == "said elsewhere"


async def test_files_are_fetched_by_an_address_that_is_asked_for_anew(stage: Stage):
    content = bytes(range(256)) * 1000
    event = await said(stage, "see there", files=[File("a.bin", content, "application/x-thing"), File("b.txt", b"b")])
    first, second = event.files
    assert (first.name, first.media_type, first.size) == ("a.bin", "application/x-thing", len(content))
    for stored in stage.api.world.files.values():
        stored.signature = "another one by now"
    await stage.adapter.teardown()
    await stage.begin()
    assert b"".join([piece async for piece in stage.adapter.fetch(first.reference)]) == content
    assert b"".join([piece async for piece in stage.adapter.fetch(second.reference)]) == b"b"
    stage.people.delete(event.address.platform_id, event.message_id)
    with pytest.raises(NotFound):
        [piece async for piece in stage.adapter.fetch(first.reference)]


async def test_a_file_that_is_somewhere_else_is_not_fetched(stage: Stage):
    event = await said(stage, "see there", files=[File("a.bin", b"x")])
    stage.api.world.signed = lambda _path: "http://169.254.169.254/latest"  # type: ignore[method-assign]
    with pytest.raises(Refused):
        [piece async for piece in stage.adapter.fetch(event.files[0].reference)]


async def test_a_platform_that_is_away_gives_the_file_later(stage: Stage):
    event = await said(stage, "see there", files=[File("a.bin", b"x")])
    stage.people.fail("GET .*/messages/", status=503)
    with pytest.raises(Unavailable):
        [piece async for piece in stage.adapter.fetch(event.files[0].reference)]


async def test_changes_come_in_with_what_they_are_about(stage: Stage):
    channel = stage.people.channel("general")
    event = await said(stage, "helo")
    stage.people.preview(channel, event.message_id)
    stage.people.edit(channel, event.message_id, "hello")
    stage.people.preview(channel, event.message_id)
    stage.people.react(channel, event.message_id, "\N{WAVING HAND SIGN}", "Bob")
    stage.people.delete(channel, event.message_id)
    await stage.hears(lambda one: one.change is Change.DELETED)
    changes = [one for one in stage.received.events if one.change is not None]
    # What the platform adds to a message is no edit; and told twice it has the same id.
    edits = [one for one in changes if one.change is Change.EDITED]
    assert {one.text for one in edits} == {"hello"}
    assert len({one.message_id for one in edits}) == 1
    (reacted,) = (one for one in changes if one.change is Change.REACTED)
    assert (reacted.text, reacted.sender.name) == ("\N{WAVING HAND SIGN}", "Bob")
    assert {one.about for one in changes} == {event.message_id}
    assert {one.address for one in changes} == {event.address}


async def test_many_messages_deleted_at_once_are_each_gone(stage: Stage):
    channel = stage.people.channel("general")
    ids = [(await said(stage, f"text {number}")).message_id for number in range(3)]
    stage.people.delete(channel, *ids)
    await stage.received.until(lambda: sum(one.change is Change.DELETED for one in stage.received.events) == 3)
    assert [one.about for one in stage.received.events if one.change] == ids


async def test_what_the_bot_itself_does_is_no_news(stage: Stage):
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    outcome = await stage.deliver(channel, Text("one"), "row-1")
    assert isinstance(outcome, Delivered)
    target = outcome.platform_message_id or ""
    await stage.deliver(channel, Edit(target, "two"), "row-2")
    await stage.deliver(channel, Reaction(target, "\N{THUMBS UP SIGN}"), "row-3")
    stage.adapter.show_progress(address, PartialText("m-1", "An answer that nobody will read to its end, I fear"))
    await eventually(lambda: len(stage.people.texts(channel)) == 2)
    await stage.adapter.end_turn(address, "m-1", completed=False)
    await said(stage, "a person")
    assert [one.text for one in stage.received.events] == ["a person"]


async def test_a_click_is_answered_at_once_and_its_words_are_for_who_clicked(stage: Stage):
    """F-73: the number of the option, by the card's id; the host changes the card, not the adapter."""
    channel = stage.people.channel("general")
    outcome = await stage.deliver(channel, ShownCard(CARD, "k3f9m2x7q1zp"))
    assert isinstance(outcome, Delivered)
    press = stage.people.click(channel, outcome.platform_message_id or "", "No", "Bob")
    await eventually(lambda: stage.people.interaction(press)["words"])
    (click,) = stage.received.clicks
    assert (click.card_id, click.value, click.sender_name) == ("k3f9m2x7q1zp", "#2", "Bob")
    assert (click.user_id, click.address) == (f"discord:{stage.people.user_id('Bob')}", Address(NAME, channel))
    what = stage.people.interaction(press)
    assert (what["answer"], what["words"], what["failed"]) == (6, ["noted"], False)
    assert stage.people.shown(channel)[0]["buttons"] == ["Yes", "No"]


async def test_a_click_in_a_thread_and_in_a_direct_chat_knows_its_place(stage: Stage):
    channel = stage.people.channel("general")
    thread, direct = stage.people.thread(channel, "plans"), stage.people.dm("Carol")
    for number, (place, parent) in enumerate(((thread, channel), (direct, None))):
        address = (parent, place) if parent else (place, None)
        outcome = await stage.deliver(address[0], ShownCard(CARD, "k3f9m2x7q1zp"), f"row-{number}", thread=address[1])
        assert isinstance(outcome, Delivered)
        stage.people.click(place, outcome.platform_message_id or "", "Yes", "Carol")
        await stage.received.until(lambda n=number: len(stage.received.clicks) == n + 1)
        assert stage.received.clicks[-1].address == Address(NAME, *address)


async def test_a_click_is_acknowledged_though_the_host_is_busy_with_messages(stage: Stage):
    """The three seconds do not wait for a message that can't be stored."""
    channel = stage.people.channel("general")
    outcome = await stage.deliver(channel, ShownCard(CARD, "k3f9m2x7q1zp"))
    assert isinstance(outcome, Delivered)
    stage.received.refusals = [Unavailable("the disk is full")] * 2
    message = stage.people.say(channel, "first")
    press = stage.people.click(channel, outcome.platform_message_id or "", "Yes")
    await eventually(lambda: stage.people.interaction(press)["answer"] == 6)
    assert stage.people.interaction(press)["seconds"] < 3
    await stage.hears(lambda one: one.message_id == message)


async def test_a_click_counts_though_it_could_not_be_acknowledged(stage: Stage):
    channel = stage.people.channel("general")
    outcome = await stage.deliver(channel, ShownCard(CARD, "k3f9m2x7q1zp"))
    assert isinstance(outcome, Delivered)
    stage.people.fail("/callback", status=404)
    stage.people.click(channel, outcome.platform_message_id or "", "Yes")
    await stage.received.until(lambda: stage.received.clicks)


async def test_a_button_of_somebody_else_is_answered_and_nothing_more(stage: Stage):
    channel = stage.people.channel("general")
    button = {"type": 2, "style": 2, "label": "Old", "custom_id": "ncq:1:0"}
    more = {"components": [{"type": 1, "components": [button]}]}
    message = stage.api.world.post(channel, stage.api.world.bot, "an old card", more=more)["id"]
    press = stage.people.click(channel, message, "Old")
    await eventually(lambda: stage.people.interaction(press)["words"])
    assert stage.received.clicks == []


async def test_slash_help_is_answered_in_time_and_asks_as_a_message(stage: Stage):
    channel = stage.people.channel("general")
    await eventually(lambda: stage.api.world.commands)
    given = stage.people.slash(channel, "help", "Bob")
    event = await stage.hears(lambda one: one.text == "/help")
    assert (event.is_mention, event.sender.name, event.address) == (True, "Bob", Address(NAME, channel))
    await eventually(lambda: stage.people.interaction(given)["words"])
    assert stage.people.interaction(given)["answer"] == 4
    # Registered once, and not again at each start.
    await stage.adapter.teardown()
    await stage.begin()
    await eventually(lambda: stage.people.requests("GET /applications") == 2)
    assert stage.people.requests("PUT /applications") == 1


async def test_messages_of_a_chat_keep_their_order_while_others_go_on(stage: Stage):
    """A message that takes its time to be stored holds up its own channel only."""
    channels = [stage.people.channel("general"), stage.people.channel("workshop")]
    gate, take = asyncio.Event(), stage.received.message

    async def slowly(event: InboundEvent) -> None:
        if event.text == "one":
            await gate.wait()
        await take(event)

    stage.received.message = slowly  # type: ignore[method-assign]
    first, second = (stage.people.say(channels[0], text) for text in ("one", "two"))
    other = stage.people.say(channels[1], "elsewhere")
    await stage.hears(lambda one: one.message_id == other)
    gate.set()
    await stage.hears(lambda one: one.message_id == second)
    assert [one.message_id for one in stage.received.events] == [other, first, second]


async def test_a_burst_of_many_chats_is_complete_and_in_order(stage: Stage):
    channels = [stage.people.channel(f"room-{number}") for number in range(20)]
    sent = [(channel, stage.people.say(channel, f"text {n}")) for n in range(50) for channel in channels]
    await stage.received.until(lambda: len(stage.received.events) == len(sent))
    for channel in channels:
        heard = [one.message_id for one in stage.received.events if one.address.platform_id == channel]
        assert heard == [message for place, message in sent if place == channel]


async def test_who_writes_too_much_is_told(stage: Stage):
    stage.received.refusals = [TooLarge("the text is over 256 KiB")]
    channel = stage.people.channel("general")
    stage.people.say(channel, "a book")
    await eventually(lambda: stage.people.texts(channel))
    assert stage.people.texts(channel) == ["the text is over 256 KiB"]


async def test_a_chats_new_name_is_told(stage: Stage):
    channel = stage.people.channel("general")
    stage.people.rename(channel, "lounge")
    await stage.received.until(lambda: stage.received.names)
    assert stage.received.names == [(Address(NAME, channel), "#lounge (Town)", True)]
    assert await stage.adapter.chat_name(channel) == "#lounge (Town)"


async def test_the_channels_of_the_servers_are_known(stage: Stage):
    stage.people.channel("workshop")
    await eventually(lambda: len(stage.adapter._up.places.speakable()) == 2 if stage.adapter._up else False)
    found = {one.name: one.is_group for one in await stage.adapter.conversations()}
    assert found == {"#general (Town)": True, "#workshop (Town)": True}
