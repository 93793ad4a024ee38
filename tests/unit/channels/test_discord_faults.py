"""Discord over a bad network: refused, reset, stalled, half open, slow. Everything arrives once, in order (W-39).

All against a server written from the public documentation (``tests/discord_api``), by the library itself.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from contract import attachment
from discord_stage import FAST, NAME, Stage

from eventually import eventually
from fault_proxy import FaultProxy, Weather
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import HealthState
from nanoclawd.sessions.ports import Body, Delivered, Text, Undelivered

BAD = [one for one in Weather if one is not Weather.FAIR]
PATIENT = replace(FAST, connect=1.0, silence=1.0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class BadNetwork:
    """A stage whose adapter is behind the proxy."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.proxy = FaultProxy(stage.api.port)

    async def start(self) -> None:
        await self.proxy.__aenter__()
        self.stage.api.at(self.proxy.port)
        await self.stage.begin(f"http://127.0.0.1:{self.proxy.port}")

    async def keep_delivering(self, chat: str, body: Body, row: str) -> None:
        """Do as the host does: when it can be tried, try until it is there; each attempt has its bound."""
        while True:
            if self.stage.adapter.reachable(Address(NAME, chat)):
                try:
                    async with asyncio.timeout(1.0):
                        outcome = await self.stage.deliver(chat, body, row)
                except TimeoutError:
                    continue
                if isinstance(outcome, Delivered):
                    return
                assert isinstance(outcome, Undelivered)
                assert not outcome.permanent, outcome.reason
            await asyncio.sleep(0.05)  # the appliance's pause between two attempts


@pytest.fixture
async def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BadNetwork]:
    stage = Stage(tmp_path, monkeypatch, heartbeat_seconds=0.5)
    stage.pace = PATIENT
    await stage.api.start()
    stage.people.channel("general")
    made = BadNetwork(stage)
    await made.start()
    yield made
    await stage.adapter.teardown()
    await made.proxy.__aexit__(None, None, None)
    await stage.api.stop()


@pytest.mark.parametrize("weather", BAD)
async def test_all_arrives_once_and_in_order(network: BadNetwork, weather: Weather):
    stage = network.stage
    channel = stage.people.channel("general")
    long = Text("\n\n".join(f"paragraph {number} " + "word " * 150 for number in range(8)), (attachment(),))
    sent = [stage.people.say(channel, f"text {number}") for number in range(5)]
    await stage.hears(lambda one: one.message_id == sent[-1])
    delivering = asyncio.create_task(network.keep_delivering(channel, long, "row-1"))
    await network.proxy.change(weather)
    for number in range(5, 10):
        sent.append(stage.people.say(channel, f"text {number}"))
        await asyncio.sleep(0.15)  # the bad weather lasts
    await network.proxy.change(Weather.FAIR)
    sent += [stage.people.say(channel, f"text {number}") for number in range(10, 15)]
    await stage.received.until(lambda: len(stage.received.events) >= len(sent))
    async with asyncio.timeout(30):
        await delivering
    assert [one.message_id for one in stage.received.events] == sent
    shown = [one for one in stage.people.shown(channel) if one["author"] == "helper"]
    assert "\n".join(one["text"] for one in shown).count("paragraph ") == 8
    assert [name for one in shown for name in one["files"]] == ["notes.txt"]
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)
    assert stage.received.lost_for == []


async def test_a_long_bad_time_leaves_nothing_open(network: BadNetwork):
    """After all of that the process has as many descriptors as before, and one connection."""
    stage = network.stage
    channel = stage.people.channel("general")
    stage.people.say(channel, "at first")
    await stage.received.until(lambda: stage.received.events)
    before = descriptors()
    for number in range(12):
        await network.proxy.change(BAD[number % len(BAD)])
        await asyncio.sleep(0.2)  # the bad weather lasts
        await network.proxy.change(Weather.FAIR)
        message = stage.people.say(channel, f"text {number}")
        await stage.hears(lambda one, wanted=message: one.message_id == wanted)
    assert [one.text for one in stage.received.events] == ["at first", *(f"text {number}" for number in range(12))]
    await eventually(lambda: len(stage.api.gateway.connections) == 1)
    gc.collect()
    # Some requests' connections are kept for the next ones, on both sides of the proxy.
    await eventually(lambda: descriptors() <= before + 12)


async def test_requests_that_fail_while_the_gateway_is_well_cost_no_attempts(network: BadNetwork):
    """W-11: an answer has eight attempts, within ten minutes; an outage of the API may be longer."""
    stage = network.stage
    channel = stage.people.channel("general")
    address = Address(NAME, channel)
    assert stage.adapter.reachable(address)
    stage.people.fail("POST /channels|GET /users/@me", status=503, times=1000)
    assert not isinstance(await stage.deliver(channel, Text("hello"), "row-1"), Delivered)
    assert not stage.adapter.reachable(address)
    assert stage.received.due == []
    stage.people.calm()
    await stage.received.until(lambda: stage.received.due == [address])
    assert stage.adapter.reachable(address)
    assert isinstance(await stage.deliver(channel, Text("hello"), "row-1"), Delivered)
    # What is wrong with a message alone is no outage.
    assert not isinstance(await stage.deliver("999", Text("hello"), "row-2"), Delivered)
    assert stage.adapter.reachable(address)


async def test_a_gateway_that_answers_no_heartbeat_is_left_by_its_own_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It says how often it wants to hear; what is silent for longer than that is not there."""
    stage = Stage(tmp_path, monkeypatch, heartbeat_seconds=0.2)
    stage.pace = replace(FAST, silence=3600.0)
    await stage.api.start()
    await stage.begin()
    stage.api.gateway.mute = True
    await eventually(lambda: stage.adapter.health().state is HealthState.DEGRADED)
    stage.api.gateway.mute = False
    await eventually(lambda: stage.adapter.health().state is HealthState.OK)
    await stage.end()


async def test_a_request_that_nobody_answers_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The library would wait for five minutes."""
    stage = Stage(tmp_path, monkeypatch)
    stage.pace = replace(FAST, request=0.2)
    await stage.api.start()
    channel = stage.people.channel("general")
    await stage.begin()
    stage.people.fail("POST /channels", hang=True)
    async with asyncio.timeout(5):
        assert not isinstance(await stage.deliver(channel, Text("hello")), Delivered)
    assert isinstance(await stage.deliver(channel, Text("hello")), Delivered)
    await stage.end()


async def test_a_network_that_is_away_at_the_start_is_told_and_tried_again(network: BadNetwork):
    stage = network.stage
    await stage.adapter.teardown()
    await network.proxy.change(Weather.REFUSED)
    with pytest.raises(Exception, match="can't be reached"):
        await stage.adapter.setup(stage.received)
    await stage.adapter.teardown()
    await network.proxy.change(Weather.FAIR)
    await stage.adapter.setup(stage.received)
    assert stage.adapter.health().state is HealthState.OK
