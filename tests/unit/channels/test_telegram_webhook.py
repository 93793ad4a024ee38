"""News from Telegram by webhook, through the appliance's own listener (F-177)."""

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from telegram_stage import ANN, Stage, staged

from nanoclawd.channels.adapter import ChannelPlaces, HealthState
from nanoclawd.channels.http_listener import HttpListener
from nanoclawd.errors import Unavailable
from nanoclawd.sessions.ports import Delivered, Text


@pytest.fixture
async def address() -> AsyncIterator[tuple[HttpListener, str]]:
    listener = HttpListener()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listener.open([server])
        yield listener, f"http://127.0.0.1:{port}/telegram/tele"
        await listener.close()


@pytest.fixture
async def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: tuple[HttpListener, str]
) -> AsyncIterator[Stage]:
    listener, url = address
    monkeypatch.setattr("telegram_stage.ChannelPlaces", lambda state, runtime: ChannelPlaces(state, runtime, listener))
    async with staged(tmp_path, monkeypatch, webhook=url) as made:
        await made.up()
        yield made


async def test_messages_come_and_go(stage: Stage):
    for number in range(5):
        stage.people.write(ANN, ANN, f"hello {number}")
    await stage.heard(5)
    await stage.people.acknowledged()
    assert [event.text for event in stage.received.events] == [f"hello {number}" for number in range(5)]
    assert isinstance(await stage.deliver(Text("and hello")), Delivered)
    assert stage.api.calls["getUpdates"] == 0
    assert stage.adapter.health().state is HealthState.OK
    account = await stage.adapter.account()
    assert account is not None


async def test_what_is_not_stored_is_not_acknowledged(stage: Stage):
    stage.received.refusals = [Unavailable("full")] * 3
    stage.people.write(ANN, ANN, "keep this")
    await stage.heard()
    await stage.people.acknowledged()
    assert stage.received.offered == 4
    assert [event.text for event in stage.received.events] == ["keep this"]


async def test_only_telegram_is_heard(stage: Stage, address: tuple[HttpListener, str]):
    _, url = address
    update = {
        "update_id": 1,
        "message": {"message_id": 1, "date": 1, "chat": {"id": ANN, "type": "private"}, "text": "x"},
    }
    secret = stage.api._webhook["secret"]
    assert len(secret) >= 32
    header = "X-Telegram-Bot-Api-Secret-Token"
    async with aiohttp.ClientSession() as client:
        for headers, path, body, status in (
            ({}, "", update, 401),
            ({header: "guess"}, "", update, 401),
            ({header: "é"}, "", update, 401),
            ({header: secret}, "/more", update, 404),
            ({header: secret}, "", "no update", 200),
            ({header: secret}, "", {"no": "number"}, 200),
            ({header: secret}, "", [], 200),
        ):
            async with client.post(url + path, data=json.dumps(body), headers=headers) as answer:
                assert answer.status == status
        async with client.post(url, data=b"\xff{", headers={header: secret}) as answer:
            assert answer.status == 200
    assert stage.received.events == []


async def test_a_restart_makes_another_secret_and_loses_nothing(stage: Stage):
    before = stage.api._webhook["secret"]
    await stage.adapter.teardown()
    stage.people.write(ANN, ANN, "meanwhile")
    await stage.up()
    assert stage.api._webhook["secret"] != before
    assert (await stage.heard()).text == "meanwhile"
    await stage.people.acknowledged()


async def test_an_update_that_comes_twice_is_one(stage: Stage, address: tuple[HttpListener, str]):
    stage.people.write(ANN, ANN, "once")
    update = dict(stage.api.world.updates[0])
    await stage.heard()
    await stage.people.acknowledged()
    headers = {"X-Telegram-Bot-Api-Secret-Token": stage.api._webhook["secret"]}
    async with aiohttp.ClientSession() as client, client.post(address[1], json=update, headers=headers) as answer:
        assert answer.status == 200
    assert len(stage.received.events) == 1
