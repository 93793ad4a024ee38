"""Floods at the endpoints' side: heads, trailers and pipelined heads without an end cost a bounded piece of memory."""

import asyncio
import contextlib
import resource
import socket
from pathlib import Path

import pytest
from egress_stage import Out, answers

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"
HEAD = b"GET /plain/models HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"POST /plain/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD = b"X-A: b\r\n" * 1000
MOST = 24 * 1024 * 1024


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def flooded(way_out: Out, begun: bytes, piece: bytes, pause: float) -> tuple[int, bytes]:
    """Send a piece again and again; return how much was taken, and what was answered."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as one:
        one.setblocking(False)
        await loop.sock_connect(one, str(way_out.gateway.socket))
        await loop.sock_sendall(one, begun)
        await asyncio.sleep(pause)  # what it begins with is to be on its way alone
        sent = 0
        with contextlib.suppress(OSError, TimeoutError):
            while sent < MOST:
                async with asyncio.timeout(1):
                    await loop.sock_sendall(one, piece)
                sent += len(piece)
        answer = b""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                answer = await loop.sock_recv(one, 1000)
        return sent, answer


@pytest.mark.parametrize(
    ("begun", "pause"),
    [(HEAD, 0.0), (HEAD + b"\r\n" + HEAD, 0.2), (CHUNKED + b"1\r\na\r\n0\r\n", 0.2)],
    ids=["head", "pipelined head", "trailers"],
)
async def test_a_flood_of_headers_is_cut_off(way_out: Out, begun: bytes, pause: float):
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()

    way_out.host.serving = slow
    before = memory()
    sent, answer = await flooded(way_out, begun, FLOOD, pause)
    assert sent < 2 * 1024 * 1024
    assert memory() - before < 64 * 1024 * 1024
    if begun is HEAD:
        assert answer.startswith(b"HTTP/1.1 431 ")
    release.set()


async def test_a_head_in_small_pieces_is_read(way_out: Out):
    way_out.host.serving = answers(OK, b"hello")
    reader, writer = await way_out.open()
    for _ in range(2):
        for at in HEAD + b"\r\n":
            writer.write(bytes([at]))
            await asyncio.sleep(0)
        assert (await asyncio.wait_for(reader.readuntil(b"hello"), 5)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_large_bodies_pass_in_any_framing(way_out: Out):
    """A body that comes with its head, and one in tiny chunks, are no flood."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Content-Length" in head:
            await reader.readexactly(1_000_000)
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhello")

    way_out.host.serving = count
    for begun in (
        CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: 1000000") + b"x" * 1_000_000,
        CHUNKED + b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n",
    ):
        reader, writer = await way_out.open()
        writer.write(begun)
        assert (await asyncio.wait_for(reader.readuntil(b"hello"), 20)).startswith(b"HTTP/1.1 200 ")
        writer.close()
