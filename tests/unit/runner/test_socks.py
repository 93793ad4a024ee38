"""SOCKS 5 at the forwarder: each request becomes one CONNECT, and the gateway's answer one reply."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from nanoclaw_runner import forwarder as forwarders
from nanoclaw_runner.forwarder import Forwarder
from nanoclaw_runner.way_out import WayOut, variables

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Gateway:
    """Answers as a test says, keeps what it was asked, and then gives back what it gets."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answer = OPEN
        self.tasks: list[asyncio.Task[None]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.tasks.append(task)
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            while data := await reader.read(1000):
                writer.write(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def door(tmp_path: Path, gateway: Gateway) -> AsyncIterator[Forwarder]:
    server = await asyncio.start_unix_server(gateway.serve, tmp_path / "gateway.sock")
    opened = Forwarder(tmp_path / "gateway.sock")
    yield opened
    await opened.close()
    server.close()
    for task in gateway.tasks:
        task.cancel()
    await asyncio.gather(*gateway.tasks, return_exceptions=True)


async def connect(door: Forwarder) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(await door.open())
    return await asyncio.open_connection(address.hostname, address.port)


async def ask(door: Forwarder, request: bytes) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await connect(door)
    writer.write(b"\x05\x02\x00\x02")
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(request)
    return await asyncio.wait_for(reader.read(10), 5), reader, writer


NAME = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (NAME, b"example.org:443"),
        (b"\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", b"192.0.2.1:80"),
        (b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\x00\x50", b"[2001:db8::1]:80"),
    ],
)
async def test_a_request_becomes_a_connect(door: Forwarder, gateway: Gateway, request_: bytes, where: bytes):
    reply, reader, writer = await ask(door, request_)
    assert reply == b"\x05\x00\x00\x01" + bytes(6)
    assert gateway.asked == [b"CONNECT " + where + b" HTTP/1.1\r\nHost: " + where + b"\r\n\r\n"]
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_what_the_host_says_first_comes_behind_the_reply(door: Forwarder, gateway: Gateway):
    gateway.answer = OPEN + b"SSH-2.0"
    reply, reader, writer = await ask(door, NAME)
    assert reply[:2] == b"\x05\x00"
    assert await reader.readexactly(7) == b"SSH-2.0"
    writer.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nwords", 2),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n", 4),
        (b"HTTP/1.1 504 Slow\r\nContent-Length: 0\r\n\r\n", 4),
        (b"HTTP/1.1 429 Many\r\nContent-Length: 0\r\n\r\n", 1),
        (b"nonsense\r\n\r\n", 1),
    ],
)
async def test_a_refusal_is_a_reply(door: Forwarder, gateway: Gateway, answer: bytes, code: int):
    gateway.answer = answer
    reply, reader, writer = await ask(door, NAME)
    assert reply == b"\x05" + bytes([code]) + b"\x00\x01" + bytes(6)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"\x05\x02\x00\x03\x0bexample.org\x01\xbb", 7),
        (b"\x05\x03\x00\x03\x0bexample.org\x01\xbb", 7),
        (b"\x05\x01\x00\x03\x0bexample\r\nrg\x01\xbb", 8),
        (b"\x05\x01\x00\x03\x0bexample:org\x01\xbb", 8),
        (b"\x05\x01\x00\x03\x0b\xffxample.org\x01\xbb", 8),
        (b"\x05\x01\x00\x03\x00\x01\xbb", 8),
        (b"\x05\x01\x00\x09\x01\xbb", 8),
    ],
)
async def test_what_is_no_connection_to_a_host_asks_the_gateway_nothing(
    door: Forwarder, gateway: Gateway, request_: bytes, code: int
):
    reply, _, writer = await ask(door, request_)
    assert reply[:2] == b"\x05" + bytes([code])
    assert not gateway.asked
    writer.close()


async def test_a_client_that_insists_on_a_password_is_turned_away(door: Forwarder):
    reader, writer = await connect(door)
    writer.write(b"\x05\x01\x02")
    assert await asyncio.wait_for(reader.read(), 5) == b"\x05\xff"
    writer.close()


async def test_http_goes_through_untouched(door: Forwarder, gateway: Gateway):
    reader, writer = await connect(door)
    writer.write(b"GET http://example.org/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readexactly(len(OPEN))) == OPEN
    assert gateway.asked == [b"GET http://example.org/ HTTP/1.1\r\nHost: x\r\n\r\n"]
    writer.close()


async def test_connections_are_bounded(door: Forwarder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(forwarders, "MAX_CONNECTIONS", 2)
    held = []
    for _ in range(2):
        _, reader, writer = await ask(door, NAME)
        held.append((reader, writer))
    reader, writer = await connect(door)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    writer.close()
    for _, open_one in held:
        open_one.close()


async def test_the_variables_name_one_door_for_everything(tmp_path: Path):
    way_out = WayOut(tmp_path / "gateway.sock")
    found = await way_out.variables()
    assert found == await way_out.variables()
    address = await way_out.forwarder.open()
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"):
        assert found[name] == address
    assert found["NO_PROXY"] == found["no_proxy"] == "localhost,127.0.0.1,::1"
    assert found.keys() == variables("x", tmp_path / "gateway.sock").keys()
    await way_out.forwarder.close()


def test_what_the_gateway_signs_is_trusted_once_it_signs(tmp_path: Path):
    """Before its first start there is nothing to trust, and a variable that named it would break every program."""
    before = variables("x", tmp_path / "gateway.sock")
    bundle = tmp_path / "trust" / "bundle.pem"
    bundle.parent.mkdir()
    bundle.write_text("certificates")
    more = {name: value for name, value in variables("x", tmp_path / "gateway.sock").items() if name not in before}
    assert set(more.values()) == {str(bundle)}
    assert {"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT"} <= more.keys()
