"""Whatever a channel hands in ends in a decision with a reason, or in a clear error: never in anything else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES, Address
from nanoclawd.errors import InvalidName, TooLarge
from nanoclawd.routing import ids
from nanoclawd.routing.cleaning import cleaned, unusable
from nanoclawd.routing.decision import Action
from nanoclawd.routing.event import InboundEvent, Quote, Sender
from nanoclawd.routing.pipeline import decide
from nanoclawd.store.names import MAX_SHOWN_CHARACTERS
from unit.routing.house import open_house
from unit.routing.world import CHANNEL, World

NASTY = [
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "\x1b[31mred\x1b[0m", "\u202egnp.exe", "../../etc/passwd", "/",
    "a/b", "%s%n", "'; DROP TABLE users; --", "x" * 5000, "\u200b" * 50, "null", "loopback:", ":", "loopback:\0",
    "\r\n\r\n", "\u2028", "\U0010ffff", "e\u0301" * 100, "\u0000" * 2000, "1", "/clear", "\uff0f\uff43lear",
    "terminal:root",
]  # fmt: skip
TEXTS = st.sampled_from(NASTY) | st.text(max_size=80)
MAYBE = st.none() | TEXTS
EVENTS = st.builds(
    InboundEvent,
    address=st.builds(Address, TEXTS | st.just(CHANNEL), TEXTS | st.just("room-x"), MAYBE),
    message_id=TEXTS,
    text=TEXTS,
    sender=st.builds(Sender, MAYBE | st.just("loopback:member"), TEXTS),
    is_mention=st.booleans(),
    is_group=st.booleans(),
    chat_name=MAYBE,
    timestamp=MAYBE,
    quote=st.none() | st.builds(Quote, TEXTS, TEXTS, MAYBE),
)
HARD = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def wired(world: World) -> None:
    """An agent in the room that some of the events come from, with a pattern that has to be searched."""
    chat = world.chat()
    world.connection.execute("UPDATE messaging_groups SET platform_id = 'room-x' WHERE id = ?", (chat.id,))
    world.wired(chat, world.group("main"), engage_mode="pattern", engage_pattern="[a-z]|^$")


@HARD
@given(events=st.lists(EVENTS, min_size=5, max_size=20), threads=st.booleans(), buttons=st.booleans())
def test_any_event_ends_in_a_decision(world: World, events: list[InboundEvent], threads: bool, buttons: bool):
    if not world.decide(_plain()).wirings:
        wired(world)
    for event in events:
        clean, notes = cleaned(event)
        if unusable(clean.address) is not None:
            continue
        decided = decide(clean, world.facts(clean, threads=threads, buttons=buttons), world.patterns)
        assert isinstance(decided.action, Action)
        assert decided.deciding.reason
        for one in decided.wirings:
            assert one.deciding.reason
            assert one.deciding.rule
        assert all(note.reason for note in notes)
        assert clean.sender.user_id is None or clean.sender.user_id.isprintable()


def _plain() -> InboundEvent:
    return InboundEvent(Address(CHANNEL, "room-x"), "1", "x", Sender(None))


@settings(HARD, max_examples=40)
@given(events=st.lists(EVENTS, min_size=3, max_size=6))
async def test_any_event_is_carried_out(tmp_path: Path, events: list[InboundEvent]):
    """Through the whole router, with rows at the end: told twice, nothing is twice."""
    async with open_house(tmp_path) as house:
        if await house.count("agent_groups") == 0:
            await house.wire(await house.chat("room-x"), await house.group("main"))
        for event in events:
            routed = await house.router.route(event)
            again = await house.router.route(event)
            assert routed.decision.deciding.reason
            assert again.decision.action is routed.decision.action
            if event.message_id:
                assert not any(one.stored for one in again.stored)
            for one in routed.stored:
                assert one.message_id.isprintable()


@pytest.mark.parametrize("field", ["channel_type", "platform_id", "thread_id"])
@pytest.mark.parametrize("value", ["", "\0", "a\nb", "\ud800", "x" * 1025, "ä" * 600, "\u2028", "\x1b[2J"])
async def test_an_address_that_cant_be(tmp_path: Path, field: str, value: str, caplog: pytest.LogCaptureFixture):
    """Is ignored, with the reason in the decision and in the journal; nothing is written, nothing is raised."""
    if field == "thread_id" and not value:
        return
    parts = {"channel_type": CHANNEL, "platform_id": "room", "thread_id": "t", field: value}
    event = InboundEvent(Address(**parts), "1", "hello", Sender("loopback:x"), is_mention=True)
    async with open_house(tmp_path) as house:
        routed = await house.router.route(event)
        assert routed.decision.action is Action.IGNORE
        assert routed.decision.deciding.name == "address"
        assert "a message was ignored" in caplog.text
        assert await house.count("messaging_groups") == 0
        assert (await house.router.explain(event)).action is Action.IGNORE


def test_what_is_left_of_names():
    """One line, bounded, no escape sequences; direction marks are the business of whoever prints them."""
    event = InboundEvent(
        Address(CHANNEL, "room"),
        "1",
        "x",
        Sender(None, "a\x1b[31m\nb\0" + "c" * 5000),
        chat_name="\r\n",
        quote=Quote("q" * 100_000, "\x07", "\0"),
    )
    clean, _ = cleaned(event)
    assert clean.sender.name.startswith("a [31m b ccc")
    assert len(clean.sender.name) <= MAX_SHOWN_CHARACTERS
    assert clean.chat_name is None
    assert clean.quote == Quote("q" * 4000, "", None)


def test_no_id_is_no_two_messages():
    """A message without an id can't be recognised; it is better stored twice than taken for another."""
    event = InboundEvent(Address(CHANNEL, "room"), "", "x", Sender(None))
    first, notes = cleaned(event)
    second, _ = cleaned(event)
    assert first.message_id != second.message_id
    assert "no id" in notes[0].reason


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_different_ids_are_different_rows(one: str, other: str):
    made = [ids.row_id(ids.usable(text), "main") for text in (one, other)]
    assert (made[0] == made[1]) == (one == other)


@pytest.mark.parametrize("size", [MAX_MESSAGE_BYTES + 1, 4 * MAX_MESSAGE_BYTES])
def test_too_much_text(size: int):
    with pytest.raises(TooLarge):
        cleaned(InboundEvent(Address(CHANNEL, "room"), "1", "x" * size, Sender(None)))


@pytest.mark.parametrize(
    "event",
    [
        InboundEvent(Address(CHANNEL, 7), "1", "x", Sender(None)),  # type: ignore[arg-type]
        InboundEvent(Address(CHANNEL, "room"), 7, "x", Sender(None)),  # type: ignore[arg-type]
        InboundEvent(Address(CHANNEL, "room"), "1", "x", Sender(7)),  # type: ignore[arg-type]
        InboundEvent(Address(CHANNEL, "room"), "1", "x", Sender(None, None)),  # type: ignore[arg-type]
        InboundEvent(Address(CHANNEL, "room", b"t"), "1", "x", Sender(None)),  # type: ignore[arg-type]
        InboundEvent(Address(CHANNEL, "room"), "1", "x", Sender(None), quote=Quote(None)),  # type: ignore[arg-type]
    ],
)
def test_wrong_types_are_named(event: InboundEvent):
    with pytest.raises(InvalidName, match="is a text"):
        cleaned(event)
