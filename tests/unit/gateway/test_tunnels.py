"""Tunnels from their first byte on: how a CONNECT is read, and the sockets that carry what follows."""

import asyncio
import resource
import socket
import threading
import time
from pathlib import Path

import h11
import pytest
from egress_stage import Out, answers, out, status
from hypothesis import given
from hypothesis import strategies as st

from eventually import eventually
from nanoclawd.gateway import accepting
from nanoclawd.gateway.caller import Caller, Connect, plain_connect
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.wire import Wire

NAMES = ["Host", "User-Agent", "Proxy-Connection", "Content-Length", "transfer-encoding", "X-a", "x_b", "Accept", "1"]
VALUES = st.one_of(
    st.sampled_from(["a:1", "", " ", "7", "chunked", "close"]), st.text("az AZ09:;,\t\r\n\x00é", max_size=9)
)
BREAKS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r\n ", "\r"])
LINES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([": ", ":", " : "]), VALUES, BREAKS), max_size=5)


@pytest.fixture
async def way_out(place: Path):
    async with out(place) as found:
        yield found


@given(
    st.sampled_from(["CONNECT", "connect", "CONNECTS", "GET"]),
    st.sampled_from(["example.org:443", "[::1]:1", "http://x/", "a b", "é:1", ""]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.1 "]),
    LINES,
    st.binary(max_size=9),
)
def test_a_connect_that_is_read_at_once_is_what_h11_makes_of_it(
    method: str, target: str, version: str, lines: list[tuple[str, str, str, str]], behind: bytes
):
    """F-143: one reading. What the quick reader takes, h11 with all of our checks takes, too, and for the same."""
    text = f"{method} {target} {version}\r\nHost: x\r\n" + "".join("".join(line) for line in lines) + "\r\n"
    data = text.encode("latin-1") + behind
    found = plain_connect(data)
    if found is None:
        return
    connect, length = found
    assert data[length:] == behind
    request = by_h11(data)
    assert (request.method, request.target) == (connect.method, connect.target)
    assert list(request.headers) == connect.headers
    assert not {name for name, _ in connect.headers} & {b"content-length", b"transfer-encoding"}


def by_h11(data: bytes) -> h11.Request:
    """Return what is read of a connection on which the head comes in two pieces: the quick reader has no part in it."""

    async def read() -> h11.Request | Connect | None:
        wire = Wire()
        caller = Caller(wire)
        wire.data_received(data[:1])
        reading = asyncio.create_task(caller.request())
        await asyncio.sleep(0)
        wire.data_received(data[1:])
        return await reading

    found = asyncio.run(read())
    assert isinstance(found, h11.Request)
    return found


def test_the_usual_forms_are_read_at_once():
    """What curl, git and node send; so that the property above is about something."""
    for more in ("", "User-Agent: curl/8.14.1\r\nProxy-Connection: Keep-Alive\r\n", "connection: close\r\n"):
        head = f"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n{more}\r\n".encode()
        found = plain_connect(head + b"\x16\x03")
        assert found is not None
        assert found[1] == len(head)
        assert plain_connect(head[:-1]) is None


def test_a_refused_connect_can_still_be_answered():
    wire = Wire()
    caller = Caller(wire)
    wire.data_received(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(StopIteration):
        caller.request().send(None)
    assert caller.http.our_state is h11.SEND_RESPONSE
    assert not caller.is_unheard
    with pytest.raises(ConnectionResetError):  # of a wire that leads nowhere
        caller.deny(Denial(403, "no", "no"), b"").send(None)


@pytest.mark.parametrize("way", ["in pieces", "behind a request"])
async def test_a_tunnel_begins_on_a_connection_that_was_waited_for(patient_way_out: Out, way: str):
    """Its socket has had a transport by then."""
    host = patient_way_out.host
    patient_way_out.allow(host.rule())
    reader, writer = await patient_way_out.open()
    where = f"127.0.0.1:{host.port}"
    if way == "behind a request":
        echo, host.serving = host.serving, answers("HTTP/1.1 200 Fine\nContent-Length: 5", b"hello")
        writer.write(f"GET http://{where}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 ")
        host.serving = echo
        await asyncio.wait_for(host.gone.wait(), 5)
        host.gone.clear()
    head = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
    writer.write(head[:20])
    await asyncio.sleep(0.01)  # they are to be two pieces
    writer.write(head[20:] + b"early ")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert await reader.readexactly(6) == b"early "
    writer.write(b"and late")
    assert await reader.readexactly(8) == b"and late"
    writer.close()
    await asyncio.wait_for(host.gone.wait(), 5)


async def test_what_a_slow_reader_has_not_taken_arrives_after_the_host_has_gone(way_out: Out):
    """More than all buffers hold: the tunnel keeps a piece, closes behind it, and reads no further before that."""
    size = 3_000_000

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(bytes(size))
        await writer.drain()

    way_out.allow(way_out.host.rule())
    way_out.host.serving = serve
    reader, writer = await way_out.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's
    await asyncio.sleep(0.2)  # the gateway sends until nothing goes any more
    writer.transport.resume_reading()  # type: ignore[attr-defined]  # likewise
    async with asyncio.timeout(10):
        assert len(await reader.read(-1)) == size


async def test_who_leaves_while_the_host_is_looked_for_leaves_a_place(way_out: Out):
    """Nothing is read of a caller meanwhile, and there is no transport that would notice."""
    found = threading.Event()
    way_out.names.wait = lambda _host: found.wait(10) and None
    way_out.allow(way_out.host.rule(), {"id": 2, "action": "allow", "host": "slow.example"})
    waiting = []
    for _ in range(8):
        _, writer = await way_out.open()
        writer.write(b"CONNECT slow.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting.append(writer)
    other = b"CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert status(await way_out.ask(other)) == 429
    for writer in waiting:
        writer.close()

    async def is_judged() -> bool:
        return status(await way_out.ask(other)) == 403

    await eventually(is_judged, "its places are free")
    found.set()


async def test_a_rule_that_is_over_opens_no_tunnel(way_out: Out):
    """F-141: what the rules say about a host is remembered, but not beyond their time, and not beyond the next ones."""
    until = time.time() + 0.5
    way_out.allow(way_out.host.rule(until=until))
    await way_out.connect()
    where = f"127.0.0.1:{way_out.host.port}"
    connect = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
    await asyncio.sleep(until - time.time())  # its time passes
    assert status(await way_out.ask(connect)) == 403
    way_out.allow(way_out.host.rule())
    await way_out.connect()
    way_out.allow(way_out.host.rule(action="deny"))
    assert status(await way_out.ask(connect)) == 403


async def test_a_head_has_its_time_as_a_whole(way_out: Out, monkeypatch: pytest.MonkeyPatch):
    """Who sends a letter from time to time keeps no place by it."""
    monkeypatch.setattr("nanoclawd.gateway.caller.HEAD_SECONDS", 0.2)
    reader, writer = await way_out.open()
    writer.write(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nX-Long: ")

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.05)  # each well within the time

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    dripping.cancel()
    writer.close()


async def test_connections_wait_while_there_are_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Nobody is turned away, and the loop does not spin."""
    monkeypatch.setattr(accepting, "_PAUSE_SECONDS", 0.05)
    path = str(tmp_path / "s")
    accepted: asyncio.Queue[socket.socket] = asyncio.Queue()
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(path)
        found = accepting.Accepting(listening, accepted.put_nowait)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = socket.socket()
        number = lowest.fileno()
        lowest.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
        try:
            client.connect(path)
            await asyncio.sleep(0.2)  # some pauses
            assert accepted.empty()
            # Once in each pause, not in each turn of the loop.
            assert 1 <= caplog.text.count("no connection can be accepted") < 10
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        connection = await asyncio.wait_for(accepted.get(), 5)
        assert connection.getblocking() is False
        connection.close()
        found.close()
