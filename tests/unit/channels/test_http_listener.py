"""What programs send by HTTP: bounded in size, number and time, each path its own channel's (W-56)."""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.channels.http_listener import MAX_CONNECTIONS, Bounds, HttpListener
from nanoclawd.channels.http_routes import MAX_BODY_BYTES, Reply, Request
from nanoclawd.errors import AlreadyExists, Unavailable

SHORT = Bounds(receive_seconds=0.3, whole_seconds=2.0, stop_seconds=0.5)


@dataclass
class Stage:
    """A listener on a unix socket, as systemd passes one, and a handler that notes what it was given."""

    listener: HttpListener
    passed: socket.socket
    path: str
    requests: list[Request] = field(default_factory=list)
    reply: Reply | Exception = field(default_factory=lambda: Reply(202, {"accepted": "one"}))

    async def handle(self, request: Request) -> Reply:
        self.requests.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path)

    async def send(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes; return status, headers and body of the answer; the status is 0 where there was none."""
        reader, writer = await self.connect()
        writer.write(raw)
        try:
            async with asyncio.timeout(10):
                return parsed(await reader.read())
        except ConnectionError:
            return 0, {}, b""
        finally:
            writer.close()


def parsed(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    if not raw:
        return 0, {}, b""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


def post(path: str, body: bytes = b"{}", **headers: str) -> bytes:
    named = {"Host": "x", "Content-Length": str(len(body))} | {n.replace("_", "-"): v for n, v in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


@contextlib.asynccontextmanager
async def opened(path: Path, bounds: Bounds = SHORT) -> AsyncIterator[Stage]:
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(path))
    passed.listen(1024)
    stage = Stage(HttpListener(bounds), passed, str(path))
    stage.listener.open([passed.dup()])  # the manager keeps its own
    try:
        yield stage
    finally:
        await stage.listener.close()
        passed.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with opened(tmp_path / "http.sock") as stage:
        stage.listener.register("/hooks", stage.handle)
        yield stage


async def test_a_request_reaches_the_channel_that_has_its_path(stage: Stage):
    status, headers, body = await stage.send(post("/hooks/ci?event=push&event=other", b'{"a":1}', X_Word="Yes"))
    assert (status, json.loads(body)) == (202, {"accepted": "one"})
    assert headers["connection"] == "close"
    (request,) = stage.requests
    assert (request.method, request.path, request.query, request.body) == ("POST", "ci", {"event": "push"}, b'{"a":1}')
    assert request.headers["x-word"] == "Yes"


async def test_paths_do_not_overlap_and_are_given_back(stage: Stage):
    other: list[Request] = []

    async def handle(request: Request) -> Reply:
        other.append(request)
        return Reply(200)

    stage.listener.register("/telegram/work", handle)
    with pytest.raises(AlreadyExists):
        stage.listener.register("/telegram/work", handle)
    assert [
        (await stage.send(post(path)))[0] for path in ("/telegram/work", "/telegram/work/", "/telegram/worker")
    ] == [
        200,
        200,
        404,
    ]
    assert [request.path for request in other] == ["", ""]
    stage.listener.unregister("/telegram/work")
    stage.listener.unregister("/telegram/work")
    assert [(await stage.send(post(path)))[0] for path in ("/telegram/work", "/", "/hook", "//hooks")] == [404] * 4
    assert stage.requests == []


async def test_a_body_is_bounded_said_or_not_before_it_is_held(stage: Stage):
    limit = MAX_BODY_BYTES
    assert (await stage.send(post("/hooks/a", b"x" * limit)))[0] == 202
    assert (await stage.send(post("/hooks/a", b"x" * (limit + 1))))[0] == 413
    assert (await stage.send(b"POST /hooks/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"))[0] == 413
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    chunked = b"POST /hooks/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + piece * 9 + b"0\r\n\r\n"
    assert (await stage.send(chunked))[0] == 413
    assert (await stage.send(post("/hooks/a", b"x" * 10, Content_Encoding="gzip")))[0] == 415
    assert len(stage.requests) == 1


async def test_curl_waiting_for_leave_to_send_gets_it(stage: Stage):
    reader, writer = await stage.connect()
    writer.write(b"POST /hooks/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert parsed(await reader.read())[0] == 202
    writer.close()


async def test_slow_clients_are_hung_up_on_and_others_are_answered_meanwhile(stage: Stage):
    async def drip() -> int:
        reader, writer = await stage.connect()
        sent = 0
        with contextlib.suppress(ConnectionError):
            for byte in post("/hooks/slow", b"x" * 100000):
                writer.write(bytes((byte,)))
                await writer.drain()
                sent += 1
                if sent < 20:
                    continue
                async with asyncio.timeout(5):
                    assert await reader.read() == b""  # hung up without an answer
                break
        writer.close()
        return sent

    slow = [asyncio.create_task(drip()) for _ in range(MAX_CONNECTIONS + 10)]
    assert (await stage.send(post("/hooks/quick")))[0] == 202
    assert all(await asyncio.gather(*slow))
    assert [request.path for request in stage.requests] == ["quick"]


async def test_more_clients_than_places_wait_and_are_all_answered(stage: Stage):
    everybody = await asyncio.gather(*(stage.send(post(f"/hooks/{n}")) for n in range(200)))
    assert [status for status, _, _ in everybody] == [202] * 200
    assert sorted(int(request.path) for request in stage.requests) == list(range(200))


async def test_what_cannot_be_done_now_is_put_off_and_a_fault_says_nothing_of_the_request(
    stage: Stage, caplog: pytest.LogCaptureFixture
):
    stage.reply = Unavailable("the disk is full")
    status, headers, _ = await stage.send(post("/hooks/very-secret", b"very-secret", Authorization="very-secret"))
    assert (status, headers["retry-after"]) == (503, "30")
    stage.reply = ValueError("a bug")
    status, _, body = await stage.send(post("/hooks/very-secret", b"very-secret", Authorization="very-secret"))
    assert (status, body) == (500, b"")
    assert "a bug" in caplog.text
    assert "very-secret" not in caplog.text


async def test_who_comes_while_the_daemon_restarts_is_answered_by_the_next_one(tmp_path: Path):
    async with opened(tmp_path / "http.sock") as first:
        await first.listener.close()
        reader, writer = await first.connect()
        writer.write(post("/hooks/late"))
        second = Stage(HttpListener(SHORT), first.passed, first.path)
        second.listener.register("/hooks", second.handle)
        second.listener.open([first.passed.dup()])
        async with asyncio.timeout(10):
            assert parsed(await reader.read())[0] == 202
        assert [request.path for request in second.requests] == ["late"]
        writer.close()
        await second.listener.close()


async def test_a_request_in_progress_is_answered_before_the_end(stage: Stage):
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def handle(_request: Request) -> Reply:
        entered.set()
        await go_on.wait()
        return Reply(200)

    stage.listener.register("/wait", handle)
    answer = asyncio.create_task(stage.send(post("/wait")))
    await entered.wait()
    closing = asyncio.create_task(stage.listener.close())
    go_on.set()
    assert (await answer)[0] == 200
    await closing


@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda line, rest: b"POST /hooks/" + line + rest, st.binary(max_size=60), st.binary(max_size=200)),
        st.builds(
            lambda name, value, body: b"POST /hooks/a HTTP/1.1\r\n" + name + b":" + value + b"\r\n\r\n" + body,
            st.binary(max_size=30),
            st.binary(max_size=60),
            st.binary(max_size=60),
        ),
    )
)
def test_no_bytes_whatever_stop_the_listener(raw: bytes):
    async def play() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.setblocking(False)
            from nanoclawd.channels.http_server import HttpServer

            stage = Stage(HttpListener(), theirs, "")
            stage.listener.register("/hooks", stage.handle)
            server = HttpServer(stage.listener.find, asyncio.get_running_loop(), 0.2)
            ours.sendall(raw)
            ours.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(5):
                await server(theirs)
            answer = ours.recv(65536)
            assert not answer or answer.startswith(b"HTTP/1.")

    asyncio.run(play())


async def test_the_library_is_loaded_by_the_first_who_comes(tmp_path: Path):
    program = f"""
import asyncio, socket, sys
sys.path[:0] = {sys.path!r}
from nanoclawd.channels.http_listener import HttpListener
from nanoclawd.channels.http_routes import Reply

async def main():
    passed = socket.create_server(("127.0.0.1", 0))
    listener = HttpListener()
    async def handle(request):
        return Reply(200)
    listener.register("/here", handle)
    listener.open([passed])
    before = "aiohttp" in sys.modules
    reader, writer = await asyncio.open_connection(*passed.getsockname())
    writer.write(b"POST /here HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    await listener.close()
    print(before, "aiohttp" in sys.modules, answer.split()[1])

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "False True b'200'"
