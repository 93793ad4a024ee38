"""What the appliance says on Telegram, as people see it.

F-47…F-49, F-59, F-60, F-122, F-123, F-128, F-129; W-11, W-21, W-39.
"""

import asyncio
import base64
import io
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from contract import CARD, Received, attachment
from telegram_stage import ANN, BEA, FORUM, GROUP, TOKEN, Stage, staged

from eventually import eventually
from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.telegram.pace import Busy, Pace, Rates
from nanoclawd.channels.telegram.sent import Progress, SentParts
from nanoclawd.sessions.ports import Attachment, Delivered, Edit, PartialText, Reaction, ShownCard, Text, Undelivered
from telegram_api.limits import Limits
from telegram_api.rules import units

PNG = b"\x89PNG\r\n\x1a\n" + bytes(5000)
OPUS = b"OggS" + bytes(24) + b"OpusHead" + bytes(1000)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    async with staged(tmp_path, monkeypatch) as made:
        await made.up()
        yield made


def shown(stage: Stage, chat: int = ANN) -> list[dict[str, Any]]:
    return stage.people.see(chat)


async def delivered(stage: Stage, body: Any, *args: Any, **more: Any) -> str:
    outcome = await stage.deliver(body, *args, **more)
    assert isinstance(outcome, Delivered), outcome
    return outcome.platform_message_id or ""


async def refused(stage: Stage, body: Any, *args: Any, **more: Any) -> Undelivered:
    outcome = await stage.deliver(body, *args, **more)
    assert isinstance(outcome, Undelivered)
    assert TOKEN not in outcome.reason
    return outcome


async def test_markdown_is_shown_as_it_is_meant(stage: Stage):
    await delivered(stage, Text("# Title\n\nsome **bold** `a<b` [page](https://e.org)\n\n```py\nx = 1\n```"))
    (message,) = shown(stage)
    assert message["text"] == "Title\n\nsome bold a<b page\n\nx = 1"
    assert [entity["type"] for entity in message["entities"]] == [
        "bold",
        "bold",
        "code",
        "text_link",
        "pre",
        "pre-language",
    ]


async def test_a_long_answer_comes_in_messages_that_each_are_whole(stage: Stage):
    code = "\n".join(f"print('line {number}')" for number in range(300))
    table = "|name|value|\n|-|-|\n" + "".join(f"|row {number}|{number * 7}|\n" for number in range(120))
    text = "\n\n".join(["# Report", "word " * 900, f"```python\n{code}\n```", table, "\N{GRINNING FACE}" * 1500])
    assert len(text) > 12_000
    await delivered(stage, Text(text))
    messages = shown(stage)
    assert all(units(one["text"]) <= 4096 for one in messages)
    assert "".join("".join(one["text"].split()) for one in messages).count("\N{GRINNING FACE}") == 1500
    printed = [one for one in messages if "print(" in one["text"]]
    assert all(any(entity["type"] == "pre" for entity in one["entities"]) for one in printed)
    assert sum(one["text"].count("print(") for one in printed) == 300


async def test_what_telegram_cannot_format_comes_as_plain_text(stage: Stage):
    stage.api.fault("sendMessage", status=400, description="Bad Request: can't parse entities: Unexpected end tag")
    await delivered(stage, Text("some **bold** words & more"))
    (message,) = shown(stage)
    assert message["text"] == "some bold words & more"
    assert message["entities"] == []


async def test_a_topic_gets_what_is_for_it(stage: Stage):
    topic = stage.people.topic(FORUM, ANN, "Garden")
    await delivered(stage, Text("in the topic"), chat=FORUM, thread=topic)
    await delivered(stage, Text("in general"), "row-2", chat=FORUM)
    assert [(one["text"], one["thread"]) for one in shown(stage, FORUM)] == [
        ("in the topic", topic),
        ("in general", None),
    ]
    gone = await refused(stage, Text("nowhere"), "row-3", chat=FORUM, thread=9999)
    assert gone.permanent


# Cards, changes, reactions.


async def test_a_card_has_buttons_until_it_is_edited(stage: Stage):
    card = Card(
        "Go **on**?", "The disk is *nearly* full.", (Option("Y" * 60, "y" * 200, "Done"), Option("No", "n", "No"))
    )
    number = await delivered(stage, ShownCard(card, "k3f9m2x7q1zp"))
    (message,) = shown(stage)
    assert message["text"] == "Go **on**?\n\nThe disk is nearly full."
    assert message["buttons"] == ["Y" * 60, "No"]
    await delivered(stage, Edit(number, "Go on?\n\nDone"), "row-2")
    (message,) = shown(stage)
    assert (message["text"], message["buttons"], message["is_edited"]) == ("Go on?\n\nDone", [], True)


async def test_a_long_card_has_its_buttons_at_its_end(stage: Stage):
    number = await delivered(stage, ShownCard(Card("Title", "word " * 1500, CARD.options), "k3f9m2x7q1zp"))
    first, last = shown(stage)
    assert (first["buttons"], last["buttons"]) == ([], ["Yes", "No"])
    assert str(last["message_id"]) == number


async def test_a_display_has_no_buttons(stage: Stage):
    await delivered(stage, ShownCard(Card("Report", "All is well.", (), fallback="All is well."), ""))
    assert [(one["text"], one["buttons"]) for one in shown(stage)] == [("Report\n\nAll is well.", [])]


async def test_an_edit_that_changes_nothing_is_done(stage: Stage):
    number = await delivered(stage, Text("the same"))
    assert await delivered(stage, Edit(number, "the same"), "row-2") == number


async def test_an_edit_too_long_for_a_message_goes_on_in_the_next(stage: Stage):
    number = await delivered(stage, Text("short"))
    await delivered(stage, Edit(number, "word " * 1500), "row-2")
    assert sum(one["text"].count("word") for one in shown(stage)) == 1500


async def test_the_caption_of_a_file_is_edited_as_one(stage: Stage):
    number = await delivered(stage, Text("", (attachment(),)))
    await delivered(stage, Edit(number, "about it"), "row-2")
    assert shown(stage)[0]["text"] == "about it"


@pytest.mark.parametrize("target", ["999", "x", "", "-1", "9" * 40])
async def test_what_is_not_there_can_be_neither_changed_nor_reacted_to(stage: Stage, target: str):
    assert (await refused(stage, Edit(target, "new"))).permanent
    assert (await refused(stage, Reaction(target, "\N{THUMBS UP SIGN}"))).permanent


async def test_reactions_that_telegram_has(stage: Stage):
    number = stage.people.write(ANN, ANN, "look")
    await stage.heard()
    await delivered(stage, Reaction(str(number), "\N{HEAVY BLACK HEART}\ufe0f"))
    assert stage.people.history(ANN)[0]["reactions"] == {"bot": "\N{HEAVY BLACK HEART}"}
    other = await refused(stage, Reaction(str(number), "\N{TROLLEYBUS}"))
    assert other.permanent
    assert "\N{THUMBS UP SIGN}" in other.reason


# Files.


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("plan.png", PNG, "photo"),
        ("plan.txt", PNG, "photo"),
        ("plan.png", b"no picture", "document"),
        ("note.ogg", OPUS, "voice"),
        ("song.ogg", b"OggS" + bytes(300), "document"),
        ("a.pdf", b"%PDF", "document"),
        ("large.png", PNG + bytes(10_000_000), "document"),
    ],
    ids=range(7),
)
async def test_files_go_as_what_they_are(stage: Stage, name: str, content: bytes, kind: str):
    file = Attachment(name, len(content), io.BytesIO(content))
    await delivered(stage, Text("see **there**", (file,)))
    (message,) = shown(stage)
    assert (message["text"], message["kind"]) == ("see there", kind)
    (sent,) = message["files"]
    assert sent["size"] == len(content)
    assert base64.b64decode(sent["data"]) == content[:65536]
    if kind == "document":
        assert sent["name"] == name


@pytest.mark.parametrize(
    ("words", "files", "kinds"),
    [
        ("\N{GRINNING FACE}" * 512, 1, ["document"]),
        ("\N{GRINNING FACE}" * 512 + ".", 1, ["text", "document"]),
        ("two of them", 2, ["text", "document", "document"]),
    ],
    ids=["fits", "too long", "several"],
)
async def test_words_go_below_the_only_file_where_they_fit(stage: Stage, words: str, files: int, kinds: list[str]):
    """F-122: 1024 UTF-16 units, as Telegram counts them."""
    sent = tuple(attachment(f"{number}.txt", b"content") for number in range(files))
    await delivered(stage, Text(words, sent))
    assert [one["kind"] for one in shown(stage)] == kinds
    assert shown(stage)[0]["text"] == words


async def test_a_caption_that_is_not_taken_as_it_is_goes_as_plain_text(stage: Stage):
    stage.api.fault("sendDocument", status=400, description="Bad Request: can't parse entities: Unexpected end tag")
    number = await delivered(stage, Text("some **bold** words", (attachment(),)))
    (message,) = shown(stage)
    assert (message["text"], message["entities"]) == ("some bold words", [])
    await delivered(stage, Edit(number, "other words"), "row-2")
    assert shown(stage)[0]["text"] == "other words"


async def test_words_that_are_shown_already_stay_a_message(stage: Stage):
    beginning = "This is the beginning of an answer that is long enough."
    stage.adapter.show_progress(Address("tele", str(ANN)), PartialText("m-1", beginning))
    await stage.people.sees(ANN, beginning)
    await delivered(stage, Text("All of it.", (attachment(),)), reply="m-1")
    assert [one["kind"] for one in shown(stage)] == ["text", "document"]


async def test_a_picture_that_telegram_does_not_take_goes_as_a_file(stage: Stage):
    stage.api.fault("sendPhoto", status=400, description="Bad Request: PHOTO_INVALID_DIMENSIONS")
    await delivered(stage, Text("", (Attachment("wide.png", len(PNG), io.BytesIO(PNG)),)))
    assert shown(stage)[0]["kind"] == "document"


# What goes wrong.


async def test_a_retry_says_nothing_twice(stage: Stage):
    """W-39: after the third of the parts the network fails; the next attempt, by another daemon, goes on with it."""
    files = (attachment("a.txt", b"a"), attachment("b.txt", b"b"))
    body = Text("word " * 2000, files)
    stage.api.fault("sendMessage", times=0)
    stage.api.fault("sendDocument", status=502, description="Bad Gateway")
    failed = await refused(stage, body, "row-7")
    assert not failed.permanent
    before = [one["message_id"] for one in shown(stage)]
    assert len(before) == 3
    await stage.adapter.teardown()
    stage.adapter = stage.new_adapter()
    await stage.up()
    assert await delivered(stage, body, "row-7") == str(before[0])
    messages = shown(stage)
    assert [one["message_id"] for one in messages[:3]] == before
    assert sum(one["text"].count("word") for one in messages) == 2000
    assert [one["files"][0]["name"] for one in messages[3:]] == ["a.txt", "b.txt"]
    # A daemon that dies before it could record that delivers it again: nothing is said twice.
    assert await delivered(stage, body, "row-7") == str(before[0])
    assert len(shown(stage)) == 5
    # Another row with the same words is said anew.
    await delivered(stage, body, "row-8")
    assert len(shown(stage)) == 10


async def test_flood_control_is_passed_on(stage: Stage):
    """W-11: what Telegram asks to wait is neither a failure nor a loss."""
    stage.api.fault("sendMessage", status=429, description="Too Many Requests: retry after 7", retry_after=7)
    outcome = await refused(stage, Text("later"))
    assert (outcome.permanent, outcome.retry_after) == (False, 7.0)


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 502, "garbage": True}, {"cut": True}, {"garbage": True}])
async def test_trouble_of_the_service_passes(stage: Stage, fault: dict[str, Any]):
    stage.api.fault("sendMessage", **fault)
    assert not (await refused(stage, Text("again"))).permanent
    await delivered(stage, Text("again"))


async def test_who_has_blocked_the_bot_is_told_for_good(stage: Stage):
    stage.people.block(ANN)
    outcome = await refused(stage, Text("hello?"))
    assert outcome.permanent
    assert "blocked" in outcome.reason
    stage.people.person(77, "Cy", started=False)
    assert (await refused(stage, Text("hello"), chat=77)).permanent
    assert (await refused(stage, Text("hello"), chat=999)).permanent


async def test_a_group_that_has_moved_gets_its_answer_at_once(stage: Stage):
    new = stage.people.migrate(GROUP)
    stage.received.moves.clear()
    await delivered(stage, Text("the answer"), chat=GROUP)
    assert [one["text"] for one in shown(stage, new)] == ["the answer"]
    assert (Address("tele", str(GROUP)), str(new)) in stage.received.moves


# Signs.


async def test_typing_is_shown_where_work_is_done(stage: Stage):
    topic = stage.people.topic(FORUM, ANN, "Garden")
    await stage.adapter.set_typing(Address("tele", str(FORUM), str(topic)))
    (action,) = stage.people.actions(FORUM)
    assert (action["action"], action["thread"]) == ("typing", topic)
    stage.people.block(ANN)
    await stage.adapter.set_typing(Address("tele", str(ANN)))


async def test_an_answer_is_shown_while_it_is_written_and_becomes_the_whole(stage: Stage):
    address = Address("tele", str(ANN))
    beginning = "This is the beginning of an answer that is long enough."
    stage.adapter.show_progress(address, PartialText("m-1", beginning))
    seen = await stage.people.sees(ANN, beginning)
    await delivered(stage, Text(f"{beginning} And **this** is its end."), reply="m-1")
    (message,) = shown(stage)
    assert message["message_id"] == seen["message_id"]
    assert message["text"] == f"{beginning} And this is its end."
    await stage.adapter.end_turn(address, "m-1", completed=True)
    assert len(shown(stage)) == 1


async def test_what_was_shown_of_an_answer_that_did_not_come_is_taken_away(stage: Stage):
    address = Address("tele", str(ANN))
    stage.adapter.show_progress(address, PartialText("m-1", "This is the beginning of an answer that never comes."))
    await stage.people.sees(ANN, "beginning")
    await stage.adapter.end_turn(address, "m-1", completed=False)
    assert shown(stage) == []


async def test_it_is_taken_away_once_telegram_is_back(stage: Stage):
    address = Address("tele", str(ANN))
    stage.adapter.show_progress(address, PartialText("m-1", "This is the beginning of an answer that never comes."))
    await stage.people.sees(ANN, "beginning")
    stage.api.fault("deleteMessage", status=502, times=2)
    await stage.adapter.end_turn(address, "m-1", completed=False)
    await eventually(lambda: not shown(stage))


async def test_an_answer_whose_beginning_somebody_removed_comes_all_the_same(stage: Stage):
    stage.adapter.show_progress(
        Address("tele", str(ANN)), PartialText("m-1", "This is the beginning of an answer that is long enough.")
    )
    seen = await stage.people.sees(ANN, "beginning")
    del stage.api.world.chats[ANN].messages[seen["message_id"]]
    await delivered(stage, Text("All of it."), reply="m-1")
    assert [one["text"] for one in shown(stage)] == ["All of it."]


# The pace.


async def test_limits_of_the_service_are_never_exceeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A tenth of the real times: 8 chats with 6 messages each, two of them groups."""
    limits = Limits(chat=(1, 0.1), group=(5, 1.0), overall=(30, 0.5))
    rates = Rates(chat=(1, 0.102), group=(5, 1.02), overall=(30, 0.51))
    async with staged(tmp_path, monkeypatch, limits=limits, rates=rates) as stage:
        await stage.up()
        chats = [stage.people.person(2000 + number, f"P{number}") for number in range(6)] + [GROUP, FORUM]
        began = time.monotonic()
        outcomes = await asyncio.gather(
            *(
                stage.deliver(Text(f"{chat} {number}"), f"row-{chat}-{number}", chat=chat)
                for number in range(6)
                for chat in chats
            )
        )
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        assert stage.api.limits.refused == 0
        for chat in chats:
            assert [one["text"] for one in shown(stage, chat)] == [f"{chat} {number}" for number in range(6)]
        # A group takes longest: its sixth message waits for a second after its first. The rest is for a busy machine.
        assert 1.0 < time.monotonic() - began < 4.0


async def test_a_turn_that_would_take_too_long_says_how_long():
    pace = Pace(Rates(chat=(1, 30.0)))
    async with pace.turn(1, 1.0):
        pass
    with pytest.raises(Busy) as caught:
        async with pace.turn(1, 1.0):
            pass
    assert 28 < caught.value.seconds <= 30
    assert not pace.has_room(1)
    assert pace.has_room(2)
    pace.hold(2, 10.0)
    assert not pace.has_room(2)


async def test_a_delivery_that_has_no_time_left_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with staged(tmp_path, monkeypatch, rates=Rates(chat=(2, 60.0))) as stage:
        await stage.up()
        outcome = await refused(stage, Text("word " * 3000), "row-1")
        assert "2 of 4 parts" in outcome.reason
        assert outcome.retry_after is not None
        assert 50 < outcome.retry_after <= 60
        assert len(shown(stage)) == 2


async def test_many_chats_leave_no_trace():
    pace = Pace(Rates(chat=(1000, 0.0), group=(1000, 0.0), overall=(10**6, 0.0)))
    for chat in range(6000):
        async with pace.turn(chat + 1, 1.0):
            pass
    assert len(pace._chats) <= 3001


async def test_what_was_given_up_long_ago_is_forgotten(tmp_path: Path):
    import os

    sent = SentParts(tmp_path / "parts")
    await sent.open()
    await sent.note("old", Progress(2, "5"))
    await sent.note("new", Progress(1, "6"))
    assert await sent.of("old") == Progress(2, "5")
    for file in (tmp_path / "parts").iterdir():
        if b'"5"' in file.read_bytes():
            os.utime(file, (1, 1))
    await sent.open()
    assert await sent.of("old") == Progress()
    assert await sent.of("new") == Progress(1, "6")
    next((tmp_path / "parts").iterdir()).write_text("damaged")
    assert await sent.of("new") == Progress()


async def test_nothing_is_said_before_the_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with staged(tmp_path, monkeypatch) as stage:
        assert not (await refused(stage, Text("too early"))).permanent
        assert stage.people.see(BEA) == []
        assert isinstance(stage.received, Received)
