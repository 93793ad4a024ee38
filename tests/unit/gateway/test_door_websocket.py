"""WebSocket through the door, with a real client and server of the protocol."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from door_stage import NAME, VALUE, Inside, Issuer, entered, forwarder, inside
from egress_stage import answers, status
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.gateway.door.websocket import Frames

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
# Key and proof are the example of RFC 6455, 1.3.
AGREED = (
    "HTTP/1.1 101 Switching\nUpgrade: websocket\nConnection: Upgrade\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)
AGREES = AGREED.replace("\n", "\r\n").encode() + b"\r\n\r\n"


@dataclass
class Chatty:
    """A server of WebSocket that says who it was told one is, and everything again."""

    seen: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.seen.append(dict(request.headers))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(f"you are {request.headers['Authorization']}")
        async for message in socket:
            if message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
            else:
                await socket.send_str(f"again: {message.data}")
        return socket


async def test_messages_go_both_ways_and_the_secret_does_not_come_back(place: Path):
    chatty, app = Chatty(), web.Application()
    app.router.add_get("/ws", chatty.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    issuer = Issuer()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=issuer.server(place, NAME)).start()
    port = runner.addresses[0][1]
    async with inside(place, lambda _: {"key": entered(port)}, issuer) as door:
        door.host.port = port
        door.bind(door.secret())
        trusted = await door.trust()
        async with (
            forwarder(door) as proxy,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"wss://{NAME}:{port}/ws", proxy=proxy, ssl=trusted, compress=15) as socket,
        ):
            assert await socket.receive_str() == "you are Bearer " + "*" * len(VALUE)
            for text in ("one", "two", "x" * 300_000):
                await socket.send_str(text)
                assert await socket.receive_str() == f"again: {text}"
            await socket.send_bytes(bytes(range(256)) * 1000)
            assert await socket.receive_bytes() == bytes(range(256)) * 1000
            await socket.close()
    assert "Sec-WebSocket-Extensions" not in chatty.seen[0], "what is packed could not be searched"
    await runner.cleanup()


async def test_the_head_of_a_socket_is_searched_too(door: Inside):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Said: {VALUE}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        await reader.read()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n{UPGRADE}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"X-Said: " + b"*" * len(VALUE) in head
    writer.close()


async def test_a_socket_ends_with_its_permission(door: Inside):
    go = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(AGREES + b"\x82\x05first")
        await writer.drain()
        await go.wait()
        writer.write(b"\x82\x06second")
        await writer.drain()
        await reader.read()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n{UPGRADE}\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await reader.readexactly(7) == b"\x82\x05first"
    door.bind(door.secret(), rules=[])
    go.set()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(6), 5)
    writer.close()


@pytest.mark.parametrize("bound", ["max_received", "max_sent"])
async def test_a_rule_bounds_a_socket_each_way(door: Inside, bound: str):
    """Bytes of frames, heads and all: what is beyond the bound ends it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(1000):
            door.host.heard.append(data)
            writer.write(b"\x82\x05first")

    door.bind(door.secret(), rules=[door.rule(**{bound: 7})])
    door.host.serving = serve
    reader, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n{UPGRADE}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(2):
        writer.write(b"123")
        assert await reader.readexactly(7) == b"\x82\x05first"
        if bound == "max_received":
            break
    writer.write(b"456")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(7), 5)
    assert b"".join(door.host.heard) == (b"123456" if bound == "max_received" else b"123123")
    writer.close()


@given(
    frames=st.lists(st.tuples(st.binary(max_size=200), st.sampled_from([1, 125, 126, 127]), st.booleans()), max_size=6),
    cuts=st.lists(st.integers(0, 1500), max_size=8),
)
def test_frames_are_walked_over_however_they_come(frames: list[tuple[bytes, int, bool]], cuts: list[int]):
    """Nothing is held back behind a frame's end, lengths stay, and a secret within a frame is not left."""
    said = expected = b""
    for payload, form, has_secret in frames:
        text = payload + b"secret-in-a-frame" * has_secret + payload[:20]
        head = _head_of(len(text), form)
        said += head + text
        expected += head + text.replace(b"secret-in-a-frame", b"*" * 17)
    walked, begin, found = Frames([b"secret-in-a-frame"]), 0, b""
    for end in sorted(min(cut, len(said)) for cut in [*cuts, len(said)]):
        found += walked.feed(said[begin:end])
        begin = end
    assert found == expected


def test_a_frame_that_ends_as_a_secret_begins_is_whole():
    """Somebody may wait for it, so a secret that is spread over frames is not found."""
    walked = Frames([b"secret"])
    assert walked.feed(b"\x82\x05a sec") == b"\x82\x05a sec"
    assert walked.feed(b"\x82\x03ret") == b"\x82\x03ret"


def _head_of(length: int, form: int) -> bytes:
    if form == 127:
        return b"\x82\x7f" + length.to_bytes(8)
    if form == 126 or length > 125:
        return b"\x82\x7e" + length.to_bytes(2)
    return bytes((0x82, length))


@pytest.mark.parametrize("frame", [b"\xc2\x01a", b"\x82\x81abcda"])
def test_packed_and_masked_frames_are_not_for_an_agent(frame: bytes):
    with pytest.raises(ConnectionResetError):
        Frames([b"x"]).feed(frame)


async def test_silence_ends_it(door: Inside):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(AGREES)
        await reader.read()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n{UPGRADE}\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        (False, AGREED),
        (True, AGREED.replace("websocket", "h2c")),
        (True, f"{AGREED}\nSec-WebSocket-Extensions: x"),
        (True, AGREED.replace("s3p", "S3p")),
        (True, AGREED.rpartition("\n")[0]),
    ],
)
async def test_a_host_changes_to_nothing_that_nobody_asked_for(door: Inside, asked: bool, head: str):
    door.host.serving = answers(head, b"more")
    answer = await door.fetch("/", UPGRADE if asked else "")
    assert status(answer) == 502


async def test_a_host_that_does_not_want_to_answers_as_ever(door: Inside):
    door.host.serving = answers("HTTP/1.1 403 No\nContent-Length: 3", b"no!", door.host.heard)
    answer = await door.fetch("/", UPGRADE)
    assert status(answer) == 403
    assert answer.endswith(b"no!")
    assert b"Upgrade: websocket" in door.host.heard[0]


@pytest.mark.parametrize(
    ("headers", "method", "body"),
    [
        ("Upgrade: h2c\r\nHTTP2-Settings: x\r\n", "GET", b""),
        (f"{UPGRADE}Content-Length: 3\r\n", "GET", b"abc"),
        (UPGRADE, "DELETE", b""),
        (UPGRADE.replace("Connection: Upgrade\r\n", ""), "GET", b""),
    ],
    ids=["another", "with a body", "another method", "not this connection's"],
)
async def test_other_upgrades_are_not_asked_for(door: Inside, headers: str, method: str, body: bytes):
    door.host.serving = answers("HTTP/1.1 200 OK\nContent-Length: 3", b"yes", door.host.heard)
    assert status(await door.fetch("/", headers, method, body)) == 200
    assert b"pgrade" not in door.host.heard[0]
