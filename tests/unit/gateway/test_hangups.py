"""Callers that leave while nothing is read from them: their host takes nothing, so nobody would notice."""

import asyncio
import contextlib
import socket
from functools import partial
from pathlib import Path

import pytest
from egress_stage import answers, out, status

from eventually import eventually
from nanoclawd.gateway import hangups

TUNNEL = "CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n"
UPLOAD = "POST http://{where}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"


async def fill(one: socket.socket) -> None:
    """Send until nobody takes any more."""
    with contextlib.suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.1):
                await asyncio.get_running_loop().sock_sendall(one, bytes(65_536))


@pytest.mark.parametrize("begun", [TUNNEL, UPLOAD], ids=["tunnel", "upload"])
async def test_a_caller_that_left_leaves_its_place(place: Path, monkeypatch: pytest.MonkeyPatch, begun: str):
    monkeypatch.setattr(hangups, "FLUSH_SECONDS", 0.05)
    deaf = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await deaf.wait()

    loop = asyncio.get_running_loop()
    async with out(place, idle=600) as way_out:
        way_out.allow(way_out.host.rule())
        way_out.host.serving = serve
        held = []
        for _ in range(8):
            one = socket.socket(socket.AF_UNIX)
            one.setblocking(False)
            await loop.sock_connect(one, str(way_out.gateway.socket))
            await loop.sock_sendall(one, begun.format(where=f"127.0.0.1:{way_out.host.port}").encode())
            held.append(one)
            await fill(one)
        assert status(await way_out.get()) == 429
        for one in held:
            one.close()
        way_out.host.serving = answers("HTTP/1.1 200 Fine\nContent-Length: 5", b"hello")

        async def is_served() -> bool:
            return status(await way_out.get()) == 200

        await eventually(is_served, "its places are free")
        deaf.set()


async def test_a_caller_that_only_stops_sending_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """Half a hang-up is none: an answer may be waited for. (What the gateway reads of it, it takes for an end.)"""
    monkeypatch.setattr(hangups, "FLUSH_SECONDS", 0.0)
    here, there = socket.socketpair()
    here.setblocking(False)
    lost = asyncio.Event()

    class Ear(asyncio.Protocol):
        def connection_lost(self, _error: Exception | None) -> None:
            lost.set()

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(Ear, sock=here)
    transport.pause_reading()
    watching = hangups.Hangups()
    watching.watch(here.fileno(), partial(hangups.in_a_while, transport.abort))
    there.sendall(b"words")
    there.shutdown(socket.SHUT_WR)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lost.wait(), 0.1)
    there.close()
    await asyncio.wait_for(lost.wait(), 5)
    watching.close()
