"""Channels start side by side, are tried again for ever, and never take each other or the daemon along."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from contract import Received

from eventually import eventually
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    AdapterFactory,
    BaseAdapter,
    Capabilities,
    ChannelAdapter,
    ChannelPlaces,
    Conversation,
    Health,
    HealthState,
    Host,
    InvalidOption,
)
from nanoclawd.channels.keeper import ChannelState, Pace
from nanoclawd.channels.loopback import create
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.channels.registry import find_factory
from nanoclawd.config import Config, load
from nanoclawd.errors import InvalidName, NotFound, Unavailable
from nanoclawd.routing.event import Click, InboundEvent, Sender
from nanoclawd.sessions.ports import Delivered, Outgoing, Undelivered

PACE = Pace(setup=0.3, teardown=0.3, call=0.3, first_retry=0.02, longest_retry=0.08, settled=60.0)


class Example(BaseAdapter):
    """An adapter as a package might have it, with whatever goes wrong in one."""

    platform = "example"

    def __init__(self, name: str, options: Mapping[str, object], places: ChannelPlaces) -> None:
        self.name = name
        self.places = places
        self.options = options
        self.setups: list[float] = []
        self.teardowns = 0
        self.host: Host | None = None
        self.troubles: list[BaseException | None] = []

    async def setup(self, inbound: Host) -> None:
        self.setups.append(time.monotonic())
        trouble = self.troubles.pop(0) if self.troubles else None
        if isinstance(trouble, TimeoutError):
            await asyncio.Event().wait()
        if trouble is not None:
            raise trouble
        self.host = inbound

    async def teardown(self) -> None:
        self.teardowns += 1

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        return Delivered(f"p-{outgoing.id}")


class Stage:
    """A manager over a configuration, with adapters of this test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: dict[str, Example] = {}
        self.received = Received()
        self.manager: ChannelManager | None = None
        self.prepare: Callable[[Example], None] = lambda _adapter: None

    def factory(self, name: str, options: Mapping[str, object], places: ChannelPlaces) -> ChannelAdapter:
        self.made[name] = Example(name, options, places)
        self.prepare(self.made[name])
        return self.made[name]

    def find(self, kind: str) -> AdapterFactory:
        found: dict[str, AdapterFactory] = {"example": self.factory, "loopback": create}
        if kind not in found:
            raise InvalidOption("type", f"no installed package provides the type {kind!r}")
        return found[kind]

    def run(self, text: str, find: Callable[[str], AdapterFactory] | None = None) -> ChannelManager:
        path = self.directory / "config.yaml"
        path.write_text(text)
        places = ChannelPlaces(self.directory / "state", self.directory)
        self.manager = ChannelManager(load(path), places, find=find or self.find, pace=PACE)
        self.manager.start(self.received)
        return self.manager

    def state(self, name: str) -> ChannelState:
        assert self.manager is not None
        return next(state for state in self.manager.states() if state.name == name)

    async def until(self, name: str, wanted: HealthState, detail: str = "") -> ChannelState:
        def found() -> ChannelState | None:
            state = self.state(name)
            return state if state.health.state is wanted and detail in state.health.detail else None

        return await eventually(found, f"channel {name} is {wanted}")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    if made.manager is not None:
        await made.manager.stop()


async def test_the_terminal_is_always_there(stage: Stage):
    manager = stage.run("")
    assert manager.known("terminal")
    await stage.until("terminal", HealthState.OK)
    assert manager.adapter("terminal") is manager.terminal
    assert manager.of_platform("terminal") == ("terminal",)
    assert manager.capabilities("terminal").threads is False


async def test_starting_waits_for_nothing_and_a_hanging_setup_for_nobody(stage: Stage):
    """W-76, and setups are not one after the other: one that hangs is given up after its time and tried again."""
    stage.prepare = lambda adapter: adapter.troubles.append(TimeoutError() if adapter.name == "hangs" else None)
    began = time.monotonic()
    stage.run("channels: {hangs: {type: example}, works: {type: example}}")
    assert time.monotonic() - began < 0.2
    await stage.until("works", HealthState.OK)
    assert stage.state("hangs").health.state is HealthState.STARTING
    await stage.until("hangs", HealthState.FAILED, "did not end in 0.3 s")
    await stage.until("hangs", HealthState.OK)
    assert stage.made["hangs"].teardowns == 1


async def test_any_failure_of_a_setup_is_tried_again_with_longer_and_longer_waits(stage: Stage):
    """W-76: not only what is called a network error."""
    troubles: list[BaseException | None] = [
        OSError("no route to host"),
        Unavailable("the service says 503"),
        ValueError("the library met something odd"),
        asyncio.CancelledError(),
        KeyError(),
        Unavailable("still 503"),
    ]
    stage.prepare = lambda adapter: adapter.troubles.extend(troubles)
    manager = stage.run("channels: {shaky: {type: example}}")
    state = await stage.until("shaky", HealthState.FAILED)
    assert state.next_try is not None
    assert manager.adapter("shaky") is None
    await stage.until("shaky", HealthState.OK)
    adapter = stage.made["shaky"]
    waits = [after - before for before, after in itertools.pairwise(adapter.setups)]
    assert len(waits) == len(troubles)
    assert all(wait >= least for wait, least in zip(waits, (0.02, 0.04, 0.08, 0.08, 0.08, 0.08), strict=True))
    assert adapter.teardowns == len(troubles), "after every setup that failed"
    assert stage.state("shaky").next_try is None


async def test_a_channel_with_wrong_options_shows_the_key_and_the_others_run(stage: Stage):
    text = """\
allow_scripted: true
channels:
  good: {type: loopback}
  typo:
    type: loopback
    thread: true
  wrong:
    type: loopback
    max_text: many
  unknown: {type: telegraph}
"""
    stage.run(text)
    place = stage.directory / "config.yaml"
    await stage.until("good", HealthState.OK)
    typo = await stage.until("typo", HealthState.FAILED)
    assert typo.health.detail.startswith(f"{place}:6: channels.typo.thread: unknown key; known here: threads, buttons")
    assert typo.next_try is None
    wrong = await stage.until("wrong", HealthState.FAILED)
    assert wrong.health.detail == f"{place}:9: channels.wrong.max_text: expected `int`, got `str`"
    unknown = await stage.until("unknown", HealthState.FAILED)
    assert unknown.health.detail == (
        f"{place}:10: channels.unknown.type: no installed package provides the type 'telegraph'"
    )


async def test_the_loopback_is_for_tests_only(stage: Stage):
    stage.run("channels: {loop: {type: loopback}}")
    state = await stage.until("loop", HealthState.FAILED)
    assert state.health.detail.endswith("channels.loop.type: loopback is for tests and needs allow_scripted: true")
    assert not (stage.directory / "loop.sock").exists()


async def test_a_factory_that_breaks_is_tried_again(stage: Stage):
    """A package may be half installed at the moment."""
    broken = [ImportError("no module named telegraph"), SyntaxError("?")]

    def find(kind: str) -> AdapterFactory:
        if broken:
            raise broken.pop(0)
        return stage.find(kind)

    stage.run("channels: {late: {type: example}}", find)
    await stage.until("late", HealthState.FAILED, "ImportError: no module named telegraph")
    await stage.until("late", HealthState.OK)


async def test_two_accounts_of_one_platform(stage: Stage):
    """A second account is a second name; each has its own state directory and options."""
    text = "channels: {home: {type: example, who: me}, work: {type: example, who: us}, other: {type: loopback}}"
    manager = stage.run(f"allow_scripted: true\n{text}")
    await stage.until("home", HealthState.OK)
    await stage.until("work", HealthState.OK)
    assert manager.of_platform("example") == ("home", "work")
    home, work = stage.made["home"], stage.made["work"]
    assert (home.options, work.options) == ({"who": "me"}, {"who": "us"})
    assert home.places.state != work.places.state
    assert (home.places.state.stat().st_mode & 0o777) == 0o700


async def test_a_lost_connection_is_set_up_again_and_old_hands_are_cut_off(stage: Stage):
    manager = stage.run("channels: {one: {type: example}}")
    await stage.until("one", HealthState.OK)
    adapter = stage.made["one"]
    before = adapter.host
    assert before is not None
    before.lost("the token was revoked")
    before.lost("twice")
    await stage.until("one", HealthState.FAILED, "the token was revoked")
    event = InboundEvent(Address("one", "chat"), "m", "late", Sender("example:ada"))
    with pytest.raises(Unavailable):
        await before.message(event)
    await stage.until("one", HealthState.OK)
    assert adapter.host is not before
    assert manager.adapter("one") is adapter
    assert (len(adapter.setups), adapter.teardowns) == (2, 1)
    before.lost("from the grave")
    before.reachable_again(Address("one", "chat"))
    assert stage.received.due == []
    assert adapter.host is not None
    await adapter.host.message(event)
    assert stage.received.events == [event]


async def test_deliveries_wait_while_a_channel_is_down(stage: Stage):
    stage.prepare = lambda adapter: adapter.troubles.extend([Unavailable("not yet")] * 3)
    manager = stage.run("channels: {one: {type: example}}")
    came_up: list[str] = []
    manager.came_up = came_up.append
    here, there = Address("one", "chat-1"), Address("one", "chat-2", "thread")
    assert not manager.reachable(here)
    assert not manager.reachable(there)
    await stage.until("one", HealthState.OK)
    await stage.received.until(lambda: len(stage.received.due) == 2)
    assert stage.received.due == [here, there]
    assert came_up == ["terminal", "one"]
    assert manager.reachable(here)
    assert manager.reachable(Address("nowhere", "x")), "an unknown channel fails at once, and visibly (W-21)"


async def test_a_channel_speaks_for_itself_only(stage: Stage):
    """W-75 for every adapter: neither another channel's chats nor another platform's users can be claimed."""
    stage.run("channels: {one: {type: example}}")
    await stage.until("one", HealthState.OK)
    host = stage.made["one"].host
    assert host is not None
    for address, user in (
        (Address("terminal", "root/main"), "example:ada"),
        (Address("one", ""), "example:ada"),
        (Address("one", "chat"), "terminal:root"),
        (Address("one", "chat"), "example:"),
        (Address("one", "chat"), "root"),
    ):
        with pytest.raises(InvalidName):
            await host.message(InboundEvent(address, "m", "hello", Sender(user)))
        with pytest.raises(InvalidName):
            await host.click(Click("k3f9", "allow", user, address))
    await host.message(InboundEvent(Address("one", "chat"), "m", "hello", Sender(None)))
    assert await host.click(Click("k3f9", "allow", "example:ada", Address("one", "chat"))) == "noted"
    assert len(stage.received.events) == len(stage.received.clicks) == 1


async def test_chat_names_reach_the_host_fit_to_be_shown(stage: Stage):
    """W-55: a name is one line, bounded, without what a terminal obeys."""
    stage.run("channels: {one: {type: example}}")
    await stage.until("one", HealthState.OK)
    host = stage.made["one"].host
    assert host is not None
    chat = Address("one", "c")
    await host.chat_named(chat, "Town\x1b[2J \u202ehall\n\ud800", is_group=True)
    await host.chat_named(chat, "x" * 1000)
    await host.chat_named(chat, "\n")
    assert stage.received.names == [(chat, "Town [2J hall", True), (chat, "x" * 200, None), (chat, None, None)]
    with pytest.raises(InvalidName):
        await host.chat_named(Address("terminal", "root/main"), "mine")


class Rude(Example):
    """Everything that can go wrong when an adapter is asked."""

    def health(self) -> Health:
        raise ValueError("no idea \ud800")

    def reachable(self, address: Address) -> bool:
        raise ValueError("no idea")

    async def open_dm(self, handle: str) -> str | None:
        if handle == "hang":
            await asyncio.Event().wait()
        if handle == "deaf":
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    await asyncio.sleep(1.5)  # deaf: longer than it is waited for
                    return None
        if handle == "cancel":
            raise asyncio.CancelledError
        if handle == "half":
            return "\ud800"
        raise ValueError("no such person")

    async def chat_name(self, platform_id: str) -> str | None:
        return f"chat {platform_id}"

    async def conversations(self) -> list[Conversation]:
        return [Conversation("c", "C\x1b\ud800", is_group=True), Conversation("\ud800", None, is_group=True)]


async def test_asking_an_adapter_ends_in_time_and_with_one_kind_of_error(stage: Stage):
    rude = Rude("one", {}, ChannelPlaces(stage.directory, stage.directory))
    manager = stage.run("channels: {one: {type: example}}", lambda _kind: lambda *_args: rude)
    state = await stage.until("one", HealthState.DEGRADED)
    assert "no idea" in state.health.detail
    state.health.detail.encode()
    assert manager.reachable(Address("one", "c"))
    for handle, words in (("x", "no such person"), ("hang", "0.3 s"), ("cancel", "from inside"), ("deaf", "0.3 s")):
        began = time.monotonic()
        with pytest.raises(Unavailable, match=words):
            await manager.open_dm("one", handle)
        assert time.monotonic() - began < 1.45
    assert await manager.open_dm("one", "half") is None, "half a character can be neither stored nor sent"
    assert await manager.chat_name("one", "c\n\ud800") == "chat c"
    assert await manager.conversations("one") == (Conversation("c", "C", is_group=True),)
    await manager.subscribe(Address("one", "c", "t"))
    with pytest.raises(NotFound):
        await manager.open_dm("nowhere", "x")


async def test_asking_a_channel_that_is_down_says_why(stage: Stage):
    stage.prepare = lambda adapter: adapter.troubles.extend([Unavailable("the service says 503")] * 1000)
    manager = stage.run("channels: {one: {type: example}}")
    await stage.until("one", HealthState.FAILED)
    with pytest.raises(Unavailable, match="the service says 503"):
        await manager.open_dm("one", "ada")


async def test_stopping_ends_everything_also_what_does_not_want_to(stage: Stage):
    class Clinging(Example):
        async def teardown(self) -> None:
            await asyncio.Event().wait()

    adapters = {name: Clinging(name, {}, ChannelPlaces(stage.directory, stage.directory)) for name in ("a", "b")}
    adapters["b"].troubles = [TimeoutError()] * 100
    manager = stage.run(
        "channels: {a: {type: example}, b: {type: example}}", lambda _kind: lambda name, *_rest: adapters[name]
    )
    await stage.until("a", HealthState.OK)
    began = time.monotonic()
    await manager.stop()
    assert time.monotonic() - began < 2.0
    assert manager.adapter("a") is None
    setups = len(adapters["b"].setups)
    await asyncio.sleep(0.2)  # ten times its pause: nothing is to happen
    assert len(adapters["b"].setups) == setups


async def test_threads_are_declared_by_the_channel(stage: Stage):
    """F-121: a capability of the adapter, never inferred from what comes in; a channel that is unknown has none."""
    manager = stage.run(
        "allow_scripted: true\nchannels: {loop: {type: loopback, threads: true}, plain: {type: loopback}}"
    )
    await stage.until("loop", HealthState.OK)
    await stage.until("plain", HealthState.OK)
    assert manager.capabilities("loop").threads is True
    assert manager.capabilities("plain").threads is False
    assert manager.capabilities("terminal").threads is False
    assert manager.capabilities("unknown") == Capabilities()


def install(directory: Path, package: str, entry_points: str) -> None:
    """Make what an installed Python package leaves behind."""
    info = directory / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nanoclawd.channels]\n{entry_points}\n")


def test_adapters_are_found_by_the_entry_points_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(tmp_path, "example_one", "loopy = nanoclawd.channels.loopback:create\nboth = json:loads")
    install(tmp_path, "example_two", "both = json:dumps\nbroken = nowhere.at.all:create")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert find_factory("loopy") is create
    with pytest.raises(InvalidOption, match="several packages provide the type 'both': json:dumps, json:loads"):
        find_factory("both")
    with pytest.raises(InvalidOption, match=r"no installed package provides the type 'none'; there are: .*loopy"):
        find_factory("none")
    with pytest.raises(ModuleNotFoundError):
        find_factory("broken")


def test_the_configuration_of_no_file_has_no_channel():
    assert Config().channels == {}
