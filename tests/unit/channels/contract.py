"""What every channel adapter has to keep: a suite to run an adapter through.

Derive from :class:`AdapterContract` in a test file and give it a fixture ``side``: the adapter, not set up yet, with
the platform's side of it. ``docs/channels.md`` tells how a package does that.
"""

import asyncio
import io
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from nanoclaw_runner.contract.cards import Card, Option
from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, Address
from nanoclawd.channels.adapter import Capabilities, ChannelAdapter, Conversation, Health
from nanoclawd.errors import NanoclawError, Unavailable
from nanoclawd.routing.event import Click, InboundEvent
from nanoclawd.sessions.ports import (
    Attachment,
    Body,
    Delivered,
    Edit,
    Outgoing,
    PartialText,
    Place,
    Reaction,
    ShownCard,
    StatusText,
    Text,
    Undelivered,
)

PATIENCE_SECONDS = 20.0
NOW = "2026-01-02T03:04:05.000Z"
CARD = Card("Go on?", "The disk is nearly full.", (Option("Yes", "yes", "Went on"), Option("No", "no", "Stopped")))
ODD_TEXTS = ("", " ", "\0", "\ud800", "a\u202eb", "\x1b[2J", "e\u0301\u200d\ufeff", "\N{GRINNING FACE}" * 3, "```\nx")
ODD_NAMES = ("", "/", "..", "a/b", "\0", "\n", "\ud800", "\u202ebob", "x" * 5000, "-1", "é")


@dataclass
class Received:
    """The host as the adapter sees it: keeps what comes in; refuses it while ``refusals`` lasts."""

    events: list[InboundEvent] = field(default_factory=list)
    clicks: list[Click] = field(default_factory=list)
    names: list[tuple[Address, str | None, bool | None]] = field(default_factory=list)
    due: list[Address] = field(default_factory=list)
    lost_for: list[str] = field(default_factory=list)
    refusals: list[NanoclawError] = field(default_factory=list)
    offered: int = 0
    moves: list[tuple[Address, str]] = field(default_factory=list)
    aside: dict[str, Exception] = field(default_factory=dict)
    """What the adapter could not make sense of, by the platform's id of it."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def message(self, event: InboundEvent) -> None:
        self.offered += 1
        if self.refusals:
            raise self.refusals.pop(0)
        self.events.append(event)
        self._news.set()

    async def click(self, click: Click) -> str:
        self.clicks.append(click)
        self._news.set()
        return "noted"

    async def chat_named(self, chat: Address, name: str | None, *, is_group: bool | None = None) -> None:
        self.names.append((chat, name, is_group))
        self._news.set()

    async def chat_moved(self, chat: Address, platform_id: str) -> None:
        self.moves.append((chat, platform_id))
        self._news.set()

    async def handle(self, event_id: str, raw: str, work: Callable[[], Awaitable[None]]) -> bool:
        assert event_id
        assert isinstance(raw, str)
        try:
            await work()
        except Unavailable:
            raise
        except Exception as error:
            self.aside[event_id] = error
            self._news.set()
        return event_id not in self.aside

    def reachable_again(self, address: Address) -> None:
        self.due.append(address)
        self._news.set()

    def lost(self, reason: str) -> None:
        self.lost_for.append(reason)
        self._news.set()

    async def until(self, condition: object) -> None:
        """Wait until something that came in makes a condition (a callable) true."""
        assert callable(condition)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._news.clear()
                await self._news.wait()


class Side(ABC):
    """The adapter under test and the platform's side of it."""

    adapter: ChannelAdapter
    chat: str
    """A chat that can be written to once :meth:`appear` was awaited."""

    @abstractmethod
    async def appear(self) -> None:
        """Have somebody be in the chat. The adapter is set up."""

    @abstractmethod
    async def shown(self) -> Sequence[str]:
        """Return the messages that the platform has in the chat, each as people see it."""


class PlatformSide(Side):
    """The same with people who write: what every adapter has but the terminal, for which the control layer speaks."""

    @abstractmethod
    async def say(self, text: str, message_id: str) -> None:
        """Have somebody write in the chat; return after the adapter has acknowledged it to the platform."""

    def id_of(self, message_id: str) -> str:
        """Return the id under which the platform has what was said as ``message_id``: many choose their own."""
        return message_id

    async def send(self, name: str, content: bytes, message_id: str) -> bool:
        """Have somebody send a file, as :meth:`say`; False where people can't send any."""
        del name, content, message_id
        return False


def outgoing(address: Address, body: Body, message_id: str = "row-1", *, is_notice: bool = False) -> Outgoing:
    return Outgoing(message_id, body, address, NOW, None, is_notice)


def attachment(name: str = "notes.txt", content: bytes = b"some notes\n") -> Attachment:
    return Attachment(name, len(content), io.BytesIO(content))


class AdapterContract:
    """The suite."""

    @pytest.fixture
    def received(self) -> Received:
        return Received()

    def address(self, side: Side, thread_id: str | None = None) -> Address:
        return Address(side.adapter.name, side.chat, thread_id)

    async def test_it_says_who_and_what_it_is(self, side: Side):
        adapter = side.adapter
        assert adapter.name
        assert adapter.name == adapter.name.strip().lower()
        assert adapter.platform
        assert ":" not in adapter.platform
        can = adapter.capabilities
        assert isinstance(can, Capabilities)
        assert can.max_text >= 16
        assert can.max_attachment >= 0
        assert can.typing_seconds is None or can.typing_seconds > 0

    async def test_it_can_be_set_up_again_and_torn_down_at_any_time(self, side: Side, received: Received):
        adapter = side.adapter
        await adapter.teardown()  # as after a setup that failed at once
        for _ in range(3):
            await adapter.setup(received)
            assert isinstance(adapter.health(), Health)
            await adapter.teardown()
        await adapter.teardown()
        assert not received.lost_for

    async def test_its_health_can_always_be_asked(self, side: Side, received: Received):
        assert isinstance(side.adapter.health(), Health)
        await side.adapter.setup(received)
        assert isinstance(side.adapter.health(), Health)
        await side.adapter.teardown()
        assert isinstance(side.adapter.health(), Health)

    async def test_a_text_is_delivered_once_and_whole(self, side: Side, received: Received):
        await side.adapter.setup(received)
        await side.appear()
        outcome = await side.adapter.deliver(outgoing(self.address(side), Text("hello **you**")))
        assert isinstance(outcome, Delivered)
        assert [text for text in await side.shown() if "you" in text] != []
        assert len(await side.shown()) == 1

    async def test_a_text_over_the_limit_comes_in_pieces(self, side: Side, received: Received):
        await side.adapter.setup(received)
        await side.appear()
        limit = side.adapter.capabilities.max_text
        if limit >= MAX_CONTENT_BYTES:
            return  # no text is as long
        words = [f"w{number}" for number in range(limit // 3)]
        assert isinstance(await side.adapter.deliver(outgoing(self.address(side), Text(" ".join(words)))), Delivered)
        pieces = await side.shown()
        assert len(pieces) >= 2
        assert all(len(piece) <= limit for piece in pieces)
        assert " ".join(pieces).split() == words

    async def test_a_claimed_idempotency_holds(self, side: Side, received: Received):
        await side.adapter.setup(received)
        await side.appear()
        again = outgoing(self.address(side), Text("only once"), "row-9")
        first, second = await side.adapter.deliver(again), await side.adapter.deliver(again)
        assert isinstance(first, Delivered)
        assert isinstance(second, Delivered)
        if side.adapter.capabilities.idempotent:
            assert first == second
            assert len(await side.shown()) == 1

    @pytest.mark.parametrize("kind", ["card", "display", "edit", "reaction", "file", "large file"])
    async def test_it_does_what_it_claims_and_refuses_the_rest_for_good(
        self, side: Side, received: Received, kind: str
    ):
        await side.adapter.setup(received)
        await side.appear()
        can, adapter = side.adapter.capabilities, side.adapter
        first = await adapter.deliver(outgoing(self.address(side), Text("the first"), "row-0"))
        assert isinstance(first, Delivered)
        target = first.platform_message_id or ""
        content = b"x" * (can.max_attachment + 1 if kind == "large file" else 10)
        bodies: dict[str, tuple[Body, bool]] = {
            "card": (ShownCard(CARD, "k3f9m2x7q1zp"), can.buttons),
            "display": (ShownCard(Card("Report", "All is well.", (), fallback="All is well."), ""), can.buttons),
            "edit": (Edit(target, "the second"), can.edits),
            "reaction": (Reaction(target, "\N{THUMBS UP SIGN}"), can.reactions),
            "file": (Text("see there", (attachment(),)), can.max_attachment > 0),
            "large file": (Text("see there", (attachment(content=content),)), False),
        }
        body, claimed = bodies[kind]
        outcome = await adapter.deliver(outgoing(self.address(side), body, "row-1"))
        if claimed:
            assert isinstance(outcome, Delivered)
            assert target, "what can be changed or reacted to needs an id"
        else:
            assert isinstance(outcome, Undelivered)
            assert outcome.permanent
            assert outcome.reason

    @pytest.mark.parametrize("text", ODD_TEXTS)
    async def test_odd_texts_have_an_outcome(self, side: Side, received: Received, text: str):
        await side.adapter.setup(received)
        await side.appear()
        outcome = await side.adapter.deliver(outgoing(self.address(side), Text(text), is_notice=True))
        assert isinstance(outcome, Delivered | Undelivered)
        # And the next one is none the worse for it.
        assert isinstance(await side.adapter.deliver(outgoing(self.address(side), Text("next"), "row-2")), Delivered)

    async def test_many_deliveries_at_once_all_arrive(self, side: Side, received: Received):
        await side.adapter.setup(received)
        await side.appear()
        texts = [f"text number {number}" for number in range(20)]
        outcomes = await asyncio.gather(
            *(side.adapter.deliver(outgoing(self.address(side), Text(text), f"row-{text}")) for text in texts)
        )
        assert all(isinstance(outcome, Delivered) for outcome in outcomes)
        assert sorted(await side.shown()) == sorted(texts)

    async def test_who_waits_for_a_chat_is_told_when_it_is_there(self, side: Side, received: Received):
        await side.adapter.setup(received)
        address = self.address(side)
        if side.adapter.reachable(address):
            return  # a platform that keeps messages for people who are away
        await side.appear()
        await received.until(lambda: address in received.due)
        assert side.adapter.reachable(address)

    async def test_asking_for_odd_places_and_people_harms_nothing(self, side: Side, received: Received):
        await side.adapter.setup(received)
        await side.appear()
        for name in ODD_NAMES:
            address = Address(side.adapter.name, name, name or None)
            assert side.adapter.reachable(address) in {True, False}
            for progress in (PartialText("row-1", "so f"), StatusText("thinks"), StatusText(""), Place(3, "full")):
                side.adapter.show_progress(address, progress)
            await side.adapter.end_turn(address, "row-1", completed=False)
            direct = await side.adapter.open_dm(name)
            assert direct is None or isinstance(direct, str)
            shown = await side.adapter.chat_name(name)
            assert shown is None or isinstance(shown, str)
        assert isinstance(await side.adapter.deliver(outgoing(self.address(side), Text("still well"))), Delivered)

    async def test_progress_is_never_in_the_way(self, side: Side, received: Received):
        """Not even before a setup and after a teardown."""
        address = self.address(side)
        side.adapter.show_progress(address, StatusText("early"))
        await side.adapter.setup(received)
        for number in range(1000):
            side.adapter.show_progress(address, PartialText("row-1", "word " * number))
        await side.adapter.teardown()
        side.adapter.show_progress(address, StatusText("late"))

    async def test_signs_and_turns_end_in_time(self, side: Side, received: Received):
        await side.adapter.setup(received)
        await side.appear()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await side.adapter.set_typing(self.address(side))
            await side.adapter.end_turn(self.address(side), "row-1", completed=True)
            await side.adapter.subscribe(self.address(side, "thread-1"))
            await side.adapter.subscribe(self.address(side, "thread-1"))
        for one in await side.adapter.conversations():
            assert isinstance(one, Conversation)
            assert one.platform_id

    async def test_a_message_comes_in_as_its_platform_says(self, side: Side, received: Received):
        if not isinstance(side, PlatformSide):
            return
        await side.adapter.setup(received)
        await side.appear()
        await side.say("good morning", "m-1")
        (event,) = received.events
        assert event.address.channel_type == side.adapter.name
        assert event.address.platform_id == side.chat
        assert (event.text, event.message_id) == ("good morning", side.id_of("m-1"))
        assert event.sender.user_id is not None
        assert event.sender.user_id.startswith(f"{side.adapter.platform}:")

    async def test_a_file_is_fetched_by_its_reference_and_again(self, side: Side, received: Received):
        """A message may be routed long after it came, and twice."""
        await side.adapter.setup(received)
        await side.appear()
        content = bytes(range(256)) * 400
        if not isinstance(side, PlatformSide) or not await side.send("data.bin", content, "m-1"):
            return
        ((known,),) = (event.files for event in received.events)
        assert known.name == "data.bin"
        for _ in range(2):
            assert b"".join([piece async for piece in side.adapter.fetch(known.reference)]) == content

    @pytest.mark.parametrize("reference", ["nothing", "", "../..", "\0", "\N{GRINNING FACE}" * 300])
    async def test_a_file_that_is_not_there_is_told(self, side: Side, received: Received, reference: str):
        await side.adapter.setup(received)
        with pytest.raises(NanoclawError):
            [piece async for piece in side.adapter.fetch(reference)]

    async def test_what_could_not_be_stored_is_handed_in_again(self, side: Side, received: Received):
        if not isinstance(side, PlatformSide):
            return
        await side.adapter.setup(received)
        await side.appear()
        received.refusals = [Unavailable("the disk is full"), Unavailable("the disk is full")]
        await side.say("keep this", "m-2")
        assert received.offered == 3
        assert [event.message_id for event in received.events] == [side.id_of("m-2")]

    async def test_nothing_comes_in_after_the_teardown(self, side: Side, received: Received):
        if not isinstance(side, PlatformSide):
            return
        await side.adapter.setup(received)
        await side.appear()
        await side.adapter.teardown()
        telling = asyncio.create_task(side.say("anybody?", "m-3"))
        done, _ = await asyncio.wait({telling}, timeout=0.5)
        assert not done, "acknowledged by nobody"
        assert received.events == []
        # The platform keeps it, and tells it to the next one who asks.
        await side.adapter.setup(received)
        await telling
        assert [event.message_id for event in received.events] == [side.id_of("m-3")]
