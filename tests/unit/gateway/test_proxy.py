"""The way out: what is forwarded, what is added, what ends here."""

import asyncio
import base64
import gzip
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from gateway_stage import KEY, MAX_BODY, Running, Upstream, config_for, error_of, running

from nanoclawd.gateway import front
from nanoclawd.gateway import proxy as proxy_module
from nanoclawd.gateway.policy import SubordinateRange
from nanoclawd.gateway.refusals import MAX_LOGGED_PER_MINUTE

CHAT = "plain/chat/completions"


async def test_a_request_reaches_its_endpoint_with_the_body_as_sent(gateway: Running, upstream: Upstream):
    async with gateway.client() as client, client.post(CHAT, data=b'{"messages": []}') as answer:
        assert (answer.status, await answer.json()) == (200, {"ok": True})
    assert upstream.targets == ["/v1/chat/completions"]
    assert upstream.bodies == [b'{"messages": []}']


async def test_a_query_is_forwarded(gateway: Running, upstream: Upstream):
    async with gateway.client() as client, client.get("plain/models?beta=true&limit=3") as answer:
        assert answer.status == 200
    assert upstream.targets == ["/v1/models?beta=true&limit=3"]


async def test_only_a_closed_set_of_request_headers_is_forwarded(gateway: Running, upstream: Upstream):
    sent = {
        "Authorization": "Bearer stolen",
        "Cookie": "a=b",
        "X-Api-Key": "stolen",
        "X-Forwarded-For": "1.2.3.4",
        "Proxy-Authorization": "Basic eA==",
        "OpenAI-Organization": "elsewhere",
        "Accept": "text/event-stream",
        "Content-Type": "application/json",
        "User-Agent": "secret-agent",
        "Host": "evil.example",
    }
    async with gateway.client() as client, client.post(CHAT, data=b"{}", headers=sent) as answer:
        assert answer.status == 200
    headers = upstream.headers[0]
    assert set(headers) == {"Host", "Accept", "Content-Type", "Accept-Encoding", "User-Agent", "Content-Length"}
    assert headers["Accept"] == "text/event-stream"
    assert headers["Host"].startswith("127.0.0.1:")
    assert headers["User-Agent"] == "nanoclawd"


async def test_the_endpoints_credential_replaces_the_callers(gateway: Running, upstream: Upstream):
    async with (
        gateway.client() as client,
        client.post("keyed/chat/completions", data=b"{}", headers={"Authorization": "Bearer mine"}) as answer,
    ):
        assert answer.status == 200
    assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_a_missing_credential_says_how_to_add_it(gateway: Running, upstream: Upstream):
    async with gateway.client() as client, client.post("keyless/chat/completions", data=b"{}") as answer:
        error = error_of(await answer.read())
        assert (answer.status, error["type"]) == (503, "credential_missing")
        assert answer.headers["x-should-retry"] == "false"
    assert "ncl credentials put nanoclaw-gateway.absent-key" in error["message"]
    assert not upstream.targets


async def test_an_echoed_credential_never_comes_back(
    gateway: Running, upstream: Upstream, caplog: pytest.LogCaptureFixture
):
    async def echo(request: web.Request) -> web.Response:
        # also across the bound of an error's body, where a cut could leave a part
        padding = "x" * (proxy_module.MAX_ERROR_BODY_BYTES - 10)
        return web.Response(status=400, text=f"{request.headers['Authorization']} {padding}{KEY}{KEY}")

    upstream.answer = echo
    caplog.set_level(logging.DEBUG)
    async with gateway.client() as client, client.post("keyed/chat/completions", data=b"{}") as answer:
        text = await answer.text()
        assert answer.status == 400
    assert text.startswith("Bearer [api-key] xxx")
    assert KEY[:8] not in text
    assert KEY not in caplog.text


@pytest.mark.parametrize("packed", [False, True])
async def test_a_credential_that_an_answer_echoes_never_comes_back(gateway: Running, upstream: Upstream, packed: bool):
    """However it is cut into pieces, and in common spellings: a server of tools may say back what it was sent."""

    async def echo(request: web.Request) -> web.StreamResponse:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        text = f"data: {key}\n\n{base64.b64encode(b'x' + key.encode()).decode()}\n\nand {key}".encode()
        packing = {"Content-Encoding": "gzip"} if packed else {}
        response = web.StreamResponse(headers={"X-Request-Id": f"of {key}", **packing})
        await response.prepare(request)
        for letter in gzip.compress(text) if packed else text:
            await response.write(bytes([letter]))
        return response

    upstream.answer = echo
    async with gateway.client() as client, client.post("keyed/chat/completions", data=b"{}") as answer:
        text = await answer.text()
        assert answer.status == 200
        assert answer.headers["X-Request-Id"] == "of " + "*" * len(KEY)
    stars = "*" * len(KEY)
    assert text.startswith(f"data: {stars}\n\n")
    assert text.endswith(f"and {stars}")
    assert KEY[4:12] not in text
    assert base64.b64encode(b"x" + KEY.encode()).decode()[4:-4] not in text


async def test_what_an_endpoint_packs_in_another_way_is_refused(gateway: Running, upstream: Upstream):
    async def pack(_: web.Request) -> web.Response:
        return web.Response(body=b"???", headers={"Content-Encoding": "br"})

    upstream.answer = pack
    async with gateway.client() as client, client.post("keyed/chat/completions", data=b"{}") as answer:
        assert answer.status == 502
        assert "packs its answer" in error_of(await answer.read())["message"]


async def test_a_refused_credential_is_said_in_our_words(gateway: Running, upstream: Upstream):
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "Incorrect API key provided: sk-te***cdef"}}, status=401)

    upstream.answer = refuse
    async with gateway.client() as client:
        async with client.post("keyed/chat/completions", data=b"{}") as answer:
            assert answer.status == 401
            assert error_of(await answer.read())["message"] == 'endpoint keyed does not accept the API key "api-key"'
        async with client.post(CHAT, data=b"{}") as answer:
            assert "config.yaml names none" in error_of(await answer.read())["message"]


async def test_only_a_closed_set_of_response_headers_comes_back(gateway: Running, upstream: Upstream):
    async def answer_with_headers(_: web.Request) -> web.Response:
        headers = {"Set-Cookie": "a=b", "X-Request-Id": "r1", "Retry-After": "7", "X-Internal": "1", "Server": "s"}
        return web.json_response({"error": "slow down"}, status=429, headers=headers)

    upstream.answer = answer_with_headers
    async with gateway.client() as client, client.post(CHAT, data=b"{}") as answer:
        assert answer.status == 429
        assert await answer.json() == {"error": "slow down"}
        found = {name.lower() for name in answer.headers}
        assert (answer.headers["Retry-After"], answer.headers["X-Request-Id"]) == ("7", "r1")
    assert not found & {"set-cookie", "x-internal"}


async def test_a_redirect_is_not_followed(gateway: Running, upstream: Upstream):
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{upstream.url}/models"})

    upstream.answer = redirect
    async with gateway.client() as client, client.post(CHAT, data=b"{}") as answer:
        assert (answer.status, error_of(await answer.read())["type"]) == (502, "endpoint_redirects")
        assert "Location" not in answer.headers
    assert len(upstream.targets) == 1


async def test_each_chunk_arrives_before_the_next_is_made(gateway: Running, upstream: Upstream):
    told = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(3):
            await response.write(b"data: %d\n\n" % number)
            await told.wait()  # only a reader that has this chunk lets the next one be made
            told.clear()
        return response

    upstream.answer = stream
    async with gateway.client() as client, client.post(CHAT, data=b"{}") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        for number in range(3):
            assert await asyncio.wait_for(answer.content.readany(), 5) == b"data: %d\n\n" % number
            told.set()
        assert await answer.content.readany() == b""


async def test_the_request_streams_too(gateway: Running, upstream: Upstream):
    arrived, more = asyncio.Event(), asyncio.Event()

    async def read_in_steps(request: web.Request) -> web.Response:
        first = await request.content.readany()
        arrived.set()
        return web.json_response({"read": (first + await request.content.read()).decode()})

    async def body() -> AsyncIterator[bytes]:
        yield b"one,"
        await more.wait()
        yield b"two"

    upstream.answer = read_in_steps
    async with gateway.client() as client:
        asking = asyncio.create_task(client.post(CHAT, data=body()))
        await asyncio.wait_for(arrived.wait(), 5)
        more.set()
        async with await asking as answer:
            assert await answer.json() == {"read": "one,two"}


async def test_a_slow_reader_holds_the_endpoint_back(gateway: Running, upstream: Upstream):
    """Back-pressure: what is on its way is bounded, whatever the endpoint has to say."""
    written = 0
    stuck = asyncio.Event()

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            try:
                async with asyncio.timeout(1):
                    await response.write(b"x" * 65_536)
            except TimeoutError:
                stuck.set()
                raise
            written += 65_536

    upstream.answer = pour
    async with gateway.client() as client, client.post(CHAT, data=b"{}") as answer:
        assert answer.status == 200
        await asyncio.wait_for(stuck.wait(), 20)
        assert written < 32 * 1024 * 1024


async def test_a_caller_that_leaves_ends_its_request_at_the_endpoint(gateway: Running, upstream: Upstream):
    begun = asyncio.Event()

    async def never_end(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        begun.set()
        await asyncio.Event().wait()
        return response

    upstream.answer = never_end
    async with gateway.client() as client:
        answer = await client.post(CHAT, data=b"{}")
        await asyncio.wait_for(begun.wait(), 5)
        answer.close()
        await asyncio.wait_for(upstream.gone.wait(), 5)


async def test_a_declared_body_over_the_bound_is_refused_unread(gateway: Running, upstream: Upstream):
    answer = await gateway.raw(
        b"POST /plain/chat/completions HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)
    )
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert f"over the limit of {MAX_BODY} bytes".encode() in answer
    assert not upstream.targets


async def test_a_chunked_body_over_the_bound_is_refused(gateway: Running, upstream: Upstream):
    async def body() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b"x" * 1024

    async with gateway.client() as client, client.post(CHAT, data=body()) as answer:
        assert (answer.status, error_of(await answer.read())["type"]) == (413, "body_too_large")
    assert not upstream.bodies


@pytest.mark.parametrize("size", [MAX_BODY - 1, MAX_BODY])
async def test_a_body_up_to_the_bound_passes(gateway: Running, upstream: Upstream, size: int):
    async with gateway.client() as client, client.post(CHAT, data=b"x" * size) as answer:
        assert answer.status == 200
    assert len(upstream.bodies[0]) == size


async def test_a_body_that_stops_coming_is_cut_off(gateway: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proxy_module, "REQUEST_SILENCE_SECONDS", 0.2)
    answer = await gateway.raw(b"POST /plain/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Length: 10\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/plain/../keyed/models", 403),
        (b"/plain/chat/completions/", 403),
        (b"/plain/chat//completions", 403),
        (b"/plain/files", 403),
        (b"/plain/chat%2fcompletions", 400),
        (b"/plain/models%00", 400),
        (b"/plain/models?key=%41", 400),
        (b"/plain", 400),
        (b"/", 400),
        (b"//plain/models", 400),
        (b"/Plain/models", 400),
        (b"/forbidden/models", 403),
        (b"/unknown/models", 404),
        (b"http://example.org/plain/models", 403),
        (b"*", 400),
    ],
)
async def test_other_targets_are_refused(gateway: Running, upstream: Upstream, target: bytes, status: int):
    answer = await gateway.raw(b"GET " + target + b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == str(status).encode()
    assert not upstream.targets


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "CONNECT", "TRACE", "BREW"])
async def test_other_methods_are_refused(gateway: Running, upstream: Upstream, method: str):
    answer = await gateway.raw(f"{method} /plain/models HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n".encode())
    assert answer[9:10] == b"4"
    assert not upstream.targets


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: gzip, identity\r\n",
        b"X: " + b"y" * 70_000 + b"\r\n",
    ],
)
async def test_ambiguous_or_oversized_heads_are_refused(gateway: Running, upstream: Upstream, head: bytes):
    data = b"POST /plain/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\n" + head + b"\r\n0\r\n\r\n"
    assert (await gateway.raw(data))[8:13] in (b" 400 ", b" 431 ")
    assert not upstream.targets


async def test_an_endpoint_that_is_down_is_named(gateway: Running):
    async with gateway.client() as client:
        async with client.post("dead/chat/completions", data=b"{}") as answer:
            error = error_of(await answer.read())
            assert (answer.status, error["type"]) == (502, "endpoint_unreachable")
            assert error["message"].startswith("endpoint dead fails (")
            assert "x-should-retry" not in answer.headers
        async with client.post("embedded/chat/completions", data=b"{}") as answer:
            message = error_of(await answer.read())["message"]
            assert answer.status == 502
    assert "systemctl --user -M nanoclaw@ status nanoclaw-model" in message


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_silent_endpoint_is_a_timeout(upstream: Upstream, place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(proxy_module, "SILENCE_MARGIN_SECONDS", -299.8)
    listener = await asyncio.start_unix_server(silent, place / "nobody.sock")
    config = config_for(upstream.url, place)
    async with (
        listener,
        running(config, [SubordinateRange(0, 1)], upstream, place) as gateway,
        gateway.client() as client,
        client.post("dead/chat/completions", data=b"{}") as answer,
    ):
        assert (answer.status, error_of(await answer.read())["type"]) == (504, "endpoint_timeout")


async def test_an_answer_that_breaks_off_is_never_taken_for_whole(gateway: Running, place: Path):
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await writer.drain()
        writer.close()

    content = b""
    async with (
        await asyncio.start_unix_server(break_off, place / "nobody.sock"),
        gateway.client() as client,
        client.post("dead/chat/completions", data=b"") as answer,
    ):
        while b"endpoint_broke_off" not in content:
            content += await answer.content.readany()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
    assert content.startswith(b"data: 1\n\ndata: ")
    assert error_of(content.split(b"data: ")[2].strip())["type"] == "endpoint_broke_off"


async def test_the_environments_proxies_are_not_used(gateway: Running, monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with gateway.client() as client, client.get("plain/models") as answer:
        assert answer.status == 200


async def test_cookies_of_an_endpoint_are_not_kept(gateway: Running, upstream: Upstream):
    async def set_cookie(_: web.Request) -> web.Response:
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    upstream.answer = set_cookie
    async with gateway.client() as client:
        for _ in range(2):
            async with client.get("plain/models"):
                pass
    assert "Cookie" not in upstream.headers[1]


async def test_who_connects_and_says_nothing_is_not_waited_for(gateway: Running, monkeypatch: pytest.MonkeyPatch):
    """Nor who says too little for anybody to know where it wants to."""
    monkeypatch.setattr(front, "KNOCK_SECONDS", 0.1)
    for begun in (b"", b"GET "):
        reader, writer = await asyncio.open_unix_connection(str(gateway.socket))
        writer.write(begun)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_connections_over_the_bound_are_turned_away_and_come_back(gateway: Running):
    held = []
    for _ in range(4):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(gateway.socket))
        held.append(connection)
    async with gateway.client() as client:
        reader, writer = await asyncio.open_unix_connection(str(gateway.socket))
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 429 ")
        writer.close()
        held.pop().close()
        await asyncio.sleep(0)
        async with client.get("plain/models") as answer:
            assert answer.status == 200
    for connection in held:
        connection.close()


async def test_refusals_are_logged_with_the_group_at_a_bounded_rate(gateway: Running, caplog: pytest.LogCaptureFixture):
    async with gateway.client() as client:
        for _ in range(MAX_LOGGED_PER_MINUTE + 5):
            async with client.post("plain/files", data=b"private words") as answer:
                assert answer.status == 403
    records = [record for record in caplog.records if record.name == "nanoclawd.gateway.refusals"]
    assert len(records) == MAX_LOGGED_PER_MINUTE
    assert all(record.__dict__["NANOCLAW_GROUP"] == "tests" for record in records)
    assert "not logged" in records[-1].getMessage()
    assert "private words" not in caplog.text


async def test_tls_is_verified(place: Path, tls_upstream: str):
    config = config_for(tls_upstream, place)
    async with (
        running(config, [SubordinateRange(0, 1)], Upstream(), place) as gateway,
        gateway.client() as client,
        client.post("keyed/chat/completions", data=b"{}") as answer,
    ):
        assert answer.status == 502
        assert "its TLS certificate cannot be verified" in error_of(await answer.read())["message"]
