"""The proxy of the channels' tests does to connections what its faults say."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fault_proxy import Fault, FaultProxy


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    """A proxy before a server that says everything again."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(1000):
            writer.write(block)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = FaultProxy(server.sockets[0].getsockname()[1])
    await made.start()
    yield made
    await made.stop()
    server.close()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, proxy: FaultProxy) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.port))

    async def ask(self, text: str, seconds: float = 5.0) -> str:
        self.writer.write(text.encode())
        return await self.hear(len(text), seconds)

    async def hear(self, length: int, seconds: float = 5.0) -> str:
        async with asyncio.timeout(seconds):
            return (await self.reader.readexactly(length)).decode()


async def test_nothing_is_changed_without_a_fault(proxy: FaultProxy):
    client = await Client.connect(proxy)
    assert await client.ask("hello") == "hello"
    assert proxy.connections == 1


async def test_a_cut_ends_connections_in_order(proxy: FaultProxy):
    client = await Client.connect(proxy)
    await client.ask("hello")
    await proxy.now(Fault.CUT)
    with pytest.raises(asyncio.IncompleteReadError):
        await client.hear(1)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await (await Client.connect(proxy)).ask("again")


async def test_a_reset_breaks_them(proxy: FaultProxy):
    client = await Client.connect(proxy)
    await client.ask("hello")
    await proxy.now(Fault.RESET)
    with pytest.raises(ConnectionResetError):
        await client.hear(1)
    await proxy.now(Fault.NONE)
    assert await (await Client.connect(proxy)).ask("again") == "again"


async def test_nobody_listens_while_it_refuses(proxy: FaultProxy):
    await proxy.now(Fault.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(proxy)
    await proxy.now(Fault.NONE)
    assert await (await Client.connect(proxy)).ask("again") == "again"


async def test_what_is_held_comes_later(proxy: FaultProxy):
    client = await Client.connect(proxy)
    await client.ask("hello")
    await proxy.now(Fault.STALL)
    with pytest.raises(TimeoutError):
        await client.ask("held", 0.2)
    await proxy.now(Fault.NONE)
    assert await client.hear(4) == "held"


async def test_what_goes_into_a_half_open_connection_is_lost(proxy: FaultProxy):
    client = await Client.connect(proxy)
    await client.ask("hello")
    await proxy.now(Fault.HALF_OPEN)
    with pytest.raises(TimeoutError):
        await client.ask("lost", 0.2)
    await proxy.now(Fault.NONE)
    with pytest.raises(TimeoutError):
        await client.hear(1, 0.2)
    assert await (await Client.connect(proxy)).ask("again") == "again"


async def test_slow_is_slow_and_whole(proxy: FaultProxy):
    client = await Client.connect(proxy)
    await proxy.now(Fault.SLOW)
    text = "x" * 2000
    began = asyncio.get_running_loop().time()
    assert await client.ask(text) == text
    assert asyncio.get_running_loop().time() - began > 0.3
