"""Channels that are added by command come and go while the daemon runs, beside those of the configuration file."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from contract import PATIENCE_SECONDS, Received

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    Account,
    AdapterFactory,
    BaseAdapter,
    ChannelAdapter,
    ChannelPlaces,
    HealthState,
    Host,
    InvalidOption,
)
from nanoclawd.channels.added import MAX_OPTIONS, AddedChannels, read_given
from nanoclawd.channels.keeper import Pace
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.channels.options import read_options
from nanoclawd.channels.registry import find_setup, known_types
from nanoclawd.channels.setup import ChannelSetup, Question, library_of
from nanoclawd.config import load
from nanoclawd.errors import AlreadyExists, InvalidName, NanoclawError, NotFound, Refused, Unavailable
from nanoclawd.sessions.ports import Delivered, Outgoing, Undelivered
from nanoclawd.store.database import Database

PACE = Pace(setup=2.0, teardown=0.3, call=1.0, first_retry=3600.0, longest_retry=3600.0)


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    loft: str = "roof"
    pigeons: int = 1
    tame: bool = False
    paths: tuple[str, ...] = ()


class Carrier(BaseAdapter):
    platform = "carrier"

    def __init__(self, name: str, options: Options, places: ChannelPlaces) -> None:
        self.name, self.options, self.places = name, options, places
        self.setups = 0
        self.trouble: Exception | None = None
        self.is_up = False

    async def setup(self, inbound: Host) -> None:
        del inbound
        self.setups += 1
        (self.places.state / "kept").write_text("a ring")
        if self.trouble is not None:
            raise self.trouble
        self.is_up = True

    async def teardown(self) -> None:
        self.is_up = False

    async def account(self) -> Account:
        return Account(f"the flock of {self.options.loft}", "ncl wirings create CHAT GROUP")

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        return Delivered(outgoing.id)


class Stage:
    """A manager with its rows, which can be started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: dict[str, list[Carrier]] = {}
        self.prepare: Callable[[Carrier], None] = lambda _adapter: None
        self.received = Received()

    async def start(self, text: str = "", pace: Pace = PACE) -> None:
        path = self.directory / "config.yaml"
        path.write_text(text)
        self.database = Database(self.directory / "central.db")
        await self.database.open()
        self.manager = ChannelManager(
            load(path), ChannelPlaces(self.directory / "state", self.directory), find=self.find, pace=pace
        )
        self.added = AddedChannels(self.database, self.manager, lambda _kind: ChannelSetup(), lambda: ["carrier"])
        await self.added.start()
        self.manager.start(self.received)

    async def stop(self) -> None:
        await self.manager.stop()
        await self.database.close()

    def find(self, kind: str) -> AdapterFactory:
        if kind == "broken":
            raise ImportError("no module named carrier")
        if kind == "lacking":
            return self.factory_without_its_library
        if kind != "carrier":
            raise InvalidOption("type", f"no installed package provides the type {kind!r}")
        return self.factory

    def factory(self, name: str, options: Mapping[str, object], places: ChannelPlaces) -> ChannelAdapter:
        adapter = Carrier(name, read_options(Options, options), places)
        self.prepare(adapter)
        self.made.setdefault(name, []).append(adapter)
        return adapter

    def factory_without_its_library(self, *_given: object) -> ChannelAdapter:
        with library_of("python3-carrier"):
            import a_library_that_nobody_has  # noqa: F401
        raise AssertionError

    async def settled(self, name: str, state: HealthState) -> str:
        """Wait for the outcome of an attempt; return what is said about it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.manager.test(name)
        found = self.manager.state(name).health
        assert found.state is state, found
        return found.detail


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_a_channel_is_added_at_once_and_is_there_after_a_restart(stage: Stage):
    row = await stage.added.add("home", "carrier", ["loft=barn", "pigeons=3", "tame=true"], enabled=True)
    assert row.enabled
    await stage.settled("home", HealthState.OK)
    assert stage.made["home"][-1].options == Options("barn", 3, tame=True), "numbers and switches come as texts"
    await stage.stop()
    await stage.start()
    await stage.settled("home", HealthState.OK)
    assert stage.made["home"][-1].options.loft == "barn"
    assert stage.manager.of_platform("carrier") == ("home",)


async def test_what_is_wrong_is_told_with_the_option_and_the_command_and_leaves_nothing(stage: Stage):
    with pytest.raises(InvalidName, match="option lofts of channel home: unknown key") as wrong:
        await stage.added.add("home", "carrier", ["lofts=barn"], enabled=True)
    assert wrong.value.hint == "ncl channels add carrier home --option lofts=VALUE"
    with pytest.raises(InvalidName, match="option pigeons of channel home: expected `int`"):
        await stage.added.add("home", "carrier", ["pigeons=many"], enabled=True)
    with pytest.raises(InvalidName, match="no installed package provides the type 'telegraph'") as unknown:
        await stage.added.add("home", "telegraph", [], enabled=True)
    assert unknown.value.hint == "ncl channels types"
    with pytest.raises(NanoclawError, match="channel home cannot be made: ImportError: no module named carrier"):
        await stage.added.add("home", "broken", [], enabled=True)
    with pytest.raises(Unavailable, match="its library cannot be used: No module named") as lacking:
        await stage.added.add("home", "lacking", [], enabled=True)
    assert lacking.value.hint == "sudo apt install python3-carrier"
    for name in ("", "-", "Home", "a/b", "x" * 32, "terminal", "agent"):
        with pytest.raises((InvalidName, AlreadyExists)):
            await stage.added.add(name, "carrier", [], enabled=True)
    assert await stage.added.every() == {}
    assert not (stage.directory / "state" / "home").exists()
    assert not stage.manager.known("home")


async def test_a_secret_is_no_option():
    for key in ("token", "bot_token", "password", "api_key", "client_secret"):
        with pytest.raises(Refused, match=f"{key} is a secret"):
            read_given([f"{key}=4711:AAF"])
    assert read_given(["token_url=https://x", 'paths=["a"]', "note=a=b"]) == {
        "token_url": "https://x", "paths": ["a"], "note": "a=b",
    }  # fmt: skip
    for bad in ("loft", "=barn", "Loft=x", "a b=c", "paths=[1", "loft=" + "x" * 4001, "é=1"):
        with pytest.raises(InvalidName):
            read_given([bad])
    with pytest.raises(InvalidName):
        read_given(["a=1"] * (MAX_OPTIONS + 1))


async def test_a_name_is_there_once_and_the_file_goes_before(stage: Stage):
    await stage.added.add("home", "carrier", [], enabled=True)
    with pytest.raises(AlreadyExists):
        await stage.added.add("home", "carrier", [], enabled=True)
    await stage.stop()
    await stage.start("channels: {home: {type: carrier, loft: tower}, away: {type: carrier}}")
    await stage.settled("home", HealthState.OK)
    assert stage.made["home"][-1].options.loft == "tower"
    with pytest.raises(AlreadyExists):
        await stage.added.add("away", "carrier", [], enabled=True)
    for change in (
        stage.added.update("home", ["loft=x"]),
        stage.added.switch("home", enabled=False),
        stage.added.remove("away"),
        stage.added.switch("terminal", enabled=False),
    ):
        with pytest.raises(Refused):
            await change
    with pytest.raises(NotFound):
        await stage.added.remove("nowhere")
    await stage.added.remove("home")
    assert await stage.added.every() == {}
    assert stage.manager.adapter("home") is not None, "the one of the file stays"
    assert (stage.directory / "state" / "home" / "kept").exists()


async def test_disabled_it_is_down_and_what_is_said_there_waits(stage: Stage):
    await stage.added.add("home", "carrier", [], enabled=True)
    await stage.settled("home", HealthState.OK)
    adapter, chat = stage.made["home"][-1], Address("home", "1")
    await stage.added.switch("home", enabled=False)
    await stage.added.switch("home", enabled=False)
    assert not adapter.is_up
    await stage.settled("home", HealthState.DISABLED)
    assert not stage.manager.reachable(chat)
    await stage.stop()
    await stage.start()
    await stage.settled("home", HealthState.DISABLED)
    assert stage.made["home"][-1] is adapter, "nothing was made of it"
    assert not stage.manager.reachable(chat)
    await stage.added.switch("home", enabled=True)
    await stage.settled("home", HealthState.OK)
    assert stage.received.due == [chat]
    await stage.added.switch("home", enabled=True)
    assert stage.made["home"][-1].setups == 1


async def test_other_options_connect_it_anew_and_wrong_ones_change_nothing(stage: Stage):
    await stage.added.add("home", "carrier", ["loft=barn", "pigeons=2"], enabled=True)
    await stage.settled("home", HealthState.OK)
    first = stage.made["home"][-1]
    with pytest.raises(InvalidName, match="expected `int`") as wrong:
        await stage.added.update("home", ["pigeons=x"])
    assert wrong.value.hint == "ncl channels update home --option pigeons=VALUE"
    assert first.is_up
    row = await stage.added.update("home", ["loft=tower", "pigeons="])
    await stage.settled("home", HealthState.OK)
    assert row.options == {"loft": "tower"}
    assert stage.made["home"][-1].options == Options("tower")
    assert not first.is_up
    await stage.added.switch("home", enabled=False)
    await stage.added.update("home", ["loft=attic"])
    await stage.settled("home", HealthState.DISABLED)
    await stage.added.switch("home", enabled=True)
    await stage.settled("home", HealthState.OK)
    assert stage.made["home"][-1].options.loft == "attic"


async def test_removed_it_leaves_nothing_and_what_waited_is_tried_and_fails(stage: Stage):
    stage.prepare = lambda adapter: setattr(adapter, "trouble", OSError("no wind"))
    await stage.added.add("home", "carrier", [], enabled=True)
    chat = Address("home", "1")
    assert not stage.manager.reachable(chat)
    await stage.settled("home", HealthState.FAILED)
    await stage.added.remove("home")
    assert stage.received.due == [chat]
    assert stage.manager.reachable(chat), "an unknown channel fails at once"
    assert not (stage.directory / "state" / "home").exists()
    assert await stage.added.every() == {}


async def test_a_test_asks_the_platform_or_makes_the_next_attempt_at_once(stage: Stage):
    """The next attempt by itself would be an hour away."""
    stage.prepare = lambda adapter: setattr(adapter, "trouble", Refused("the ring is wrong", hint="ncl channels login"))
    await stage.added.add("home", "carrier", ["loft=barn"], enabled=True)
    assert await stage.settled("home", HealthState.FAILED) == "the ring is wrong"
    assert stage.manager.state("home").health.hint == "ncl channels login"
    adapter = stage.made["home"][-1]
    before = adapter.setups
    await stage.settled("home", HealthState.FAILED)
    assert adapter.setups == before + 1
    adapter.trouble = None
    async with asyncio.timeout(PATIENCE_SECONDS):
        account = await stage.manager.test("home")
    assert account == Account("the flock of barn", "ncl wirings create CHAT GROUP")
    with pytest.raises(NotFound):
        await stage.manager.test("nowhere")
    assert await stage.manager.test("terminal") is None


async def test_a_platform_that_does_not_answer_a_test_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    await stage.added.add("home", "carrier", [], enabled=True)
    await stage.settled("home", HealthState.OK)

    async def hang(_self: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Carrier, "account", hang)
    with pytest.raises(Unavailable, match="did not end"):
        await stage.manager.test("home")


async def test_whoever_waits_for_an_attempt_is_let_go_when_the_channel_goes(tmp_path: Path):
    made = Stage(tmp_path)
    await made.start(pace=Pace(setup=30.0, teardown=0.3))

    async def hang(_self: Any, _inbound: Host) -> None:
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Carrier, "setup", hang)
        await made.added.add("home", "carrier", [], enabled=True)
        waiting = asyncio.create_task(made.manager.test("home"))
        await asyncio.sleep(0)
        await made.added.remove("home")
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await waiting is None
    await made.stop()


PIGEONS = """
from nanoclawd.channels.setup import ChannelSetup, Question

SETUP = ChannelSetup("ring", "It is on its leg.", (Question("loft", "loft"),))

def create(name, options, places):
    import a_heavy_library
"""


def test_a_type_declares_what_it_asks_beside_its_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing heavy is imported for it, and a type that declares nothing asks nothing."""
    (tmp_path / "carrier_pigeons.py").write_text(PIGEONS)
    info = tmp_path / "carrier_pigeons-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: carrier-pigeons\nVersion: 1.0\n")
    points = "[nanoclawd.channels]\ncarrier = carrier_pigeons:create\nplain = nanoclawd.channels.loopback:create\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert find_setup("carrier") == ChannelSetup("ring", "It is on its leg.", (Question("loft", "loft"),))
    assert find_setup("plain") == ChannelSetup()
    assert {"carrier", "plain"} <= set(known_types())
    with pytest.raises(InvalidOption, match="no installed package provides the type 'telegraph'"):
        find_setup("telegraph")


def test_a_platform_whose_library_is_not_installed_names_its_package():
    """As where somebody has installed the package without what it recommends."""
    program = """
import sys
sys.modules.update(telegram=None, nio=None, discord=None)
from nanoclawd.channels import discord, matrix, telegram
from nanoclawd.errors import Unavailable
for channel, options in ((telegram, {}), (matrix, {"homeserver": "https://x", "user": "bot"}), (discord, {})):
    try:
        channel.create("mine", options, None)
    except Unavailable as error:
        print(error.hint)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", program]
    found = subprocess.run(argv, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert found.stdout.splitlines() == [
        "sudo apt install python3-python-telegram-bot",
        "sudo apt install python3-matrix-nio python3-olm",
        "sudo apt install python3-discord",
    ]
