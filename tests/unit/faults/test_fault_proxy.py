"""The bad network of the tests does what it says, or the tests that stand on it say nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fault_proxy import FaultProxy, RunningProxy, Weather

PATIENCE = 10.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1024):
        writer.write(chunk)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, FaultProxy(server.sockets[0].getsockname()[1], pause=0.01) as made:
        yield made


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, text: bytes) -> bytes:
        """Send something; return what comes back, empty where the connection was ended."""
        self._writer.write(text)
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(len(text))

    async def hears_nothing(self, text: bytes) -> bool:
        try:
            async with asyncio.timeout(0.2):
                await self.say(text)
        except TimeoutError:
            return True
        return False


async def connect(proxy: FaultProxy) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_in_fair_weather_all_gets_through(proxy: FaultProxy):
    client = await connect(proxy)
    assert await client.say(b"hello") == b"hello"
    assert proxy.taken == 1


async def test_refused(proxy: FaultProxy):
    client = await connect(proxy)
    assert await client.say(b"x") == b"x"
    await proxy.change(Weather.REFUSED)
    assert await client.say(b"y") == b""
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)
    await proxy.change(Weather.FAIR)
    assert await (await connect(proxy)).say(b"z") == b"z"


async def test_reset(proxy: FaultProxy):
    client = await connect(proxy)
    assert await client.say(b"x") == b"x"
    await proxy.change(Weather.RESET)
    with pytest.raises(ConnectionResetError):
        await client.say(b"y")


async def test_stalled_bytes_come_later(proxy: FaultProxy):
    client = await connect(proxy)
    assert await client.say(b"x") == b"x"
    await proxy.change(Weather.STALLED)
    assert await client.hears_nothing(b"late")
    await proxy.change(Weather.FAIR)
    assert await client.say(b"ok!!") == b"late"


async def test_lost_bytes_never_come(proxy: FaultProxy):
    client = await connect(proxy)
    assert await client.say(b"x") == b"x"
    await proxy.change(Weather.LOST)
    assert await client.hears_nothing(b"lost")
    await proxy.change(Weather.FAIR)
    assert await client.hears_nothing(b"lost too")
    assert await (await connect(proxy)).say(b"new") == b"new"


async def test_slow(proxy: FaultProxy):
    await proxy.change(Weather.SLOW)
    assert await (await connect(proxy)).say(b"slowly") == b"slowly"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_leaves_the_weather_fair(proxy: FaultProxy, reset: bool):
    client = await connect(proxy)
    assert await client.say(b"x") == b"x"
    await proxy.cut(reset=reset)
    if reset:
        with pytest.raises(ConnectionResetError):
            await client.say(b"y")
    else:
        assert await client.say(b"y") == b""
    assert proxy.open_connections == 0
    assert await (await connect(proxy)).say(b"z") == b"z"


async def test_from_another_thread(proxy: FaultProxy):
    def play() -> int:
        with RunningProxy(proxy.port) as running:
            running.change(Weather.RESET)
            running.cut()
            running.change(Weather.FAIR)
            return running.port

    assert await asyncio.to_thread(play) > 0
