"""The Matrix channel on bad networks, with a server that asks to wait, and with odd events (W-39).

``NANOCLAW_SOAK_WEATHERS`` says through how many kinds of weather, one after the other, messages go both ways (10).
"""

import asyncio
import gc
import os
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fault_proxy import FaultProxy, Weather
from homeserver.server import Homeserver
from nanoclawd.channels.adapter import HealthState
from nanoclawd.channels.matrix.own_loop import OwnLoop
from nanoclawd.channels.matrix.pace import Pace
from nanoclawd.errors import Unavailable
from nanoclawd.sessions.ports import Delivered, PartialText, Text, Undelivered
from unit.channels.contract import Received, outgoing
from unit.channels.matrix.stage import Stage, staged

WEATHERS = int(os.environ.get("NANOCLAW_SOAK_WEATHERS", "10"))
QUICK = Pace(long_poll=0.5, grace=0.7, request=1.0, longest_pause=0.5, key_patience=1.0)


@pytest.fixture
async def proxy(server: Homeserver) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(server.port, pause=0.01) as made:
        yield made


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def delivered(stage: Stage, room: str, text: str, name: str, in_reply_to: str | None = None) -> None:
    """Deliver as the appliance does: again and again, under the same name."""
    what = replace(outgoing(stage.address(room), Text(text), name), in_reply_to=in_reply_to)
    async with asyncio.timeout(120):
        while True:
            outcome = await stage.adapter.deliver(what)
            if isinstance(outcome, Delivered):
                return
            assert not outcome.permanent, outcome
            await asyncio.sleep(0.1)  # the appliance's pause between two attempts


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_whatever_the_network_does_every_message_arrives_once_and_in_order(
    server: Homeserver,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    received: Received,
    encrypted: bool,
):
    chance = random.Random(20260101)
    url = f"http://127.0.0.1:{proxy.port}"
    async with staged(server, tmp_path, 1000 + encrypted, monkeypatch, homeserver=url) as stage:
        stage.pace = QUICK
        stage.adapter = stage.make()
        await stage.adapter.setup(received)
        room = await stage.meet(encrypted=encrypted)
        await delivered(stage, room, "out 0", "out-0")
        await stage.ada.say(room, "in 0")
        await received.until(lambda: received.events)
        before = open_files()
        sent = ["in 0"]

        async def weather() -> None:
            for kind in (chance.choice(list(Weather)) for _ in range(WEATHERS)):
                await proxy.change(kind)
                await asyncio.sleep(chance.uniform(0.3, 1.5))  # the weather lasts
                if chance.random() < 0.3:
                    await proxy.cut(reset=chance.random() < 0.5)
                await proxy.change(Weather.FAIR)
                await asyncio.sleep(chance.uniform(0.0, 0.4))  # as above

        async def people() -> None:
            while not changing.done():
                sent.append(f"in {len(sent)}")
                await stage.ada.say(room, sent[-1])
                await asyncio.sleep(chance.uniform(0.05, 0.3))  # people do not write all at once

        changing = asyncio.create_task(weather())
        talking = asyncio.create_task(people())
        number = 1
        while not changing.done():
            await delivered(stage, room, f"out {number}", f"out-{number}")
            number += 1
        await asyncio.gather(changing, talking)
        async with asyncio.timeout(60):
            await received.until(lambda: len({one.message_id for one in received.events}) >= len(sent))
        told = list({one.message_id: one.text for one in received.events}.values())
        assert told == sent
        await stage.ada.hears(room, f"out {number - 1}")
        assert stage.ada.texts(room) == [f"out {one}" for one in range(number)]
        assert not stage.ada.unreadable
        assert stage.adapter.health().state is HealthState.OK
        assert open_files() <= before + 8
        assert not received.lost_for
        assert not received.aside


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
async def test_the_beginning_of_an_answer_does_not_stay_behind(
    server: Homeserver,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    received: Received,
    encrypted: bool,
):
    """Neither where the server took it unheard, nor where the turn ends while the server is away."""
    url = f"http://127.0.0.1:{proxy.port}"
    async with staged(server, tmp_path, 1200 + encrypted, monkeypatch, homeserver=url) as stage:
        stage.pace = QUICK
        stage.adapter = stage.make()
        await stage.adapter.setup(received)
        room = await stage.meet(encrypted=encrypted)
        await delivered(stage, room, "here", "out-0")
        ada, address = stage.ada, stage.address(room)
        beginning = "This is how an answer begins that takes its time to be written."
        await proxy.change(Weather.TORN)
        stage.adapter.show_progress(address, PartialText("question", beginning))
        await ada.hears(room, f"{beginning} …")
        await proxy.change(Weather.FAIR)
        await delivered(stage, room, "This is the whole answer.", "out-1", in_reply_to="question")
        await ada.hears(room, "This is the whole answer.")
        assert ada.texts(room) == ["here", "This is the whole answer."]
        stage.adapter.show_progress(address, PartialText("another", beginning))
        await ada.hears(room, f"{beginning} …")
        await proxy.change(Weather.REFUSED)
        await stage.adapter.end_turn(address, "another", completed=False)
        await proxy.change(Weather.FAIR)
        await ada.until(lambda: len(ada.texts(room)) == 2, "half an answer is taken back", 60)


async def test_a_sign_of_work_that_cannot_be_shown_harms_nobody(
    server: Homeserver, proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Received
):
    url = f"http://127.0.0.1:{proxy.port}"
    async with staged(server, tmp_path, 1100, monkeypatch, homeserver=url) as stage:
        stage.pace = QUICK
        stage.adapter = stage.make()
        await stage.adapter.setup(received)
        room = await stage.meet()
        await delivered(stage, room, "here", "out-0")
        await proxy.change(Weather.REFUSED)
        await stage.adapter.set_typing(stage.address(room))
        await stage.adapter.end_turn(stage.address(room), "nothing was shown", completed=False)


async def test_the_error_of_a_call_that_nobody_waits_for_is_not_told_to_the_journal():
    told: list[dict[str, object]] = []
    begun = asyncio.Event()
    home = asyncio.get_running_loop()
    own = OwnLoop.borrow()
    try:

        async def failing() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
            home.call_soon_threadsafe(begun.set)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise Unavailable("away") from None

        async def rest_of_the_loop() -> None:
            if others := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(others)

        call = asyncio.create_task(own.run(failing()))
        await begun.wait()
        call.cancel()
        await asyncio.wait({call})
        await own.run(rest_of_the_loop())
    finally:
        await own.give_back()
    del call
    gc.collect()
    assert not told


async def test_a_server_that_asks_to_wait_is_given_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, received: Received
):
    strict = {"rc_message": {"per_second": 0.5, "burst_count": 3}}
    server = Homeserver(tmp_path / "strict", limits=strict)
    await asyncio.to_thread(server.start)
    try:
        (tmp_path / "stage").mkdir()
        async with staged(server, tmp_path / "stage", 1, monkeypatch) as stage:
            await stage.adapter.setup(received)
            room = await stage.meet()
            outcomes = [
                await stage.adapter.deliver(outgoing(stage.address(room), Text(f"text {number}"), f"row-{number}"))
                for number in range(6)
            ]
            refused = [one for one in outcomes if isinstance(one, Undelivered)]
            assert refused
            for one in refused:
                assert not one.permanent
                assert one.retry_after is not None
                assert 0 < one.retry_after <= 60
            # After that time it is taken.
            last = refused[-1].retry_after
            assert last is not None
            await asyncio.sleep(last + 0.1)  # as long as the server has said
            again = await stage.adapter.deliver(outgoing(stage.address(room), Text("at last"), "row-last"))
            assert isinstance(again, Delivered)
    finally:
        server.stop()
