"""The appliance's own adapters keep the adapters' contract."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from contract import AdapterContract, PlatformSide, Received, Side, outgoing

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelAdapter, ChannelPlaces, Host, Inbound
from nanoclawd.channels.loopback import create
from nanoclawd.channels.terminal import TerminalChannel
from nanoclawd.channels.terminal_files import TerminalFiles
from nanoclawd.control.api import ClientGone
from nanoclawd.control.values import ChatEvent, EventType
from nanoclawd.sessions.ports import Delivered, StatusText, Text, Undelivered
from system.loopback import Account, file


def a_terminal(places: Path) -> TerminalChannel:
    return TerminalChannel(TerminalFiles(places / "terminal"))


class Screen:
    """A screen of ``ncl chat``, as the control layer makes one."""

    def __init__(self) -> None:
        self.shown: dict[str, ChatEvent] = {}
        self.hints: list[ChatEvent] = []
        self.gone = False

    async def show(self, event: ChatEvent) -> None:
        if self.gone:
            raise ClientGone("the client left")
        if event.id is not None:
            self.shown[event.id] = event

    def hint(self, event: ChatEvent) -> None:
        self.hints.append(event)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.shown.values()]


class TerminalSide(Side):
    """Nobody writes through it: the control layer speaks for the terminal, since it alone knows the peer."""

    chat = "ada/main"

    def __init__(self, places: Path) -> None:
        self.adapter = self.terminal = a_terminal(places)
        self.screen = Screen()

    async def appear(self) -> None:
        self.terminal.attach(self.chat, self.screen)

    async def shown(self) -> Sequence[str]:
        return self.screen.texts


class LoopbackSide(PlatformSide):
    chat = "town-hall"

    def __init__(self, places: Path, options: dict[str, object]) -> None:
        self.adapter = create("loop", options, ChannelPlaces(places, places))
        self._account = Account("loop", sockets=places, idempotent=bool(options.get("idempotent")))

    async def appear(self) -> None:
        await asyncio.to_thread(self._account.connected)

    async def shown(self) -> Sequence[str]:
        return [one.text for one in self._account.deliveries if one.chat == self.chat]

    async def say(self, text: str, message_id: str) -> None:
        await asyncio.to_thread(self._account.say, self.chat, text, message_id=message_id)

    async def send(self, name: str, content: bytes, message_id: str) -> bool:
        files = [file(name, content)]
        await asyncio.to_thread(self._account.say, self.chat, "see there", files=files, message_id=message_id)
        return True

    async def close(self) -> None:
        await self.adapter.teardown()
        await asyncio.to_thread(self._account.close)


class TestTerminal(AdapterContract):
    @pytest.fixture
    def side(self, tmp_path: Path) -> TerminalSide:
        return TerminalSide(tmp_path)


class TestPlainLoopback(AdapterContract):
    @pytest.fixture
    async def side(self, tmp_path: Path) -> AsyncIterator[LoopbackSide]:
        made = LoopbackSide(tmp_path, {"max_text": 40})
        yield made
        await made.close()


class TestRichLoopback(AdapterContract):
    @pytest.fixture
    async def side(self, tmp_path: Path) -> AsyncIterator[LoopbackSide]:
        can = dict.fromkeys(("threads", "buttons", "edits", "reactions", "idempotent"), True)
        made = LoopbackSide(tmp_path, {**can, "typing_seconds": 5.0, "max_attachment": 1000})
        yield made
        await made.close()


async def test_a_direct_chat_is_every_screen_of_its_user(tmp_path: Path):
    """What the host has to say to ``terminal:ada`` is seen wherever ada looks, and by nobody else."""
    terminal, received = a_terminal(tmp_path), Received()
    await terminal.setup(received)
    direct = Address("terminal", "ada")
    assert not terminal.reachable(direct)
    assert await terminal.open_dm("ada") == "ada"
    main, work, bob = Screen(), Screen(), Screen()
    terminal.attach("bob/main", bob)
    assert direct not in received.due
    terminal.attach("ada/main", main)
    terminal.attach("ada/work", work)
    assert received.due.count(direct) == 2
    assert terminal.reachable(direct)
    assert await terminal.deliver(outgoing(direct, Text("a word"), is_notice=True)) == Delivered("row-1")
    assert (main.texts, work.texts, bob.texts) == (["a word"], ["a word"], [])
    assert main.shown["row-1"].type is EventType.NOTICE


async def test_a_screen_that_left_is_forgotten_and_nothing_is_shown_to_nobody(tmp_path: Path):
    terminal = a_terminal(tmp_path)
    await terminal.setup(Received())
    gone, there = Screen(), Screen()
    terminal.attach("ada/main", gone)
    terminal.attach("ada/main", there)
    gone.gone = True
    address = Address("terminal", "ada/main")
    assert isinstance(await terminal.deliver(outgoing(address, Text("one"))), Delivered)
    there.gone = True
    last = await terminal.deliver(outgoing(address, Text("two")))
    assert isinstance(last, Undelivered)
    assert not last.permanent
    assert not terminal.reachable(address)


async def test_screens_that_were_there_before_the_setup_are_due_after_it(tmp_path: Path):
    terminal, received = a_terminal(tmp_path), Received()
    terminal.attach("ada/main", Screen())
    await terminal.setup(received)
    assert received.due == [Address("terminal", "ada/main"), Address("terminal", "ada")]


async def test_progress_is_shown_on_the_screens_of_its_chat(tmp_path: Path):
    terminal, here, elsewhere = a_terminal(tmp_path), Screen(), Screen()
    terminal.attach("ada/main", here)
    terminal.attach("ada/work", elsewhere)
    terminal.show_progress(Address("terminal", "ada/main"), StatusText("reads"))
    assert [hint.text for hint in here.hints] == ["reads"]
    assert elsewhere.hints == []


def test_no_channel_takes_or_asks_for_credentials_of_agents():
    """F-142: neither what an adapter has to do nor what it may call speaks of them."""
    spoken = {name for kind in (ChannelAdapter, Inbound, Host) for name in dir(kind) if not name.startswith("_")}
    assert {"deliver", "setup", "message", "click"} <= spoken
    assert not [name for name in spoken if "credential" in name or "secret" in name]
