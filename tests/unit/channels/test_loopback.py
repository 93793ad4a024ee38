"""The loopback platform does on demand what real platforms do when it suits nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from contract import CARD, PATIENCE_SECONDS, Received, attachment, outgoing

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelPlaces, Conversation, HealthState
from nanoclawd.channels.keeper import Pace
from nanoclawd.channels.loopback import create
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Channel, Config
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.errors import TooLarge, Unavailable
from nanoclawd.sessions.ports import Body, Delivered, Edit, Reaction, ShownCard, StatusText, Text, Undelivered
from system.loopback import Account, PlatformError

CHAT = Address("loop", "town-hall")
RICH = {
    "threads": True,
    "buttons": True,
    "edits": True,
    "reactions": True,
    "idempotent": True,
    "typing_seconds": 5.0,
    "max_text": 40,
    "max_attachment": 100_000,
}


class Stage:
    """A manager with one loopback channel, and its account."""

    def __init__(self, directory: Path, options: dict[str, object]) -> None:
        self.directory = directory
        self.received = Received()
        self.account = Account("loop", sockets=directory, idempotent=bool(options.get("idempotent")))
        self.config = Config(allow_scripted=True, channels={"loop": Channel("loopback", options, name="loop")})
        self.start()

    def start(self) -> None:
        """Begin, as a daemon does."""
        places = ChannelPlaces(self.directory / "state", self.directory)
        pace = Pace(setup=0.3, first_retry=0.02, longest_retry=0.05)
        self.manager = ChannelManager(self.config, places, find=lambda _kind: create, pace=pace)
        self.service = DeliveryService(self.manager, timeout=0.5)
        self.manager.start(self.received)

    async def do[Result](self, act: Callable[..., Result], *args: object, **options: object) -> Result:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.to_thread(act, *args, **options)

    async def connected(self, times: int = 1) -> None:
        await self.do(self.account.connected, times=times)

    async def deliver(self, body: Body, message_id: str = "row-1") -> Delivered | Undelivered:
        return await self.service.deliver(None, outgoing(CHAT, body, message_id))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, dict(RICH))
    yield made
    await made.manager.stop()
    await made.do(made.account.close)


async def test_deliveries_fail_as_told_and_then_no_more(stage: Stage):
    await stage.connected()
    await stage.do(stage.account.fail, times=2, reason="503")
    await stage.do(stage.account.fail, reason="blocked", permanent=True)
    await stage.do(stage.account.fail, reason="slow down", retry_after=3.5)
    await stage.do(stage.account.fail, hang=True)
    outcomes = [await stage.deliver(Text("hello")) for _ in range(6)]
    assert outcomes[:4] == [
        Undelivered("503"),
        Undelivered("503"),
        Undelivered("blocked", permanent=True),
        Undelivered("slow down", retry_after=3.5),
    ]
    assert "0.5 s" in str(outcomes[4])
    assert outcomes[5] == Delivered(stage.account.deliveries[0].message)
    assert stage.account.texts("town-hall") == ["hello"]


async def test_an_outcome_that_got_lost_is_delivered_again_and_known_by_its_id(stage: Stage):
    await stage.connected()
    await stage.do(stage.account.fail, after=True, reason="connection reset")
    assert await stage.deliver(Text("hello")) == Undelivered("connection reset")
    again = await stage.deliver(Text("hello"))
    assert again == Delivered(stage.account.deliveries[0].message)
    assert (len(stage.account.deliveries), len(stage.account.repeats)) == (1, 1)


async def test_every_body_arrives(stage: Stage):
    await stage.connected()
    first = await stage.deliver(Text("one", (attachment("notes.txt", b"some notes\n"),)), "row-1")
    assert isinstance(first, Delivered)
    assert first.platform_message_id is not None
    target = first.platform_message_id
    await stage.deliver(ShownCard(CARD, "k3f9m2x7q1zp"), "row-2")
    await stage.deliver(Edit(target, "two"), "row-3")
    await stage.deliver(Reaction(target, "\N{THUMBS UP SIGN}"), "row-4")
    await stage.deliver(Text("a longer text that needs more than one of this platform's messages"), "row-5")
    text, card, edit, reaction, *pieces = stage.account.deliveries
    assert (text.files[0]["name"], text.files[0]["data"]) == ("notes.txt", "c29tZSBub3Rlcwo=")
    assert (card.title, card.text, card.labels) == (CARD.title, CARD.text, ("Yes", "No"))
    assert (edit.kind, edit.target, edit.text) == ("edit", target, "two")
    assert (reaction.kind, reaction.target, reaction.text) == ("reaction", target, "\N{THUMBS UP SIGN}")
    assert [piece.id for piece in pieces] == ["row-5", "row-5#1"]
    assert stage.account.texts("town-hall")[0] == "two"


async def test_clicks_come_in_by_value_and_by_number(stage: Stage):
    await stage.connected()
    await stage.deliver(ShownCard(CARD, "k3f9m2x7q1zp"))
    card = await stage.do(stage.account.gets_card, "town-hall")
    assert await stage.do(stage.account.click, card, "No", sender="ada") == "noted"
    assert await stage.do(stage.account.click, card, "Yes", sender="bob", by_number=True) == "noted"
    first, second = stage.received.clicks
    assert (first.card_id, first.value, first.user_id, first.address) == ("k3f9m2x7q1zp", "no", "loopback:ada", CHAT)
    assert (second.value, second.user_id) == ("#1", "loopback:bob")


async def test_a_message_says_all_that_the_platform_knows(stage: Stage):
    await stage.connected()
    quote = {"text": "before", "sender": "Bob", "message_id": "m-0"}
    await stage.do(
        stage.account.say, "town-hall", "hi", sender="ada", name="Ada", thread="t", mention=True, group=True,
        chat_name="Town hall", quote=quote, message_id="m-1",
    )  # fmt: skip
    await stage.do(stage.account.say, "town-hall", "boo", sender=None, message_id="m-2")
    first, second = stage.received.events
    assert first.address == Address("loop", "town-hall", "t")
    assert (first.message_id, first.text, first.sender.user_id, first.sender.name) == (
        "m-1",
        "hi",
        "loopback:ada",
        "Ada",
    )
    assert (first.is_mention, first.is_group, first.chat_name) == (True, True, "Town hall")
    assert first.quote is not None
    assert (first.quote.text, first.quote.sender, first.quote.message_id) == ("before", "Bob", "m-0")
    assert second.sender.user_id is None
    assert not second.is_mention


async def test_a_refusal_for_good_is_told_and_not_repeated(stage: Stage):
    await stage.connected()
    stage.received.refusals = [TooLarge("a message may have 256 KiB of text")]
    with pytest.raises(PlatformError) as refused:
        await stage.do(stage.account.say, "town-hall", "long")
    assert refused.value.code == "TooLarge"
    assert stage.received.offered == 1


async def test_what_was_not_acknowledged_is_told_to_the_next_daemon(stage: Stage):
    """At least once, as a platform: the events of an outage come after it, in order, with their ids."""
    await stage.connected()
    await stage.manager.stop()
    sent = [await stage.do(stage.account.say, "town-hall", f"text {number}", wait=False) for number in range(20)]
    assert stage.account.unacknowledged() == sent
    stage.start()
    await stage.do(stage.account.all_acknowledged)
    assert [event.message_id for event in stage.received.events] == sent
    assert stage.account.connections == 2


async def test_a_platform_that_goes_away_comes_back_after_as_many_failures_as_told(stage: Stage):
    await stage.connected()
    await stage.do(stage.account.fail, "setup", times=2, reason="maintenance")
    await stage.do(stage.account.fail, "teardown", reason="already gone")
    await stage.do(stage.account.lose, "reset by peer")
    await stage.connected(times=2)
    assert await stage.deliver(Text("back")) == Delivered("loop-1")


async def test_signs_are_seen_as_they_are_given(stage: Stage):
    await stage.connected()
    adapter = stage.manager.adapter("loop")
    assert adapter is not None
    await adapter.set_typing(CHAT)
    stage.service.show_progress(CHAT, StatusText("reads"))
    await stage.service.end_turn(CHAT, "m-1", completed=True)
    await stage.manager.subscribe(Address("loop", "town-hall", "t"))
    assert (await stage.do(stage.account.sees, "typing", "town-hall")).thread is None
    assert (await stage.do(stage.account.sees, "progress", "town-hall")).values["text"] == "reads"
    await stage.do(stage.account.sees, "turn", "town-hall", message="m-1", completed=True)
    assert (await stage.do(stage.account.sees, "subscribed", "town-hall")).thread == "t"
    await stage.do(stage.account.fail, "typing")
    with pytest.raises(Unavailable):
        await adapter.set_typing(CHAT)


async def test_names_chats_and_people_are_what_the_platform_says(stage: Stage):
    """W-55: a name that the platform tells reaches the host."""
    await stage.connected()
    await stage.do(stage.account.name_chat, "town-hall", "Town hall", group=True)
    assert stage.received.names == [(CHAT, "Town hall", True)]
    await stage.do(stage.account.member_of, {"chat": "town-hall", "name": "Town hall", "group": True}, {"chat": "ada"})
    assert await stage.manager.conversations("loop") == (
        Conversation("town-hall", "Town hall", is_group=True),
        Conversation("ada", None, is_group=False),
    )
    assert await stage.manager.chat_name("loop", "town-hall") == "Town hall"
    assert await stage.manager.open_dm("loop", "ada") == "ada"
    await stage.do(stage.account.direct_chat, "bob", "dm-17")
    await stage.do(stage.account.direct_chat, "eve", None)
    assert await stage.manager.open_dm("loop", "bob") == "dm-17"
    assert await stage.manager.open_dm("loop", "eve") is None
    await stage.do(stage.account.fail, "open_dm", reason="privacy settings")
    with pytest.raises(Unavailable, match="privacy settings"):
        await stage.manager.open_dm("loop", "ada")
    await stage.do(stage.account.degrade, "slow today")
    state = stage.manager.states()[1]
    assert (state.health.state, state.health.detail) == (HealthState.DEGRADED, "slow today")


async def test_nobody_there_is_no_failure(stage: Stage):
    await stage.connected()
    await stage.do(stage.account.close)
    outcome = await stage.deliver(Text("anybody?"))
    assert isinstance(outcome, Undelivered)
    assert not outcome.permanent
    assert not stage.service.reachable(CHAT)
    stage.account = Account("loop", sockets=stage.directory)
    await stage.received.until(lambda: CHAT in stage.received.due)
    assert isinstance(await stage.deliver(Text("anybody?")), Delivered)


async def test_messages_of_a_chat_keep_their_order_and_chats_run_side_by_side(stage: Stage):
    await stage.connected()
    sent = [await stage.do(stage.account.say, f"chat-{number % 5}", f"{number}", wait=False) for number in range(200)]
    await stage.do(stage.account.all_acknowledged)
    assert sorted(event.message_id for event in stage.received.events) == sorted(sent)
    for chat in range(5):
        numbers = [int(event.text) for event in stage.received.events if event.address.platform_id == f"chat-{chat}"]
        assert numbers == sorted(numbers)
