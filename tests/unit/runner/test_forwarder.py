"""The door on the container's loopback that leads to the gateway's socket."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nanoclaw_runner.forwarder import Forwarder


@pytest.fixture
def gone() -> asyncio.Event:
    """Set when the gateway has lost a caller."""
    return asyncio.Event()


@pytest.fixture
async def forwarder(tmp_path: Path, gone: asyncio.Event) -> AsyncIterator[Forwarder]:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1024):
            writer.write(chunk.upper())
            await writer.drain()
            if chunk.endswith(b"."):
                writer.write(b"<end>")
                break
        else:
            gone.set()
        writer.close()

    server = await asyncio.start_unix_server(shout, tmp_path / "gateway.sock")
    opened = Forwarder(tmp_path / "gateway.sock")
    yield opened
    await opened.close()
    server.close()


async def connect(forwarder: Forwarder) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(await forwarder.open())
    assert address.hostname == "127.0.0.1"
    return await asyncio.open_connection(address.hostname, address.port)


async def test_bytes_go_both_ways_as_they_come(forwarder: Forwarder):
    reader, writer = await connect(forwarder)
    for words in (b"one", b"two"):
        writer.write(words)
        assert await reader.readexactly(3) == words.upper()
    writer.write(b".")
    assert await reader.read() == b".<end>", "the gateway's end is the connection's"
    writer.close()


async def test_a_caller_that_leaves_leaves_nothing_behind(forwarder: Forwarder, gone: asyncio.Event):
    """A client that was killed in mid-answer must not keep a model at work."""
    reader, writer = await connect(forwarder)
    writer.write(b"one")
    await reader.readexactly(3)
    writer.close()
    async with asyncio.timeout(5):
        await gone.wait()


async def test_it_is_opened_once(forwarder: Forwarder):
    assert await forwarder.open() == await forwarder.open()


async def test_many_at_once(forwarder: Forwarder):
    async def one(number: int) -> bytes:
        reader, writer = await connect(forwarder)
        writer.write(b"x" * 100_000 + str(number).encode() + b".")
        return await reader.read()

    answers = await asyncio.gather(*map(one, range(8)))
    assert answers == [b"X" * 100_000 + str(number).encode() + b".<end>" for number in range(8)]


async def test_without_a_gateway_the_connection_ends(tmp_path: Path):
    forwarder = Forwarder(tmp_path / "nobody.sock")
    reader, writer = await connect(forwarder)
    assert await reader.read() == b""
    writer.close()
    await forwarder.close()


async def test_closing_ends_what_is_open(forwarder: Forwarder):
    reader, writer = await connect(forwarder)
    writer.write(b"one")
    await reader.readexactly(3)
    await forwarder.close()
    assert await reader.read() == b""
    writer.close()


async def test_where_others_flood_the_gateways_queue_a_caller_waits_for_its_place(tmp_path: Path):
    """The kernel turns away who can't wait: what it says then is no connection, and none that is in the making."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as first:
        full.bind(path)
        full.listen(0)
        first.connect(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as other:
            assert other.connect_ex(path) == errno.EAGAIN
        opened = Forwarder(Path(path))
        reader, writer = await connect(opened)
        writer.write(b"words")
        full.setblocking(False)
        loop = asyncio.get_running_loop()
        (await loop.sock_accept(full))[0].close()
        async with asyncio.timeout(5):
            served, _ = await loop.sock_accept(full)
            assert await loop.sock_recv(served, 100) == b"words"
            await loop.sock_sendall(served, b"answer")
            assert await reader.readexactly(6) == b"answer"
        served.close()
        writer.close()
        await opened.close()
