"""The delivery service: every delivery has an outcome, in time, whatever the adapter does."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from contract import CARD, Received, outgoing

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import BaseAdapter, Capabilities, ChannelPlaces, Host
from nanoclawd.channels.keeper import Pace
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Channel, Config
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.errors import Unavailable
from nanoclawd.sessions.ports import (
    Body,
    Delivered,
    Edit,
    Outgoing,
    Progress,
    SessionRef,
    ShownCard,
    StatusText,
    Text,
    Undelivered,
)

SESSION = SessionRef("abcdefghijkl", "main", Address("one", "chat"))
CHAT = Address("one", "chat")
HELLO = Text("hello")
SIGN_SECONDS = 0.5


class Scripted(BaseAdapter):
    """Delivers as it is told: an outcome, an exception, or anything that is neither."""

    platform = "example"
    name = "one"
    capabilities = Capabilities(typing_seconds=SIGN_SECONDS)

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.delivered: list[Outgoing] = []
        self.setup_error: Exception | None = None
        self.typed: list[tuple[float, Address]] = []
        self.signed = asyncio.Event()
        self.typing_error: Exception | None = None
        self.turn_error: Exception = ValueError("no")
        self.host: Host | None = None

    async def setup(self, inbound: Host) -> None:
        if self.setup_error is not None:
            raise self.setup_error
        self.host = inbound

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        self.delivered.append(outgoing)
        step = self.script.pop(0) if self.script else Delivered("p-1")
        if step == "hang":
            await asyncio.Event().wait()
        if isinstance(step, BaseException):
            raise step
        return step  # type: ignore[no-any-return]

    def show_progress(self, address: Address, progress: Progress) -> None:
        raise ValueError("no")

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        raise self.turn_error

    async def set_typing(self, address: Address) -> None:
        self.typed.append((time.monotonic(), address))
        self.signed.set()
        if self.typing_error is not None:
            raise self.typing_error

    async def gives(self, signs: int) -> None:
        """Return when so many signs have been given."""
        async with asyncio.timeout(10):
            while len(self.typed) < signs:
                self.signed.clear()
                await self.signed.wait()


class Stage:
    def __init__(self, directory: Path) -> None:
        self.adapter = Scripted()
        self.received = Received()
        config = Config(channels={"one": Channel("example", name="one")})
        places = ChannelPlaces(directory, directory)
        self.manager = ChannelManager(
            config,
            places,
            find=lambda _kind: lambda *_args: self.adapter,
            pace=Pace(first_retry=0.02, longest_retry=0.02),
        )
        self.service = DeliveryService(self.manager, timeout=0.2)

    async def up(self) -> None:
        self.manager.start(self.received)
        waits_for_it = Address("one", "anything")
        assert not self.manager.reachable(waits_for_it)
        await self.received.until(lambda: waits_for_it in self.received.due)

    async def deliver(self, body: Body = HELLO, session: SessionRef | None = SESSION) -> Delivered | Undelivered:
        return await self.service.deliver(session, outgoing(CHAT, body))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.service.close()
    await made.manager.stop()


async def test_an_unknown_channel_or_adapter_never_counts_as_delivered(stage: Stage):
    """W-21: it fails, for good, with a reason that names the channel."""
    await stage.up()
    nowhere = Address("telegraph", "chat")
    assert stage.service.reachable(nowhere)
    outcome = await stage.service.deliver(SESSION, outgoing(nowhere, Text("hello")))
    assert outcome == Undelivered("there is no channel 'telegraph'", permanent=True)


async def test_nothing_is_lost_while_a_channel_is_down(stage: Stage):
    """W-21, W-76: what is said while a channel is down waits, and is due as soon as it is up."""
    stage.adapter.setup_error = Unavailable("503")
    stage.manager.start(stage.received)
    assert not stage.service.reachable(CHAT)
    outcome = await stage.deliver()
    assert isinstance(outcome, Undelivered)
    assert not outcome.permanent
    stage.adapter.setup_error = None
    await stage.received.until(lambda: CHAT in stage.received.due)
    assert stage.service.reachable(CHAT)
    assert await stage.deliver() == Delivered("p-1")


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (ValueError("odd"), "ValueError: odd"),
        (Unavailable("the service says 503"), "the service says 503"),
        (asyncio.CancelledError(), "cancelled from inside"),
        (None, "does not say whether it delivered"),
        (True, "does not say whether it delivered"),
        ("hang", "did not end in 0.2 s"),
    ],
)
async def test_whatever_an_adapter_does_is_an_outcome(stage: Stage, step: Any, reason: str):
    await stage.up()
    stage.adapter.script = [step]
    outcome = await stage.deliver()
    assert isinstance(outcome, Undelivered)
    assert reason in outcome.reason
    assert not outcome.permanent
    assert await stage.deliver() == Delivered("p-1")


async def test_what_the_platform_says_of_a_failure_comes_through(stage: Stage):
    await stage.up()
    said = [Undelivered("slow down", retry_after=17.5), Undelivered("blocked", permanent=True)]
    stage.adapter.script = list(said)
    assert [await stage.deliver(), await stage.deliver()] == said


async def test_an_id_that_is_none_is_left_out(stage: Stage):
    await stage.up()
    stage.adapter.script = [Delivered(17), Delivered("x" * 5000), Delivered("\ud800")]  # type: ignore[arg-type]
    assert [await stage.deliver() for _ in range(3)] == [Delivered(None)] * 3


async def test_no_container_takes_the_name_of_somebody_elses_message(stage: Stage):
    """A container chooses its rows' ids: a platform that takes each id once would drop the host's words behind them."""
    await stage.up()
    other = SessionRef("zyxwvutsrqpo", "main", Address("one", "chat"))
    names = []
    for session in (SESSION, other, None, SESSION):
        await stage.deliver(session=session)
        names.append(stage.adapter.delivered[-1].id)
    assert len(set(names[:3])) == 3
    assert names[3] == names[0], "the same at every attempt"


async def test_the_adapter_is_given_what_its_platform_can(stage: Stage):
    """W-53."""
    await stage.up()
    assert isinstance(await stage.deliver(ShownCard(CARD, "k3f9m2x7q1zp")), Delivered)
    (given,) = stage.adapter.delivered
    assert isinstance(given.body, Text)
    assert "1. Yes" in given.body.text
    refused = await stage.deliver(Edit("p-1", "other words"))
    assert isinstance(refused, Undelivered)
    assert refused.permanent
    assert isinstance(await stage.deliver(Edit("p-1", "Allowed."), session=None), Delivered)
    assert stage.adapter.delivered[-1].body == Text("Allowed.")


async def test_progress_and_turns_never_raise(stage: Stage):
    stage.service.show_progress(CHAT, StatusText("early"))
    await stage.service.end_turn(CHAT, "m", completed=True)
    await stage.up()
    for address in (CHAT, Address("nowhere", "chat")):
        stage.service.show_progress(address, StatusText("reads"))
        await stage.service.end_turn(address, "m", completed=True)


async def test_a_platform_that_is_away_at_the_end_of_a_turn_is_no_bug(stage: Stage, caplog: pytest.LogCaptureFixture):
    """A sentence in the journal; a stack only of what nobody expected."""
    await stage.up()
    stage.adapter.turn_error = Unavailable("the homeserver can't be reached")
    await stage.service.end_turn(CHAT, "m", completed=False)
    assert [one.exc_info for one in caplog.records if "can't be reached" in one.getMessage()] == [None]
    stage.adapter.turn_error = ValueError("no")
    await stage.service.end_turn(CHAT, "m", completed=False)
    assert caplog.records[-1].exc_info


async def test_typing_lasts_as_long_as_the_work_and_never_longer(stage: Stage):
    """F-129, W-61: refreshed before it fades however long an agent is silent; its last sign is before its rest."""
    await stage.up()
    stage.service.working(SESSION, CHAT)
    stage.service.working(SESSION, CHAT)
    await stage.adapter.gives(4)
    stage.service.rested(SESSION)
    await asyncio.sleep(SIGN_SECONDS)  # nothing is to happen
    times = [at for at, _ in stage.adapter.typed]
    assert len(times) == 4
    # A busy machine may be late, and is never early.
    assert all(later - earlier >= 0.78 * SIGN_SECONDS for earlier, later in itertools.pairwise(times))


async def test_one_sign_for_all_who_work_in_a_chat_until_the_last_rests(stage: Stage):
    await stage.up()
    sessions = [SessionRef(f"session-{number}", "main", CHAT) for number in range(20)]
    for session in sessions:
        stage.service.working(session, CHAT)
    await stage.adapter.gives(1)
    await asyncio.sleep(0.1)  # that there is no other is the subject
    assert len(stage.adapter.typed) == 1
    for session in sessions[:-1]:
        stage.service.rested(session)
        stage.service.rested(session)
    await stage.adapter.gives(2)
    stage.service.rested(sessions[-1])
    await asyncio.sleep(SIGN_SECONDS)  # nothing is to happen
    assert len(stage.adapter.typed) == 2


async def test_the_sign_follows_a_session_to_another_chat(stage: Stage):
    await stage.up()
    other = Address("one", "chat", "thread")
    stage.service.working(SESSION, CHAT)
    await stage.adapter.gives(1)
    stage.service.working(SESSION, other)
    await stage.adapter.gives(3)
    stage.service.rested(SESSION)
    assert [address for _, address in stage.adapter.typed] == [CHAT, other, other]


async def test_a_sign_that_fails_or_has_no_channel_disturbs_nothing(stage: Stage):
    stage.service.working(SESSION, Address("nowhere", "chat"))
    await stage.up()
    stage.adapter.typing_error = Unavailable("503")
    stage.service.working(SESSION, CHAT)
    await stage.adapter.gives(2)
    stage.service.close()
    await asyncio.sleep(SIGN_SECONDS)  # nothing is to happen
    assert len(stage.adapter.typed) == 2
    stage.service.rested(SESSION)


async def test_what_may_go_out_while_its_intent_is_written(stage: Stage):
    """F-99: only what a channel shows once, whenever and however often it is told; a platform that forgets does not."""
    await stage.up()
    assert stage.service.at_once(Address("terminal", "root/main"))
    assert not stage.service.at_once(CHAT)
    assert not stage.service.at_once(Address("telegraph", "chat"))
