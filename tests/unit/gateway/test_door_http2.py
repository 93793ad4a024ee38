"""HTTP/2 on the agent's side: what a real client gets, and what a hostile one does not."""

import asyncio
import contextlib
import logging
import resource
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import httpx
import pytest
from door_stage import NAME, VALUE, Inside, forwarder
from egress_stage import answers, status
from gateway_stage import call_as
from http2_stage import Headers, client

from nanoclawd.gateway.door import http2

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


async def test_each_stream_is_a_request_with_the_secret(door: Inside, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "nanoclawd.gateway.audit")
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        mine = (b"authorization", b"mine")
        first, second = found.request(found.head("GET", "/a", mine)), found.request(found.head("GET", "/b"))
        assert await found.answers(first, second) == {first: (200, b"hello"), second: (200, b"hello")}
    assert len(door.host.heard) == 2
    for heard in door.host.heard:
        assert f"Authorization: Bearer {VALUE}\r\n".encode() in heard
        assert f"Host: {NAME}:{door.host.port}\r\n".encode() in heard
        assert b"mine" not in heard
    assert sorted(record.NANOCLAW_EGRESS_PATH for record in caplog.records) == ["/a", "/b"]  # type: ignore[attr-defined]  # the journal's


async def test_a_real_client_uploads_and_downloads(door: Inside):
    """httpx over the way out, with a body larger than any window."""
    body = bytes(range(256)) * 8192

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        sent = await reader.readexactly(length)
        door.host.heard.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + sent)
        await writer.drain()

    door.host.serving = serve
    trusted = await door.trust("h2", "http/1.1")

    async with forwarder(door) as proxy, httpx.AsyncClient(http2=True, proxy=proxy, verify=trusted) as found:
        answer = await found.post(f"https://{NAME}:{door.host.port}/x", content=body, headers={"cookie": "a=1; b=2"})
    assert answer.http_version == "HTTP/2"
    assert answer.content == body
    assert b"a=1; b=2" in door.host.heard[0]


async def test_a_body_without_a_length_is_framed_anew(door: Inside):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.host.heard.append(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n---\r\n0\r\n\r\n")
        await writer.drain()

    door.host.serving = serve
    async with client(door) as found:
        number = found.request(found.head("POST"), b"some\r\n0\r\n\r\nGET /smuggled HTTP/1.1")
        assert await found.answers(number) == {number: (200, b"---")}
    assert b"transfer-encoding: chunked\r\n" in door.host.heard[0].lower()
    assert len(door.host.heard) == 1


@pytest.mark.parametrize(
    "more",
    [
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"keep-alive"),
        (b"upgrade", b"websocket"),
        (b"x", b"a\r\nTransfer-Encoding: chunked"),
        (b"x", b"a\nb"),
        (b"x", b"a\0b"),
        (b"x\r\ny", b"a"),
        (b"x y", b"a"),
        (b"X-Large", b"a"),
        (b"", b"a"),
        (b"host", b"other.test"),
        (b"content-length", b"5"),
        (b"content-length", b"-1"),
        (b"content-length", b"1, 1"),
        (b":method", b"POST"),
        (b":authority", b"other.test"),
        (b":strange", b"x"),
        (b"transfer_encoding", b"chunked"),
    ],
    ids=range(18),
)
async def test_a_head_that_could_be_read_in_two_ways_is_refused(door: Inside, more: tuple[bytes, bytes]):
    """Smuggling by downgrade: what HTTP/1.1 would take for something else reaches no host."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        number = found.request(found.head("POST", "/", more), b"abc")
        answer = (await found.answers(number))[number]
    assert answer[0] in (-1, 0, 400, 421), answer
    assert not any(b"abc" in heard or b"chunked\r\n\r\n" in heard for heard in door.host.heard)


@pytest.mark.parametrize(
    "change",
    [
        {b":method": b"CONNECT"},
        {b":method": b"TRACE"},
        {b":method": b"GET / HTTP/1.1\r\nX:"},
        {b":path": b""},
        {b":path": b"*"},
        {b":path": b"https://other.test/"},
        {b":path": b"/ HTTP/1.1\r\nHost: other.test"},
        {b":path": b"/a b"},
        {b":path": b"/#x"},
        {b":path": b"/\xff"},
        {b":scheme": b"http"},
        {b":authority": b"other.test"},
        {b":authority": b""},
        {b":authority": NAME.encode()},
        {b":authority": b"user@" + NAME.encode()},
        {b":scheme": None},
        {b":path": None},
        {b":authority": None},
    ],
    ids=range(18),
)
async def test_odd_pseudo_headers_are_refused(door: Inside, change: dict[bytes, bytes | None]):
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        head: Headers = []
        for name, value in found.head():
            changed = change.get(name, value)
            if changed is not None:
                head.append((name, changed))
        number = found.request(head)
        answer = (await found.answers(number))[number]
    assert answer[0] in (-1, 0, 400, 405, 421), answer
    assert not door.host.heard


async def test_a_denial_is_a_streams_and_the_connection_goes_on(door: Inside):
    door.bind(door.secret(), rules=[door.rule(path="/a")])
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        first, second = found.request(found.head("GET", "/b")), found.request(found.head("GET", "/a"))
        got = await found.answers(first, second)
    assert got[first][0] == 403
    assert b"ncl egress allow tests" in got[first][1]
    assert got[second] == (200, b"hello")


@pytest.mark.parametrize("size", [4000, http2.FRAME_BYTES], ids=["with the head", "behind the refusal"])
async def test_what_nobody_reads_is_given_back_to_the_connection(door: Inside, size: int):
    """Bodies of requests that are refused: more of them than the connection's window holds."""
    door.bind(door.secret(), rules=[door.rule(path="/a")])
    door.host.serving = answers(OK, b"hello")
    piece = bytes(size)
    async with client(door) as found:
        for _ in range(2 * http2.CONNECTION_WINDOW_BYTES // size):
            number = found.request(found.head("POST", "/b"), piece)
            assert (await found.answers(number))[number][0] == 403
        number = found.request(found.head("POST", "/a"), piece)
        assert await found.answers(number) == {number: (200, b"hello")}


async def test_cookies_in_pieces_are_one_header(door: Inside):
    """RFC 9113, 8.2.3: HTTP/1.1 knows one only."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        number = found.request(found.head("GET", "/", (b"cookie", b"a=1"), (b"cookie", b"b=2")))
        assert await found.answers(number) == {number: (200, b"hello")}
    (heard,) = door.host.heard
    assert b"cookie: a=1; b=2\r\n" in heard
    assert heard.lower().count(b"cookie:") == 1


async def test_an_answer_that_breaks_off_is_not_a_whole_one(door: Inside):
    door.host.serving = answers("HTTP/1.1 200 OK\nContent-Length: 500", b"hello")
    async with client(door) as found:
        number = found.request(found.head())
        assert (await found.answers(number))[number][0] == 0


async def test_a_reset_stream_ends_its_request(patient_door: Inside):
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        begun.set()
        await reader.read()

    begun = asyncio.Event()
    patient_door.host.serving = serve
    async with client(patient_door) as found:
        number = found.request(found.head())
        await found.flush()
        await asyncio.wait_for(begun.wait(), 5)
        found.http.reset_stream(number)
        await found.flush()
        await asyncio.wait_for(patient_door.host.gone.wait(), 5)


async def _flooded(door: Inside, flood: bytes, *, most: int = 400) -> int:
    """Send a flood until the other side has enough; return how many pieces of it were taken."""
    async with client(door) as found:
        await found.flush()
        taken = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(20):
                for _ in range(most):
                    found.writer.write(flood)
                    await found.writer.drain()
                    taken += 1
                    if found.reader.at_eof():
                        break
                    await asyncio.sleep(0)
        return taken


@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678",  # PING
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x03\x00\x00\x00\x01",  # SETTINGS
        b"\x00\x00\x05\x02\x00\x00\x00\x00\x01" + b"\x00\x00\x00\x00\x01",  # PRIORITY
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x01",  # WINDOW_UPDATE
        b"\x00\x00\x00\xfa\x00\x00\x00\x00\x00",  # of no known kind
        b"\x00\x00\x02\x0a\x00\x00\x00\x00\x00" + b"\x00\x00",  # ALTSVC, which is not for servers
    ],
    ids=["ping", "settings", "priority", "window", "unknown", "altsvc"],
)
async def test_a_flood_of_frames_that_carry_nothing_ends_the_connection(door: Inside, frame: bytes):
    assert await _flooded(door, frame * 100) < 400


async def test_a_head_without_an_end_is_cut_off(door: Inside):
    """CONTINUATION frames without END_HEADERS."""
    async with client(door) as found:
        await found.flush()
        found.writer.write(b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x88")
        more = b"\x00\x40\x00\x09\x00\x00\x00\x00\x01" + b"\x00" * 16_384
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 * 1024 * 1024 and not found.reader.at_eof():
                found.writer.write(more)
                await found.writer.drain()
                sent += len(more)
                await asyncio.sleep(0)
        assert sent < 8 * 1024 * 1024


async def test_a_head_that_unpacks_to_much_is_refused(door: Inside):
    """HPACK's bomb: one long header in the table, named again and again."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        number = found.request(found.head("GET", "/", *[(b"x", b"y" * 3000)] * 400))
        assert (await found.answers(number))[number][0] in (-1, 0, 400, 431)
    assert not door.host.heard


async def test_rapid_resets_end_the_connection(door: Inside):
    door.host.serving = answers(OK, b"hello")
    async with client(door) as found:
        with contextlib.suppress(ConnectionError, TimeoutError, h2.exceptions.ProtocolError):
            async with asyncio.timeout(20):
                for _ in range(20_000):
                    number = found.request(found.head())
                    found.http.reset_stream(number)
                    await found.flush()
                    await asyncio.sleep(0)
        assert number < 2 * 20_000 - 1
    assert door.host.connections < 5000


async def test_streams_at_once_are_bounded(door: Inside, monkeypatch: pytest.MonkeyPatch):
    """Of a connection, and of a group: those beyond are refused so that they can be asked again."""
    monkeypatch.setattr(http2, "MAX_STREAMS_OF_GROUP", 3)
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    door.host.serving = serve
    async with client(door) as found:
        numbers = [found.request(found.head()) for _ in range(5)]
        refused = await found.answers(*numbers[3:])
        assert [answer[0] for answer in refused.values()] == [0, 0]
        release.set()
        got = await found.answers(*numbers[:3])
        assert [got[number][0] for number in numbers[:3]] == [200, 200, 200]


async def test_the_letters_of_an_answer_s_head_are_sent_as_they_are(door: Inside):
    """Packed by the library, a large one would hold everybody up: the time for it grows by its square."""
    value = b"y" * 60_000
    door.host.serving = answers(f"HTTP/1.1 200 OK\nX-Large: {value.decode()}\nContent-Length: 0")
    async with client(door) as found:
        found.http.decoder.max_header_list_size = 2**20
        found.request(found.head())
        await found.flush()
        size, heads = 0, []
        while not heads:
            data = await asyncio.wait_for(found.reader.read(65_536), 10)
            size += len(data)
            heads = [one for one in found.http.receive_data(data) if isinstance(one, h2.events.ResponseReceived)]
        assert dict(heads[0].headers or ())[b"x-large"] == value
        assert size > len(value)


async def test_a_setting_of_no_known_meaning_may_come_twice(door: Inside, caplog: pytest.LogCaptureFixture):
    door.host.serving = answers(OK, b"hello")
    async with client(door) as found:
        await found.flush()
        found.writer.write(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x7a\x7a\x00\x00\x00\x01" * 2)
        number = found.request(found.head())
        assert (await found.answers(number))[number] == (200, b"hello")
    assert "failed inside" not in caplog.text


async def test_who_begins_too_many_streams_before_it_was_told_has_some_refused(door: Inside):
    """RFC 9113, 5.1.2: the others go on, and the connection does."""
    door.host.serving = answers(OK, b"hello")
    async with client(door) as found:
        numbers = [found.request(found.head()) for _ in range(http2.MAX_STREAMS + 20)]
        got = await found.answers(*numbers)
        assert [got[number] for number in numbers[: http2.MAX_STREAMS]] == [(200, b"hello")] * http2.MAX_STREAMS
        assert {got[number][0] for number in numbers[http2.MAX_STREAMS :]} <= {0, 200}
        number = found.request(found.head())
        assert (await found.answers(number))[number] == (200, b"hello")


async def test_what_a_host_does_not_take_waits_in_the_kernel(door: Inside):
    """Uploads that nobody reads cost a window, however many streams there are."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    door.host.serving = serve
    before = _memory()
    async with client(door) as found:
        numbers = []
        for _ in range(20):
            numbers.append(found.http.get_next_available_stream_id())
            found.http.send_headers(numbers[-1], found.head("POST"))
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await found.flush()
                async for _ in found.events():
                    for number in numbers:
                        room = min(found.http.local_flow_control_window(number), 16_384)
                        if room > 0:
                            found.http.send_data(number, b"\0" * room)
                            sent += room
                    await found.flush()
        assert sent >= http2.CONNECTION_WINDOW_BYTES
        assert _memory() - before < 48 * 1024 * 1024
        assert (await asyncio.wait_for(call_as(101_000, door.gateway, "http://example.org/"), 5))[0] == 403


@pytest.mark.parametrize("way", ["no body", "trailers"])
async def test_a_body_that_is_shorter_than_announced_is_refused_at_once(door: Inside, way: str):
    """No host is left waiting for the rest, and nothing that comes later is taken for it."""

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        door.host.heard.append(await reader.read())

    door.host.serving = serve
    async with client(door) as found:
        head = found.head("POST", "/", (b"content-length", b"10"))
        if way == "no body":
            number = found.request(head)
        else:
            number = found.http.get_next_available_stream_id()
            found.http.send_headers(number, head)
            found.http.send_data(number, b"abc")
            found.http.send_headers(number, [(b"x-checksum", b"1")], end_stream=True)
        assert (await found.answers(number))[number][0] == 400


async def test_a_large_head_is_refused_in_either_version(door: Inside):
    """What is too large for HTTP/1.1 gets no further by HTTP/2."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    async with client(door) as found:
        number = found.request(found.head("GET", "/", *((b"x-%d" % one, b"y" * 1000) for one in range(40))))
        assert (await found.answers(number))[number][0] in (-1, 0, 431)
    assert not door.host.heard


async def test_a_frame_for_each_byte_costs_no_more_than_the_window(door: Inside):
    """Of the body of a request that is held there waits what the window lets in, and not a hundred times that."""
    door.bind(door.secret(), rules=[door.rule(action="ask")])
    async with client(door) as found:
        numbers: list[int] = []
        for _ in range(4):
            numbers.append(found.http.get_next_available_stream_id())
            found.http.send_headers(numbers[-1], found.head("POST"))
        await found.flush()
        before = _memory()
        for number in numbers:
            found.writer.write((b"\x00\x00\x01\x00\x00" + number.to_bytes(4) + b"x") * 65_000)
        found.writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678")
        async with asyncio.timeout(60):
            async for event in found.events():
                if isinstance(event, h2.events.PingAckReceived):
                    break
            else:
                pytest.fail("the connection was ended")
        assert _memory() - before < 16 * 1024 * 1024


@pytest.mark.parametrize("kind", ["table", "unknown"])
async def test_what_settings_offer_is_not_kept(door: Inside, kind: str):
    """A table of 4 GiB to compress answers' heads by is not filled, and settings of no known meaning are forgotten."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                more = b"".join(b"X-%d-%d: %s\r\n" % (len(door.host.heard), n, b"y" * 1000) for n in range(50))
                door.host.heard.append(b"")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + more + b"\r\n")
                await writer.drain()

    door.host.serving = serve
    async with client(door) as found:
        pairs = [(1, 2**32 - 1)] if kind == "table" else [(code, 1) for code in range(0x100, 0x10000)]
        found.http.decoder.max_allowed_table_size = 2**32
        await found.answers(found.request(found.head()))
        before = _memory()
        for begin in range(0, len(pairs), 2000):
            some = b"".join(code.to_bytes(2) + value.to_bytes(4) for code, value in pairs[begin : begin + 2000])
            found.writer.write(len(some).to_bytes(3) + b"\x04\x00\x00\x00\x00\x00" + some)
        for _ in range(300 if kind == "table" else 1):
            number = found.request(found.head())
            assert (await found.answers(number))[number][0] == 200
        # The client keeps no more than the other side tells it to.
        assert _memory() - before < 10 * 1024 * 1024


async def test_garbage_after_the_handshake_is_no_harm(door: Inside):
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 1000, b"\x00" * 100):
        async with asyncio.timeout(5):
            reader, writer = await door.open_tls(context=await door.trust("h2"))
            writer.write(garbage)
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
    door.host.serving = answers(OK, b"hello")
    assert status(await door.fetch()) == 200


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
