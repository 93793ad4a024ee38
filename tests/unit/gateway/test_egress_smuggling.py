"""Requests that two programs could read in two ways, and floods: refused, or read in one way only, within bounds."""

import asyncio
import contextlib
import resource
import socket
from pathlib import Path

import pytest
from egress_stage import Out, answers, status
from gateway_stage import call_as

from eventually import eventually
from nanoclawd.gateway.caller import MAX_HEAD_BYTES

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


def request(port: int, head: str, body: bytes = b"", method: str = "POST", target: str = "") -> bytes:
    target = target or f"http://127.0.0.1:{port}/"
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n", b"12345"),
        ("Host: x\r\nContent-Length: 4, 5\r\n", b"12345"),
        ("Host: x\r\nContent-Length: +4\r\n", b"1234"),
        ("Host: x\r\nContent-Length: 0x4\r\n", b"1234"),
        ("Host: x\r\nContent-Length: -1\r\n", b"1234"),
        ("Host: x\r\nContent-Length: 99999999999999999999999\r\n", b"1234"),
        ("Host: x\r\nTransfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nTransfer-Encoding: chunked\x00\r\n", b"0\r\n\r\n"),
        ("Host: x\r\nX: 1\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("Host: x\nContent-Length: 4\n", b"1234"),
        ("Host: x\r\nX: a\rb\r\n", b""),
        ("Host: x\r\n X: folded first\r\n", b""),
        ("Host: x\r\nHost: y\r\n", b""),
        ("", b""),
        ("Host: x\r\n: empty\r\n", b""),
        ("Host: x\r\nno colon\r\n", b""),
        ("Host: x\r\nN\xe4me: 1\r\n", b""),
        ("Host: x\r\nX: a\x0eb\r\n", b""),
        ("Host: x\r\nContent_Length: 4\r\n", b"1234"),
        ("Host: x\r\nContent-Length: 4\r\nTransfer_Encoding: chunked\r\n", b"1234"),
    ],
    ids=range(27),
)
async def test_an_ambiguous_head_is_refused(way_out: Out, head: str, body: bytes):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK, b"hello", way_out.host.heard)
    answer = await way_out.ask(request(way_out.host.port, head, body))
    assert status(answer) in (400, 431, 501), answer[:200]
    assert not way_out.host.heard


@pytest.mark.parametrize(
    "body",
    [b"4\nabcd\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n", b"0x4\r\nabcd\r\n0\r\n\r\n", b"4\r\nabcdX\r\n0\r\n\r\n"],
    ids=range(5),
)
async def test_a_bad_chunk_ends_the_request(way_out: Out, body: bytes):
    """What is behind it is read as no request, and the host is not shown it as a whole body."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        way_out.host.heard.append(await reader.read())

    way_out.allow(way_out.host.rule())
    way_out.host.serving = serve
    after = request(way_out.host.port, "Host: x\r\n", method="GET")
    answer = await way_out.ask(request(way_out.host.port, "Host: x\r\nTransfer-Encoding: chunked\r\n", body) + after)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not any(b"0\r\n\r\n" in heard for heard in way_out.host.heard)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1@example.org/",
        "http://user:word@127.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://2130706433:{port}/",
        "http://127.0.0.1.:{port}/#x",
        "http://[::ffff:127.0.0.1%25lo]:{port}/",
        "http://127.0.0.1:{port}\\@example.org/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:{port}x/",
        "http:///",
        "http://",
        "https://127.0.0.1:{port}/",
        "ftp://127.0.0.1:{port}/",
        "unix:///run/nanoclaw-gateway/gateway.sock",
        "127.0.0.1:{port}",
        "*",
    ],
)
async def test_a_target_that_can_be_read_in_two_ways_is_refused(way_out: Out, target: str):
    way_out.allow(way_out.host.rule(), {"id": 2, "action": "allow", "host": "*"})
    way_out.host.serving = answers(OK, b"hello", way_out.host.heard)
    found = target.format(port=way_out.host.port)
    answer = await way_out.ask(request(0, "Host: x\r\n", method="GET", target=found))
    assert status(answer) == 400, answer[:200]
    assert not way_out.host.heard


@pytest.mark.parametrize(
    "target",
    [
        *("127.0.0.1", "127.0.0.1:", ":443", "127.0.0.1:443:443", "http://127.0.0.1:443/", "/run/x.sock:1", "@:443"),
        *("[::1%25eth0]:443", "[::1:443", "::1:443", "a b:443", "a..b:443", "-a.b:443", "a_" + "b" * 70 + ":443"),
    ],
)
async def test_connect_needs_one_host_and_a_port(way_out: Out, target: str):
    way_out.allow({"id": 2, "action": "allow", "host": "*"})
    answer = await way_out.ask(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) == 400, answer[:200]
    assert not way_out.names.asked


async def test_connect_has_no_body(way_out: Out):
    way_out.allow(way_out.host.rule())
    head = f"CONNECT 127.0.0.1:{way_out.host.port} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    assert status(await way_out.ask(head.encode())) == 400
    assert not way_out.host.connections


@pytest.mark.parametrize("method", ["TRACE", "connect", "get", "G-ET-" * 5, "X(Y)"])
async def test_odd_methods_are_refused(way_out: Out, method: str):
    way_out.allow(way_out.host.rule())
    answer = await way_out.ask(request(way_out.host.port, "Host: x\r\n", method=method))
    assert status(answer) in (400, 405)
    assert not way_out.host.connections


async def test_pipelined_requests_are_each_judged(way_out: Out):
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK, b"hello")
    allowed = request(way_out.host.port, "Host: x\r\n", method="GET")
    denied = request(0, "Host: x\r\n", method="GET", target="http://example.org/")
    answer = await way_out.ask(allowed + denied + allowed)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"403"]
    assert way_out.host.connections == 1


async def test_an_answer_that_lies_about_its_length_is_not_two(way_out: Out):
    """What a host sends behind its answer reaches nobody: the connection to it is never used again."""
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK, b"hello" + b"HTTP/1.1 200 Fake\r\nContent-Length: 0\r\n\r\n")
    answer = await way_out.get()
    assert b"Fake" not in answer


async def test_a_body_keeps_its_length_whatever_connection_says_of_it(way_out: Out):
    """Else its bytes would be the next request to whoever reads on."""
    way_out.allow(way_out.host.rule())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        way_out.host.heard += [head, await reader.readexactly(4)]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    way_out.host.serving = serve
    head = "Host: x\r\nContent-Length: 4\r\nConnection: close, Content-Length\r\n"
    assert status(await way_out.ask(request(way_out.host.port, head, b"1234"))) == 200
    sent, body = way_out.host.heard
    assert sent.lower().count(b"content-length: 4\r\n") == 1
    assert body == b"1234"


async def test_an_answer_with_two_lengths_goes_on_with_the_one_that_counts(way_out: Out):
    way_out.allow(way_out.host.rule())
    chunks = b"3\r\nabc\r\n0\r\n\r\n"
    way_out.host.serving = answers("HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked", chunks)
    head, _, body = (await way_out.get()).partition(b"\r\n\r\n")
    assert b"content-length" not in head.lower()
    assert head.lower().count(b"transfer-encoding: chunked") == 1
    assert body == chunks


async def test_an_older_version_knows_no_chunks(way_out: Out):
    way_out.allow(way_out.host.rule())
    for version, code in (("1.0", 400), ("1.1", 200)):
        head = f"POST http://127.0.0.1:{way_out.host.port}/ HTTP/{version}\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        way_out.host.serving = answers(OK, b"hello", way_out.host.heard)
        assert status(await way_out.ask(head.encode() + b"Connection: close\r\n\r\n0\r\n\r\n")) == code
    assert len(way_out.host.heard) == 1


async def test_garbage_is_answered(way_out: Out):
    way_out.allow(way_out.host.rule())
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00 \x01\xfc\x03\x03\r\n\r\n", b"\xff " * 100 + b"\r\n\r\n"):
        answer = await way_out.ask(garbage)
        assert status(answer) == 400
    assert status(await way_out.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) in (400, 505)


async def test_a_head_without_an_end_is_cut_off(way_out: Out):
    way_out.allow(way_out.host.rule())
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as one:
        one.setblocking(False)
        await loop.sock_connect(one, str(way_out.gateway.socket))
        await loop.sock_sendall(one, request(way_out.host.port, "Host: x", method="GET")[:-2])
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 1000 * MAX_HEAD_BYTES:
                await loop.sock_sendall(one, b"X-More: and more of it\r\n" * 40)
                sent += 960
        assert sent < 100 * MAX_HEAD_BYTES
        assert status(await loop.sock_recv(one, 1000)) == 431


async def test_many_headers_and_large_heads_are_refused(way_out: Out):
    way_out.allow(way_out.host.rule())
    many = "Host: x\r\n" + "".join(f"X{number}: 1\r\n" for number in range(150))
    assert status(await way_out.ask(request(way_out.host.port, many, method="GET"))) == 431
    large = "Host: x\r\nX: " + "x" * MAX_HEAD_BYTES + "\r\n"
    assert status(await way_out.ask(request(way_out.host.port, large, method="GET"))) == 431


async def test_ten_thousand_connections_of_one_group_leave_the_others_unharmed(way_out: Out):
    """Those over the bound are answered and closed at once; what is held stays the bound's, and others are served."""
    way_out.allow(way_out.host.rule())
    way_out.host.serving = answers(OK, b"hello")
    held, turned_away = [], 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    before = _memory()
    try:
        for number in range(10_000):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, str(way_out.gateway.socket))
            if len(held) < 500:
                held.append(one)
            else:
                one.close()
            if not number % 100:
                await asyncio.sleep(0)
        for one in held:
            with contextlib.suppress(TimeoutError):
                said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 100), 0.05)
                turned_away += said[9:12] == b"429"
        assert turned_away >= 490
        found = call_as(101_000, way_out.gateway, f"http://127.0.0.1:{way_out.host.port}/")
        assert (await asyncio.wait_for(found, 5))[0] == 200
        assert _memory() - before < 32 * 1024 * 1024
    finally:
        for one in held:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_each_groups_tunnels_are_bounded(way_out: Out):
    way_out.allow(way_out.host.rule())
    held = [await way_out.connect() for _ in range(8)]
    assert status(await way_out.get()) == 429
    found = call_as(101_000, way_out.gateway, "http://example.org/")
    assert (await asyncio.wait_for(found, 5))[0] == 403, "another group is served"
    held.pop()[1].close()
    way_out.host.serving = answers(OK, b"hello")

    async def is_served() -> bool:
        return status(await way_out.get()) == 200

    await eventually(is_served, "the place of a tunnel that has ended is free")
    for _, writer in held:
        writer.close()


async def test_what_comes_while_a_request_is_answered_waits_in_the_kernel(way_out: Out):
    """A flood of pipelined requests: the gateway takes a bounded piece of it."""
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    way_out.allow(way_out.host.rule())
    way_out.host.serving = serve
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(one, str(way_out.gateway.socket))
    piece = request(way_out.host.port, "Host: x\r\n", method="GET") * 1000
    sent = 0
    try:
        while sent < 50 * 1024 * 1024:
            async with asyncio.timeout(0.5):
                await loop.sock_sendall(one, piece)
            sent += len(piece)
    except TimeoutError:
        pass
    assert sent < 2 * 1024 * 1024
    assert way_out.host.connections == 1
    release.set()
    one.close()


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
