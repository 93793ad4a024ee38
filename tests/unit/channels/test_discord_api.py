"""The Discord that the channel is tested against keeps the documentation's rules: a client that breaks them notices."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from discord_api import interactions
from discord_api.limits import Limit
from discord_api.server import DiscordApi
from eventually import eventually

TOKEN = "a-token"
INTENTS = 1 | 1 << 9 | 1 << 12 | 1 << 15


@pytest.fixture
async def api() -> AsyncIterator[DiscordApi]:
    server = await DiscordApi(TOKEN, heartbeat_seconds=0.2).unlimited().start()
    yield server
    await server.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bot {TOKEN}"}) as session:
        yield session


class Gateway:
    """A client of the gateway, without any comfort."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    @classmethod
    async def connect(cls, http: aiohttp.ClientSession, api: DiscordApi) -> "Gateway":
        made = cls(await http.ws_connect(f"{api.gateway.url}?v=10&encoding=json"))
        assert (await made.next())["op"] == 10
        return made

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            found: dict[str, Any] = await self.socket.receive_json()
        return found

    async def send(self, op: int, data: object) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def identify(self, token: str = TOKEN, intents: int = INTENTS) -> None:
        await self.send(2, {"token": token, "intents": intents, "properties": {}})

    async def closed_with(self) -> int | None:
        async with asyncio.timeout(5):
            while not self.socket.closed:
                await self.socket.receive()
        return self.socket.close_code


async def test_a_client_that_does_not_beat_is_closed(api: DiscordApi, http: aiohttp.ClientSession):
    gateway = await Gateway.connect(http, api)
    await gateway.identify()
    assert await gateway.closed_with() == 4009


async def test_a_heartbeat_is_acknowledged(api: DiscordApi, http: aiohttp.ClientSession):
    gateway = await Gateway.connect(http, api)
    await gateway.send(1, None)
    assert (await gateway.next())["op"] == 11


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (["no json"], 4002),
        ([json.dumps({"op": 4})], 4003),
        ([json.dumps({"op": 2, "d": {"token": "wrong", "intents": 1}})], 4004),
        ([json.dumps({"op": 2, "d": {"token": TOKEN, "intents": 1}})] * 2, 4005),
        ([json.dumps({"op": 2, "d": {"token": TOKEN, "intents": 1}}), json.dumps({"op": 99})], 4001),
        ([json.dumps({"op": 2, "d": {"token": TOKEN, "intents": 1 << 40}})], 4013),
        ([json.dumps({"op": 1, "d": None})] * 121, 4008),
    ],
)
async def test_what_is_wrong_closes_with_its_code(
    api: DiscordApi, http: aiohttp.ClientSession, frames: list[str], code: int
):
    gateway = await Gateway.connect(http, api)
    for frame in frames:
        await gateway.socket.send_str(frame)
    assert await gateway.closed_with() == code


async def test_reading_all_has_to_be_allowed(api: DiscordApi, http: aiohttp.ClientSession):
    api.world.content_allowed = False
    gateway = await Gateway.connect(http, api)
    await gateway.identify()
    assert await gateway.closed_with() == 4014


async def test_a_session_is_resumed_from_a_number_on(api: DiscordApi, http: aiohttp.ClientSession):
    api.gateway.heartbeat_seconds = 30
    channel = api.people.channel("general")
    first = await Gateway.connect(http, api)
    await first.identify()
    ready, guild = await first.next(), await first.next()
    assert (ready["t"], ready["s"], guild["t"], guild["s"]) == ("READY", 1, "GUILD_CREATE", 2)
    assert ready["d"]["resume_gateway_url"] == api.gateway.url
    await first.socket.close()
    api.people.say(channel, "missed")
    again = await Gateway.connect(http, api)
    await again.send(6, {"token": TOKEN, "session_id": ready["d"]["session_id"], "seq": 2})
    missed, resumed = await again.next(), await again.next()
    assert (missed["d"]["content"], missed["s"], resumed["t"]) == ("missed", 3, "RESUMED")
    unknown = await Gateway.connect(http, api)
    await unknown.send(6, {"token": TOKEN, "session_id": "none", "seq": 2})
    assert await unknown.next() == {"op": 9, "d": False}
    ahead = await Gateway.connect(http, api)
    await ahead.send(6, {"token": TOKEN, "session_id": ready["d"]["session_id"], "seq": 99})
    assert await ahead.closed_with() == 4007


async def test_events_come_for_the_intents_that_were_named(api: DiscordApi, http: aiohttp.ClientSession):
    api.gateway.heartbeat_seconds = 30
    channel, direct = api.people.channel("general"), api.people.dm("Carol")
    gateway = await Gateway.connect(http, api)
    await gateway.identify(intents=1 << 12)
    await gateway.next()
    api.people.say(channel, "in a server")
    api.people.say(direct, "direct", "Carol")
    assert (await gateway.next())["d"]["content"] == "direct"
    blind = await Gateway.connect(http, api)
    await blind.identify(intents=1 << 9)
    await blind.next()
    api.people.say(channel, "not for you")
    api.people.say(channel, "for you", mention=True)
    assert [(await blind.next())["d"]["content"] for _ in range(2)] == ["", f"<@{api.world.bot['id']}> for you"]


BUTTON = {"type": 2, "style": 2, "label": "Yes", "custom_id": "a"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"content": "x" * 2001}, 400, 50035),
        ({"content": "\N{GRINNING FACE}" * 1001}, 400, 50035),
        ({"content": " "}, 400, 50006),
        ({}, 400, 50006),
        ({"content": "x", "nonce": "n" * 26}, 400, 50035),
        ({"embeds": [{"title": "x" * 257}]}, 400, 50035),
        ({"embeds": [{"description": "x" * 4096}, {"description": "x" * 4096}]}, 400, 50035),
        ({"components": [{"type": 1, "components": [{**BUTTON, "custom_id": "x" * 101}]}]}, 400, 50035),
        ({"components": [{"type": 1, "components": [BUTTON, BUTTON]}]}, 400, 50035),
        ({"components": [{"type": 1, "components": [{**BUTTON, "custom_id": str(n)} for n in range(6)]}]}, 400, 50035),
        ({"components": [{"type": 1, "components": [{**BUTTON, "label": "x" * 81}]}]}, 400, 50035),
        ({"components": [{"type": 1, "components": [{**BUTTON, "custom_id": str(n)}]} for n in range(6)]}, 400, 50035),
        ({"content": "x" * 2000}, 200, None),
    ],
)
async def test_messages_have_their_limits(
    api: DiscordApi, http: aiohttp.ClientSession, body: dict[str, Any], status: int, code: int | None
):
    channel = api.people.channel("general")
    async with http.post(f"{api.url}/api/v10/channels/{channel}/messages", json=body) as response:
        assert (response.status, (await response.json()).get("code")) == (status, code)
    assert len(api.people.texts(channel)) == (status == 200)


async def test_a_nonce_makes_one_message_of_two(api: DiscordApi, http: aiohttp.ClientSession):
    channel = api.people.channel("general")
    ids = set()
    for enforce in (True, True, False):
        body = {"content": "x", "nonce": "n", "enforce_nonce": enforce}
        async with http.post(f"{api.url}/api/v10/channels/{channel}/messages", json=body) as response:
            ids.add((await response.json())["id"])
    assert len(ids) == 2


async def test_limits_are_told_and_kept(api: DiscordApi, http: aiohttp.ClientSession):
    channel = api.people.channel("general")
    api.rest.buckets.routes["POST messages"] = Limit(2, 60.0)
    found = []
    for _ in range(3):
        async with http.post(f"{api.url}/api/v10/channels/{channel}/messages", json={"content": "x"}) as response:
            found.append((response.status, response.headers.get("X-RateLimit-Remaining"), await response.json()))
    assert [(status, left) for status, left, _body in found] == [(200, "1"), (200, "0"), (429, "0")]
    assert 0 < found[-1][2]["retry_after"] <= 60
    assert found[-1][2]["global"] is False
    # Another channel has a bucket of its own.
    other = api.people.channel("other")
    async with http.post(f"{api.url}/api/v10/channels/{other}/messages", json={"content": "x"}) as response:
        assert response.status == 200
    api.rest.buckets.everything = Limit(1, 60.0)
    async with http.get(f"{api.url}/api/v10/users/@me") as response:
        assert (response.status, (await response.json())["global"]) == (429, True)


async def test_an_interaction_has_to_be_answered_in_time(
    api: DiscordApi, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(interactions, "ANSWER_SECONDS", 0.05)
    channel = api.people.channel("general")
    api.world.commands = [{"id": "1", "name": "help"}]
    late = api.interactions.slash("Bob", channel, "help")
    await eventually(lambda: late.failed)
    url = f"{api.url}/api/v10/interactions/{late.id}/{late.token}/callback"
    async with http.post(url, json={"type": 4, "data": {"content": "x"}}) as response:
        assert (response.status, (await response.json())["code"]) == (404, 10062)
    monkeypatch.setattr(interactions, "ANSWER_SECONDS", 3.0)
    fine = api.interactions.slash("Bob", channel, "help")
    url = f"{api.url}/api/v10/interactions/{fine.id}/{fine.token}/callback"
    async with http.post(url, json={"type": 6}) as response:
        assert response.status == 400, "there is no message to update"
    async with http.post(url, json={"type": 4, "data": {"content": "x", "flags": 64}}) as response:
        assert response.status == 204
    async with http.post(url, json={"type": 4, "data": {"content": "x"}}) as response:
        assert (await response.json())["code"] == 40060
    assert api.people.interaction(fine.id)["words"] == ["x"]


async def test_who_is_not_the_bot_may_nothing(api: DiscordApi):
    async with aiohttp.ClientSession() as stranger, stranger.get(f"{api.url}/api/v10/users/@me") as response:
        assert response.status == 401
