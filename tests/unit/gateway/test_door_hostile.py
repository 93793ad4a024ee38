"""Who means harm at the door: lies about names, stalls, secrets that do not fit, answers in pieces, others' marks."""

import asyncio
import base64
import contextlib
import logging
import re
import resource
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from door_stage import NAME, VALUE, Inside, entered, inside
from egress_stage import answers, status
from http2_stage import client

from eventually import eventually
from nanoclawd.gateway import secure
from nanoclawd.gateway.door import http2, injection

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


@pytest.fixture
async def door(place: Path) -> AsyncIterator[Inside]:
    async with inside(place) as made:
        yield made


# Secrets.

STYLES = [("bearer", ""), ("header", "X-Key"), ("cookie", "k"), ("placeholder", "")]


@pytest.mark.parametrize(
    "value", ["one\ntwo-secret", "one\r\nX: two-secret", "one\0two-secret", "two-secret\n", " two-secret"]
)
@pytest.mark.parametrize(("style", "parameter"), STYLES)
async def test_a_secret_that_no_header_can_have_is_neither_sent_nor_written_down(
    place: Path, caplog: pytest.LogCaptureFixture, value: str, style: str, parameter: str
):
    caplog.set_level(logging.DEBUG)
    async with inside(place, lambda port: {"key": entered(port, value)}) as door:
        door.bind(door.secret(style=style, parameter=parameter))
        door.host.serving = answers(OK, b"hello", door.host.heard)
        answer = await door.fetch("/", "X-Mine: nanoclaw-secret-key\r\n" if style == "placeholder" else "")
        assert status(answer) == 503
        assert b"ncl secret set key" in answer
        assert not door.host.heard
        assert b"two-secret" not in answer
        assert "two-secret" not in caplog.text


async def test_what_cannot_be_sent_is_written_down_nowhere(
    place: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """Libraries quote what they can't send, and by then a secret is in it."""
    monkeypatch.setattr(injection, "_CONTROL", re.compile("(?!)"))
    async with inside(place, lambda port: {"key": entered(port, "one\ntwo-secret")}) as door:
        answer = await door.fetch()
        assert status(answer) == 500
        assert "two-secret" not in caplog.text
        assert b"two-secret" not in answer


@pytest.mark.parametrize(
    "header",
    [
        *("Range: bytes=0-9", 'If-Range: "x"\r\nRange: bytes=3-', "Request-Range: bytes=0-9", "X-Ms-Range: bytes=0-9"),
        "A-IM: range",
    ],
)
async def test_no_part_of_an_answer_can_be_asked_for(door: Inside, header: str):
    """Half of a secret is found by nobody; two halves make one."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    assert status(await door.fetch("/", f"{header}\r\n")) == 200
    assert b"range" not in door.host.heard[0].lower()


OVERRIDES = [
    "X-HTTP-Method-Override: DELETE",
    "x-http-method: delete",
    "X-Method-Override: DELETE",
    "X_HTTP_METHOD: DELETE",
]


@pytest.mark.parametrize("header", OVERRIDES)
async def test_a_request_that_a_host_may_take_for_another_is_judged_as_both(door: Inside, header: str):
    """Some hosts take the method from a header: no rule about methods is got round, whatever it says."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    only_post = door.rule(methods=["POST"])
    for rules, expected in (
        ([only_post], 403),
        ([door.rule(), door.rule(id=2, action="deny", methods=["DELETE"])], 403),
        ([door.rule(), door.rule(id=2, action="ask", methods=["DELETE"])], 400),
        ([door.rule(), door.rule(id=2, action="ask", methods=["POST"])], 400),
        ([door.rule(methods=["POST", "DELETE"])], 200),
        ([door.rule()], 200),
    ):
        door.bind(door.secret(), rules=rules)
        answer = await door.fetch("/", f"{header}\r\nContent-Length: 0\r\n", "POST")
        assert status(answer) == expected, rules
    door.bind(rules=[only_post])
    assert status(await door.fetch("/", "X-HTTP-Method-Override: post\r\nContent-Length: 0\r\n", "POST")) == 200
    for odd in ("X-HTTP-Method: POST\r\nX-Method-Override: DELETE", "X-HTTP-Method: ", "X-HTTP-Method: \xe4"):
        assert status(await door.fetch("/", f"{odd}\r\nContent-Length: 0\r\n", "POST")) == 400


@pytest.mark.parametrize("header", ["X-Original-URL: /admin", "X-Rewrite-Url: /admin", "x_original_url: /admin"])
async def test_a_request_names_one_path(door: Inside, header: str):
    """Some hosts take the path from a header."""
    door.host.serving = answers(OK, b"hello", door.host.heard)
    assert status(await door.fetch("/public/", f"{header}\r\n")) == 400
    assert not door.host.heard


@pytest.mark.parametrize("charset", ["utf-16", '"UTF-16LE"', "utf-7", "IBM037", "x-UTF-16LE-BOM", "hz-gb-2312"])
async def test_an_answer_in_other_letters_is_refused(door: Inside, charset: str):
    """Some servers write what they say back in whatever the request wants: nobody would find a secret there."""
    door.host.serving = answers(
        f"HTTP/1.1 200 OK\nContent-Type: text/plain; charset={charset}\nContent-Length: 5", b"hello"
    )
    answer = await door.fetch("/", f"Accept-Charset: {charset}\r\nAccept: text/plain;charset={charset}\r\n")
    assert status(answer) == 502
    assert b"is not searched" in answer


@pytest.mark.parametrize(
    "charset", ["utf-8", '"UTF-8"', "ISO-8859-15", "windows-1252", "gbk", "Shift_JIS", "euc-jp", "utf8"]
)
async def test_an_answer_in_common_letters_is_read(door: Inside, charset: str):
    head = f"HTTP/1.1 200 OK\nContent-Type: text/plain; charset={charset}; x=y\nContent-Length: {len(VALUE)}"
    door.host.serving = answers(head, VALUE.encode(), door.host.heard)
    answer = await door.fetch("/", "Accept-Charset: utf-16\r\n")
    assert answer.endswith(b"*" * len(VALUE))
    assert b"charset" not in door.host.heard[0].lower()


async def test_a_part_may_be_asked_of_a_host_that_no_secret_is_bound_to(door: Inside):
    door.bind(rules=[door.rule(host="other.test", path="/a")])
    door.host.serving = answers(OK, b"hello", door.host.heard)
    where = f"other.test:{door.host.port}"
    request = f"GET /a HTTP/1.1\r\nHost: {where}\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n"
    assert status(await door.say(request.encode(), "other.test")) == 200
    assert b"Range: bytes=0-9" in door.host.heard[0]


@pytest.mark.parametrize("here", [True, False], ids=["beside ones own", "alone"])
async def test_another_groups_placeholder_is_worth_nothing(place: Path, here: bool):
    def seal(port: int) -> dict[str, object]:
        return {"key": entered(port), "theirs": entered(port, "their-own-secret")}

    async with inside(place, seal) as door:  # type: ignore[arg-type]  # a dictionary of Sealed
        theirs = door.secret("theirs", "placeholder", groups=["work"])
        door.bind(*([door.secret(), theirs] if here else [theirs]))
        door.host.serving = answers(OK, b"hello", door.host.heard)
        mark = "X-A: nanoclaw-secret-theirs\r\n"
        if not here:
            # Nobody looks into this tunnel: what is in it goes as it is, to a host that learns a name from it.
            reader, writer = await door.open_tls()
            writer.write(f"GET /?k=nanoclaw-secret-theirs HTTP/1.1\r\nHost: x\r\n{mark}\r\n".encode())
            assert (await reader.read()).endswith(b"hello")
            writer.close()
            assert b"nanoclaw-secret-theirs" in door.host.heard[0]
        else:
            pair = base64.b64encode(b"x:nanoclaw-secret-theirs").decode()
            for path, headers in (
                ("/", mark),
                ("/?k=nanoclaw-secret-theirs", ""),
                ("/", f"Authorization: Basic {pair}\r\n"),
            ):
                door.bind(door.secret("key", "placeholder"), theirs)
                answer = await door.fetch(path, headers)
                assert status(answer) == 403
                assert b"has no secret theirs" in answer
            assert not door.host.heard
        assert not any(b"their-own-secret" in heard for heard in door.host.heard)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("by", ["chunks", "pieces", "events"])
async def test_an_echo_in_small_pieces_is_found(door: Inside, size: int, by: str):
    """With chunk extensions, trailers and early hints that have it, too."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = b"data: <" + VALUE.encode() + b">\n\n"
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        writer.write(f"HTTP/1.1 103 {VALUE}\r\nLink: {VALUE}\r\n\r\n".encode())
        kind = "text/event-stream" if by == "events" else "text/plain"
        if by == "pieces":
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n\r\n".encode())
        else:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for piece in pieces:
            writer.write(piece if by == "pieces" else b"%x;x=%s\r\n%s\r\n" % (len(piece), VALUE.encode(), piece))
            await writer.drain()
            await asyncio.sleep(0)
        if by != "pieces":
            writer.write(f"0\r\nX-Trailer: {VALUE}\r\n\r\n".encode())

    door.host.serving = serve
    answer = await door.fetch()
    body = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", answer.partition(b"\r\n\r\n")[2])
    assert status(answer) == 200
    assert VALUE.encode() not in answer
    assert VALUE.encode() not in body
    assert b"*" * len(VALUE) in re.sub(rb"[^*]", b"", answer)


# TLS.


@pytest.mark.parametrize(
    ("name", "is_taken"), [(NAME, True), (NAME.upper(), True), ("other.test", False), ("a." + NAME, False)]
)
async def test_a_lie_about_the_name_ends_the_handshake(door: Inside, name: str, is_taken: bool):
    """The tunnel is to one host, and who asks for another one in it gets nothing."""
    context = await door.trust()
    context.check_hostname = False
    door.host.serving = answers(OK, b"hello", door.host.heard)
    reader, writer = await door.connect(f"{NAME}:{door.host.port}")
    try:
        await writer.start_tls(context, server_hostname=name)
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{door.host.port}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    except (ssl.SSLError, ConnectionError):
        answer = b""
    assert bool(answer) == is_taken
    assert bool(door.host.heard) == is_taken
    writer.close()


async def test_who_names_nobody_is_answered_by_the_host_of_the_tunnel(door: Inside):
    context = await door.trust()
    context.check_hostname = False
    door.host.serving = answers(OK, b"hello", door.host.heard)
    reader, writer = await door.connect(f"{NAME}:{door.host.port}")
    await writer.start_tls(context, server_hostname="")
    writer.write(b"GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
    assert status(await reader.read()) == 421
    assert not door.host.heard
    writer.close()


@pytest.mark.parametrize(
    "begun",
    [
        b"", b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03", b"\x16\x03\x01\x00\x00" * 50,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x80\x2e\x01\x00\x02" + b"\0" * 50,
        b"\x15\x03\x01\x00\x02\x02\x28", b"\xff" * 3000,
    ],
    ids=range(9),
)  # fmt: skip
async def test_a_handshake_that_does_not_come_leaves_its_place(
    door: Inside, monkeypatch: pytest.MonkeyPatch, begun: bytes
):
    monkeypatch.setattr(secure, "HANDSHAKE_SECONDS", 0.2)
    held = []
    for _ in range(8):
        reader, writer = await door.connect(f"{NAME}:{door.host.port}")
        writer.write(begun)
        held.append((reader, writer))
    async with asyncio.timeout(10):
        for reader, writer in held:
            with contextlib.suppress(ConnectionError):
                while await reader.read(4096):
                    pass
            writer.close()
    door.host.serving = answers(OK, b"hello")

    async def is_served() -> bool:
        with contextlib.suppress(AssertionError, ConnectionError):
            return status(await door.fetch()) == 200
        return False

    await eventually(is_served, "its places are free")


async def test_a_greeting_without_an_end_is_cut_off(door: Inside):
    """Records of a handshake's message that announces sixteen megabytes."""
    loop = asyncio.get_running_loop()
    reader, writer = await door.connect(f"{NAME}:{door.host.port}")
    record = b"\x16\x03\x01\x40\x00"
    writer.write(record + b"\x01\xff\xff\xff" + bytes(16_380))
    sent, began = 0, loop.time()
    with contextlib.suppress(ConnectionError):
        while sent < 64 * 1024 * 1024 and not reader.at_eof():
            writer.write(record + bytes(16_384))
            async with asyncio.timeout(5):
                await writer.drain()
            sent += 16_384
            await asyncio.sleep(0)
    assert sent < 16 * 1024 * 1024
    assert loop.time() - began < secure.HANDSHAKE_SECONDS
    writer.close()


async def test_a_host_whose_handshake_does_not_come_is_given_up(door: Inside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(secure, "HANDSHAKE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        door.bind(rules=[door.rule(port=port, path="/")])
        reader, writer = await door.open_tls(port=port)
        writer.write(f"GET / HTTP/1.1\r\nHost: {NAME}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 10)
        assert status(answer) == 504
        writer.close()


# HTTP/2.


async def test_streams_with_no_window_cost_a_bounded_piece(door: Inside):
    """A caller that gives no window, or a window for ever and reads nothing, to hosts that never stop."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()

    door.host.serving = talk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    streams = 60
    for window in (0, 2**31 - 1):
        async with client(door) as found:
            await found.flush()
            found.http.update_settings({4: window})
            for _ in range(streams):
                found.request(found.head())
            await found.flush()
            found.writer.transport.pause_reading()
            await eventually(lambda: door.host.connections == streams)
            await asyncio.sleep(0.5)  # for all that can be filled to be full: nothing tells when it is
        door.host.connections = 0
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{grown >> 10} MiB")
    assert grown < 160 * 1024


async def test_frames_that_come_all_at_once_end_the_connection_early(door: Inside):
    """Seven thousand pings in a piece: they are not all read before somebody has had enough."""
    async with client(door) as found:
        await found.flush()
        found.writer.write((b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678") * 20_000)
        with contextlib.suppress(ConnectionError):
            await found.writer.drain()
            async with asyncio.timeout(10):
                while await found.reader.read(65_536):
                    pass
    door.host.serving = answers(OK, b"hello")
    assert status(await door.fetch()) == 200


async def test_streams_that_end_before_they_begin_leave_their_places(door: Inside, monkeypatch: pytest.MonkeyPatch):
    """Too many frames at once: the connection ends, and requests in it that nobody has looked at with it."""
    monkeypatch.setattr(http2, "MAX_STREAMS_OF_GROUP", 20)
    door.host.serving = answers(OK, b"hello")
    with monkeypatch.context() as patched:
        patched.setattr(http2, "FRAMES_AT_ONCE", 10)
        for _ in range(4):
            async with client(door) as found:
                for _ in range(30):
                    found.request(found.head())
                await found.flush()
                with contextlib.suppress(ConnectionError):
                    while await asyncio.wait_for(found.reader.read(65_536), 5):
                        pass
    async with client(door) as found:
        number = found.request(found.head())
        assert (await found.answers(number))[number] == (200, b"hello")
