"""Agents that lie within TLS, or about it: refused, and nobody else feels it."""

import asyncio
import contextlib
import resource
import socket
import ssl
from pathlib import Path

import pytest
from door_stage import NAME, VALUE, Inside, inside
from egress_stage import answers, status
from test_peers import call_as

from nanoclawd.gateway import secure

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", b"12345"),
        ("Content-Length: +4\r\n", b"1234"),
        ("Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        ("X: 1\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("X: a\rb\r\n", b""),
        ("X: a\r\n folded\r\n", b""),
        ("Host: other.test\r\n", b""),
    ],
    ids=range(11),
)
async def test_an_ambiguous_head_is_refused(door: Inside, head: str, body: bytes):
    door.host.serving = answers(OK, b"hello", door.host.heard)
    answer = await door.fetch("/", head, "POST", body)
    assert status(answer) in (400, 501), answer[:200]
    assert not door.host.heard


@pytest.mark.parametrize(
    "host",
    [
        "other.test:{port}",
        NAME,
        f"{NAME}:1",
        f"user@{NAME}:{{port}}",
        f"x.{NAME}:{{port}}",
        "",
        f"{NAME}:{{port}}, x",
        "[",
    ],
)
async def test_another_host_within_the_tunnel_is_refused(door: Inside, host: str):
    """The name in the tunnel's address, in the certificate and in the request are one."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    named = host.format(port=door.host.port)
    answer = await door.say(f"GET / HTTP/1.1\r\nHost: {named}\r\n\r\n".encode())
    assert status(answer) in (400, 421)
    assert not door.host.heard


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "https://other.test/"),
        ("GET", f"https://{NAME}/"),
        ("GET", "http://127.0.0.1/"),
        ("GET", "*"),
        ("OPTIONS", "*"),
        ("GET", "/a#b"),
        ("GET", "/a\\b"),
        ("CONNECT", f"{NAME}:443"),
        ("CONNECT", "/"),
        ("TRACE", "/"),
        ("get", "/"),
        ("GET", "//user@other.test:0/" + "x" * 9000),
    ],
)
async def test_a_target_within_the_tunnel_is_a_path(door: Inside, method: str, target: str):
    door.host.serving = answers(OK, b"hello", door.host.heard)
    answer = await door.fetch(target, method=method)
    assert status(answer) in (400, 405)
    assert not door.host.heard


async def test_another_name_in_the_handshake_is_refused(door: Inside):
    context = await door.trust()
    context.check_hostname = False
    _, writer = await door.connect(f"{NAME}:{door.host.port}")
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await writer.start_tls(context, server_hostname="other.test")
    assert not door.host.connections


async def test_old_tls_is_refused(door: Inside):
    context = await door.trust()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await door.open_tls(context=context)


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"\0"]
)
async def test_what_is_no_tls_ends_the_tunnel(door: Inside, garbage: bytes):
    reader, writer = await door.connect(f"{NAME}:{door.host.port}")
    writer.write(garbage)
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert not door.host.connections


async def test_what_was_sent_early_is_not_lost(door: Inside):
    """A client may begin TLS before it has read that the tunnel is open."""
    door.host.serving = answers(OK, b"hello")
    context, come, go = await door.trust(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(come, go, server_hostname=NAME)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    reader, writer = await door.open()
    writer.write(f"CONNECT {NAME}:{door.host.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + go.read())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    while True:
        come.write(await asyncio.wait_for(reader.read(65_536), 5))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            break
    assert tls.version() == "TLSv1.3"
    writer.close()


async def test_a_handshake_that_never_ends_is_ended(door: Inside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secure, "HANDSHAKE_SECONDS", 0.2)
    reader, writer = await door.connect(f"{NAME}:{door.host.port}")
    writer.write(b"\x16\x03\x01\x02\x00\x01")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_a_host_that_never_ends_its_handshake_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, inside(place) as door:
        where = {"host": NAME, "port": port}
        door.bind(rules=[{**door.rule(path="/"), **where}])
        monkeypatch.setattr(secure, "HANDSHAKE_SECONDS", 0.3)
        reader, writer = await door.open_tls(port=port)
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{port}\r\n\r\n".encode())
        assert status(await asyncio.wait_for(reader.read(), 5)) == 504
        writer.close()


async def test_a_host_that_speaks_no_tls_gets_no_secret(place: Path):
    heard: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, inside(place) as door:
        door.bind(rules=[{**door.rule(path="/"), "port": port}])
        reader, writer = await door.open_tls(port=port)
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{port}\r\n\r\n".encode())
        assert status(await asyncio.wait_for(reader.read(), 5)) == 502
        writer.close()
    assert all(piece.startswith(b"\x16\x03") for piece in heard)


async def test_an_answer_that_was_cut_short_is_not_a_whole_one(door: Inside):
    """Where only the connection's end ends an answer, somebody else may have ended it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await writer.drain()
        writer.transport.get_extra_info("socket").shutdown(socket.SHUT_WR)  # no close_notify
        await reader.read()

    door.host.serving = serve
    reader, writer = await door.open_tls()
    writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n\r\n".encode())
    answer = b""
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65_536), 5):
            answer += piece
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_host_that_answers_without_end_is_read_at_the_agents_pace(door: Inside):
    """Memory is bounded by pieces, not by what a host sends, and the other group is served meanwhile."""
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            writer.write(VALUE.encode() * 2000)
            await writer.drain()
            sent += len(VALUE) * 2000

    door.host.serving = serve
    before = _memory()
    held = []
    for _ in range(6):
        reader, writer = await door.open_tls()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\n\r\n".encode())
        held.append((reader, writer))
    last = -1
    while last != sent:
        last = sent
        await asyncio.sleep(0.2)
    assert sent < 64 * 1024 * 1024
    assert _memory() - before < 64 * 1024 * 1024
    assert (await asyncio.wait_for(call_as(101_000, door.gateway, "http://example.org/"), 5))[0] == 403
    for _, writer in held:
        writer.transport.abort()


async def test_half_open_handshakes_of_one_group_leave_the_others_unharmed(door: Inside):
    held = []
    for _ in range(8):
        reader, writer = await door.connect(f"{NAME}:{door.host.port}")
        held.append((reader, writer))
    assert status(await door.ask(b"GET http://example.org/ HTTP/1.1\r\nHost: x\r\n\r\n")) == 429
    assert (await asyncio.wait_for(call_as(101_000, door.gateway, "http://example.org/"), 5))[0] == 403
    for _, writer in held:
        writer.close()


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
