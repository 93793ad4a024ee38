"""What people do on Telegram, as the appliance hears of it (F-47…F-49, F-58, F-73…F-75, F-121, F-177; W-55)."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from telegram_stage import ANN, BEA, FORUM, GROUP, TOKEN, Stage, staged

from eventually import eventually
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound, Refused, TooLarge, Unavailable
from nanoclawd.routing.event import Change, Sender
from nanoclawd.sessions.ports import Delivered, ShownCard, Text

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(5000)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(tmp_path, monkeypatch) as made:
        await made.up()
        yield made


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def content_of(stage: Stage, reference: str) -> bytes:
    return b"".join([piece async for piece in stage.adapter.fetch(reference)])


async def test_a_person_writes(stage: Stage):
    number = stage.people.write(ANN, ANN, "good morning")
    event = await stage.heard()
    assert event.address == Address("tele", str(ANN), None)
    assert (event.text, event.message_id) == ("good morning", str(number))
    assert event.sender == Sender(f"telegram:{ANN}", "Ann")
    assert not event.is_group
    assert event.is_addressed
    assert event.chat_name == "Ann"
    assert event.timestamp.endswith("Z")


async def test_a_picture_comes_with_its_caption_in_its_largest_size(stage: Stage):
    stage.people.send(ANN, ANN, "photo", encoded(PICTURE), caption="see *this*")
    event = await stage.heard()
    assert event.text == "see *this*"
    (file,) = event.files
    assert (file.name, file.media_type, file.size) == ("photo-1.jpg", "image/jpeg", len(PICTURE))
    assert await content_of(stage, file.reference) == PICTURE


@pytest.mark.parametrize(
    ("kind", "given_name", "given_type", "name", "media_type"),
    [
        ("document", "report.pdf", "application/pdf", "report.pdf", "application/pdf"),
        ("document", "", "application/zip", "document-1", "application/zip"),
        ("voice", "", "audio/ogg", "voice-1.ogg", "audio/ogg"),
        ("audio", "song.mp3", "audio/mpeg", "song.mp3", "audio/mpeg"),
        ("video", "film.mp4", "video/mp4", "film.mp4", "video/mp4"),
        ("video_note", "", "", "video-note-1.mp4", "video/mp4"),
        ("animation", "cat.mp4", "video/mp4", "cat.mp4", "video/mp4"),
        ("sticker", "", "", "sticker-1.webp", "image/webp"),
    ],
)
async def test_files_of_all_kinds_come(
    stage: Stage, kind: str, given_name: str, given_type: str, name: str, media_type: str
):
    stage.people.send(ANN, ANN, kind, encoded(b"content"), name=given_name, media_type=given_type)
    event = await stage.heard()
    (file,) = event.files
    assert (file.name, file.media_type) == (name, media_type)
    assert await content_of(stage, file.reference) == b"content"
    assert event.text == ("[sticker \N{GRINNING FACE}]" if kind == "sticker" else "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"location": {"latitude": 52.5, "longitude": 13.4}}, "[location: 52.5, 13.4]"),
        (
            {
                "location": {"latitude": 52.5, "longitude": 13.4},
                "venue": {
                    "location": {"latitude": 52.5, "longitude": 13.4},
                    "title": "Café",
                    "address": "Square 1",
                },
            },
            "[place: Café, Square 1 (52.5, 13.4)]",
        ),
        ({"contact": {"phone_number": "+49123", "first_name": "Bo", "last_name": "Li"}}, "[contact: Bo Li, +49123]"),
        (
            {
                "poll": {
                    "id": "1",
                    "question": "Lunch?",
                    "total_voter_count": 0,
                    "is_closed": False,
                    "type": "regular",
                    "is_anonymous": True,
                    "allows_multiple_answers": False,
                    "allows_revoting": False,
                    "members_only": False,
                    "options": [
                        {"text": "yes", "voter_count": 0, "persistent_id": "1"},
                        {"text": "no", "voter_count": 0, "persistent_id": "2"},
                    ],
                }
            },
            "[poll: Lunch? (yes / no)]",
        ),
        ({"dice": {"emoji": "\N{GAME DIE}", "value": 4}}, "[\N{GAME DIE} shows 4]"),
    ],
)
async def test_what_is_no_text_is_put_into_words(stage: Stage, content: dict[str, Any], words: str):
    stage.people.share(ANN, ANN, content)
    assert (await stage.heard()).text == words


async def test_an_answer_names_what_it_answers(stage: Stage):
    first = stage.people.write(GROUP, ANN, "shall we go by train or by car?")
    stage.people.write(GROUP, BEA, "by train", reply_to=first)
    event = await stage.heard(2)
    assert event.quote is not None
    assert (event.quote.text, event.quote.sender, event.quote.message_id) == (
        "shall we go by train or by car?",
        "Ann",
        str(first),
    )
    stage.people.write(GROUP, BEA, "this", reply_to=first, quote="by train")
    assert (await stage.heard(3)).quote.text == "by train"
    picture = stage.people.send(GROUP, ANN, "photo", encoded(PICTURE))
    stage.people.write(GROUP, BEA, "nice", reply_to=picture)
    assert (await stage.heard(5)).quote.text == "[photo-4.jpg]"


async def test_who_is_meant_in_a_group(stage: Stage):
    said = await stage.deliver(Text("I am here"), chat=GROUP)
    assert isinstance(said, Delivered)
    for text, more, is_mention in [
        ("hello all", {}, False),
        ("hello @nano_test_bot", {}, True),
        ("hello @NANO_test_bot", {}, True),
        ("\N{GRINNING FACE}\N{GRINNING FACE} @nano_test_bot", {}, True),
        ("hello @nano_test_bot2", {}, False),
        ("mail me at a@nano_test_bot", {}, False),
        ("Nano, come", {"mentions": {"Nano": 4242}}, True),
        ("Bea, come", {"mentions": {"Bea": BEA}}, False),
        ("yes", {"reply_to": int(said.platform_message_id or 0)}, True),
        ("/help@nano_test_bot now", {}, True),
        ("/help", {}, False),
    ]:
        before = len(stage.received.events)
        stage.people.write(GROUP, ANN, text, **more)
        event = await stage.heard(before + 1)
        assert event.is_mention is is_mention, text
        assert event.is_group
        assert event.chat_name == "Kitchen"
    assert stage.received.events[-2].text == "/help now"
    # A command that names another bot is that one's business.
    stage.people.write(GROUP, ANN, "/stop@other_bot")
    stage.people.write(GROUP, ANN, "last")
    assert (await stage.heard(12)).text == "last"


async def test_who_hides_behind_a_group_is_nobody(stage: Stage):
    stage.people.write(
        GROUP, ANN, "as the group", extra={"sender_chat": {"id": GROUP, "type": "group", "title": "Kitchen"}}
    )
    assert (await stage.heard()).sender == Sender(None, "Kitchen")


async def test_topics_of_a_forum_are_threads(stage: Stage):
    topic = stage.people.topic(FORUM, ANN, "Garden")
    stage.people.write(FORUM, ANN, "in the topic", thread=topic)
    event = await stage.heard()
    assert event.address == Address("tele", str(FORUM), str(topic))
    assert event.quote is None  # Telegram's own way to say that it is in the topic
    assert not event.is_mention
    stage.people.write(FORUM, ANN, "in general")
    assert (await stage.heard(2)).address.thread_id is None
    # Where there are no topics, an answer's thread is none.
    first = stage.people.write(GROUP, ANN, "first")
    stage.people.write(GROUP, ANN, "second", reply_to=first, extra={"message_thread_id": first})
    assert (await stage.heard(4)).address.thread_id is None
    # A reaction does not say where it is.
    stage.people.react(FORUM, topic + 1, BEA, "\N{THUMBS UP SIGN}")
    assert (await stage.heard(5)).address.thread_id == str(topic)


async def test_an_edit_is_told(stage: Stage):
    number = stage.people.write(ANN, ANN, "buy milk")
    await stage.heard()
    stage.people.edit(ANN, number, "buy oat milk")
    event = await stage.heard(2)
    assert (event.change, event.about, event.text) == (Change.EDITED, str(number), "buy oat milk")
    assert event.message_id not in {"", str(number)}
    stage.people.edit(ANN, number, "buy soy milk")
    assert (await stage.heard(3)).message_id != event.message_id


async def test_a_reaction_is_told_and_taken_away(stage: Stage):
    number = stage.people.write(GROUP, ANN, "well done")
    await stage.heard()
    stage.people.react(GROUP, number, BEA, "\N{FIRE}")
    event = await stage.heard(2)
    assert (event.change, event.about, event.text) == (Change.REACTED, str(number), "\N{FIRE}")
    assert event.sender == Sender(f"telegram:{BEA}", "Bea")
    stage.people.react(GROUP, number, BEA, None)
    assert (await stage.heard(3)).text == ""


async def test_a_click_is_handed_in_and_answered(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    from contract import CARD

    shown = await stage.deliver(ShownCard(CARD, "k3f9m2x7q1zp"))
    assert isinstance(shown, Delivered)
    (card,) = stage.people.see(ANN)
    assert card["buttons"] == ["Yes", "No"]
    query = stage.people.click(ANN, int(shown.platform_message_id or 0), "No", ANN)
    assert await stage.people.answer(query) == "noted"
    (click,) = stage.received.clicks
    assert (click.card_id, click.value, click.user_id, click.sender_name) == (
        "k3f9m2x7q1zp",
        "#2",
        f"telegram:{ANN}",
        "Ann",
    )
    assert click.address == Address("tele", str(ANN), None)


_NO_BUTTONS = ("", "nc:", "nc:card", "nc:card:x", "nc::1", "other:card:1", "nc:card:-1", "nccr:a1:enter", "nccm:a1")


@pytest.mark.parametrize("data", _NO_BUTTONS)
async def test_a_button_that_is_not_ours_does_nothing(stage: Stage, data: str):
    """F-143: nor do those by which somebody was once asked for a credential."""
    chat = {"id": ANN, "type": "private", "first_name": "Ann"}
    user = {"id": ANN, "is_bot": False, "first_name": "Ann"}
    message = {"message_id": 1, "date": 1, "chat": chat}
    query = {"id": "77", "from": user, "chat_instance": "1", "data": data, "message": message}
    stage.api.update({"callback_query": query})
    await stage.people.acknowledged()
    assert stage.received.clicks == []
    assert stage.received.aside == {}


async def test_a_group_that_becomes_a_supergroup_is_followed(stage: Stage):
    new = stage.people.migrate(GROUP)
    await stage.people.acknowledged()
    assert set(stage.received.moves) == {(Address("tele", str(GROUP)), str(new))}


async def test_a_new_name_of_a_group_is_told(stage: Stage):
    stage.people.rename(GROUP, "Living room")
    await stage.people.acknowledged()
    assert stage.received.names == [(Address("tele", str(GROUP)), "Living room", None)]


async def test_what_is_no_message_is_no_event(stage: Stage):
    for content in (
        {"new_chat_members": [{"id": 5, "is_bot": False, "first_name": "Cy"}]},
        {"pinned_message": {"message_id": 1, "date": 1, "chat": {"id": GROUP, "type": "group", "title": "K"}}},
        {"forum_topic_closed": {}},
    ):
        stage.people.share(GROUP, ANN, content)
    await stage.people.acknowledged()
    assert stage.received.events == []
    assert stage.received.aside == {}


async def test_a_message_over_the_bounds_is_said_to_be(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    stage.received.refusals = [TooLarge("a message has 64 KiB at most")]
    stage.people.write(ANN, ANN, "much")
    await stage.people.sees(ANN, "a message has 64 KiB at most")
    await stage.people.acknowledged()


# Files.


async def test_files_that_cannot_be_had_say_why(stage: Stage):
    stage.people.send(ANN, ANN, "video", encoded(b"x"), size=21 * 1024 * 1024)
    large = (await stage.heard()).files[0]
    with pytest.raises(Refused, match="20 MB"):
        await content_of(stage, large.reference)
    stage.people.send(ANN, ANN, "document", None, name="gone.txt", size=5)
    gone = (await stage.heard(2)).files[0]
    with pytest.raises(NotFound):
        await content_of(stage, gone.reference)
    stage.people.send(ANN, ANN, "document", encoded(b"x"), name="later.txt")
    later = (await stage.heard(3)).files[0]
    stage.api.fault("download", status=502)
    with pytest.raises(Unavailable):
        await content_of(stage, later.reference)
    assert await content_of(stage, later.reference) == b"x"
    stage.api.fault("getFile", cut=True)
    with pytest.raises(Unavailable) as caught:
        await content_of(stage, later.reference)
    assert TOKEN not in str(caught.value)


# What is stored, and what is acknowledged.


async def test_order_is_kept_in_a_chat_while_another_goes_on(stage: Stage):
    """An update that can't be stored holds up its own chat only; nothing is acknowledged beyond it."""
    stage.received.refusals = [Unavailable("full")] * 4
    first = stage.people.write(ANN, ANN, "one")
    await eventually(lambda: stage.received.offered >= 1)
    stage.people.write(ANN, ANN, "two")
    stage.people.write(BEA, BEA, "other chat")
    await stage.heard(3)
    await stage.people.acknowledged()
    texts = [event.text for event in stage.received.events]
    assert texts.index("one") < texts.index("two")
    assert sorted(texts) == ["one", "other chat", "two"]
    assert str(first) in {event.message_id for event in stage.received.events}


async def test_what_was_not_stored_is_told_again_to_the_next_daemon(stage: Stage):
    stage.received.refusals = [Unavailable("full")] * 1000
    number = stage.people.write(ANN, ANN, "keep this")
    await eventually(lambda: stage.received.offered >= 2)
    await stage.adapter.teardown()
    stage.received.refusals = []
    stage.adapter = stage.new_adapter()
    await stage.up()
    assert (await stage.heard()).message_id == str(number)


async def test_a_hundred_and_more_updates_come_in_order(stage: Stage):
    await stage.adapter.teardown()
    for number in range(250):
        stage.people.write(ANN if number % 2 else BEA, ANN if number % 2 else BEA, str(number))
    await stage.up()
    await stage.heard(250)
    for remainder in (0, 1):
        mine = [int(event.text) for event in stage.received.events if int(event.text) % 2 == remainder]
        assert mine == sorted(mine)
        assert len(mine) == 125


# Hostile updates.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
WHOLE = {
    "message_id": 5,
    "date": 1700000000,
    "chat": {"id": ANN, "type": "private", "first_name": "Ann"},
    "from": {"id": ANN, "is_bot": False, "first_name": "Ann"},
    "text": "hello @nano_test_bot",
    "entities": [{"type": "mention", "offset": 6, "length": 14}],
    "photo": [{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1, "file_size": 5}],
    "reply_to_message": {"message_id": 4, "date": 1, "chat": {"id": ANN, "type": "private"}, "text": "x"},
}
KINDS = st.sampled_from(
    ["message", "edited_message", "channel_post", "callback_query", "message_reaction", "my_chat_member", "unknown"]
)


@st.composite
def broken(draw: st.DrawFn) -> dict[str, Any]:
    """An update that is nearly right: one or a few of its fields are anything, or gone."""
    content: dict[str, Any] = json.loads(json.dumps(WHOLE))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = content
        path = draw(st.lists(st.sampled_from(sorted(WHOLE)), min_size=1, max_size=1))
        inner = place.get(path[0])
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, dict) and inner and draw(st.booleans()):
            place, path = inner, [draw(st.sampled_from(sorted(inner)))]
        if draw(st.booleans()):
            place.pop(path[0], None)
        else:
            place[path[0]] = draw(JSON)
    kind = draw(KINDS)
    return {
        kind: {"id": "9", "from": WHOLE["from"], "message": content, "data": "nc:a:1"} if "query" in kind else content
    }


@given(updates=st.lists(broken() | st.dictionaries(KINDS, JSON, max_size=2), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_update_blocks_the_next_one(stage: Stage, updates: list[dict[str, Any]]):
    """What can't be read is set aside under its id; what comes behind it is heard."""
    stage.received.events.clear()
    stage.received.aside.clear()
    numbers = [stage.api.update(update) for update in updates]
    stage.people.write(BEA, BEA, "still there?")
    await stage.people.acknowledged()
    assert stage.received.events[-1].text == "still there?" or any(
        event.text == "still there?" for event in stage.received.events
    )
    assert set(stage.received.aside) <= {str(number) for number in numbers}
