"""Requests that wait at the gateway: nothing of them goes on before somebody's word.

F-108, F-109, F-110, F-113: what the agent's program sees of it. Who decides stands behind the daemon's real socket.
"""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from door_stage import NAME, Inside
from egress_stage import Out, answers, post, status

from nanoclawd.control.requests import RequestsServer
from nanoclawd.control.values import HeldRequest, RequestAnswer
from nanoclawd.errors import Unavailable
from nanoclawd.gateway import asking
from nanoclawd.gateway.asking import MAX_PREVIEW_BYTES

OK = "HTTP/1.1 200 Fine\nContent-Length: 5"


@dataclass
class Deciding:
    """Whoever decides: what they are shown, and what they say."""

    asked: "asyncio.Queue[HeldRequest]" = field(default_factory=asyncio.Queue)
    said: "asyncio.Queue[RequestAnswer]" = field(default_factory=asyncio.Queue)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    away: bool = False

    async def hold(self, request: HeldRequest, tell: Callable[[RequestAnswer], Awaitable[None]]) -> RequestAnswer:
        await self.asked.put(request)
        if self.away:
            raise Unavailable("the disk is full")
        await tell(RequestAnswer("asked", "card"))
        try:
            return await self.said.get()
        except asyncio.CancelledError:
            self.gone.set()
            raise

    async def sees(self) -> HeldRequest:
        async with asyncio.timeout(10):
            return await self.asked.get()

    def says(self, outcome: str, **more: object) -> None:
        self.said.put_nowait(RequestAnswer(outcome, "card", **more))  # type: ignore[arg-type]


@asynccontextmanager
async def deciding(out: Out) -> AsyncIterator[Deciding]:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(out.gateway.socket.with_name("requests.sock")))
    listening.listen(16)
    backend = Deciding()
    server = RequestsServer(backend, os.getuid())
    await server.start(listening)
    yield backend
    await server.stop()


@pytest.fixture
async def plain(way_out: Out) -> AsyncIterator[Deciding]:
    way_out.allow(way_out.host.rule(action="ask"))
    async with deciding(way_out) as found:
        yield found


@pytest.fixture
async def within(door: Inside) -> AsyncIterator[Deciding]:
    """Held inside TLS: at a port of its own a rule has to speak of a path for that."""
    door.bind(rules=[door.rule(action="ask", path="/")])
    async with deciding(door) as found:
        yield found


async def test_nothing_goes_on_before_it_is_allowed_and_then_all_of_it(way_out: Out, plain: Deciding):
    body = bytes(range(256)) * 1000
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heard.append(head + await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhello")

    way_out.host.serving = serve
    asking = asyncio.create_task(way_out.ask(post(way_out.host, body)))
    seen = await plain.sees()
    assert (seen.group, seen.method, seen.scheme, seen.host, seen.path) == (
        "tests",
        "POST",
        "http",
        "127.0.0.1",
        "/a?b=c",
    )
    assert seen.preview == body[:MAX_PREVIEW_BYTES].decode("utf-8", "replace")
    assert (way_out.host.connections, asking.done()) == (0, False)
    plain.says("allowed")
    assert (await asking).endswith(b"hello")
    assert heard[0].endswith(body)


@pytest.mark.parametrize(
    ("outcome", "code", "kind"),
    [
        ("denied", 403, "approval_denied"),
        ("expired", 403, "approval_expired"),
        ("unreachable", 403, "no_approver"),
        ("crowded", 429, "too_many_held"),
    ],
)
async def test_what_is_not_allowed_goes_nowhere(way_out: Out, plain: Deciding, outcome: str, code: int, kind: str):
    plain.says(outcome, words="for a reason")
    answer = await way_out.get("/", headers="Accept: application/json\r\n")
    assert status(answer) == code
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == kind
    assert (b"Retry-After: " in answer) is (code == 429)
    assert not way_out.host.connections


async def test_a_tunnel_is_held_as_a_whole(way_out: Out, plain: Deciding):
    opening = asyncio.create_task(way_out.connect())
    seen = await plain.sees()
    assert (seen.method, seen.path, seen.scheme, seen.port) == (None, None, None, way_out.host.port)
    assert not way_out.host.connections
    plain.says("allowed")
    _, writer = await opening
    writer.close()


async def test_a_request_inside_tls_is_shown_whole_and_held(door: Inside, within: Deciding):
    door.host.serving = answers(OK, b"hello")
    asking = asyncio.create_task(door.fetch("/v1/x?y", "Content-Length: 4\r\n", "PUT", b"body"))
    seen = await within.sees()
    assert (seen.method, seen.scheme, seen.host, seen.path) == ("PUT", "https", NAME, "/v1/x?y")
    assert seen.preview == "body"
    assert not door.host.connections
    within.says("denied")
    answer = await asking
    assert status(answer) == 403
    assert b"somebody with the right to decide refused it" in answer
    assert not door.host.connections


async def test_so_many_wait_at_once(way_out: Out, plain: Deciding, monkeypatch: pytest.MonkeyPatch):
    """Of all groups: one more is refused at once, with when to ask again; there is room when one is decided."""
    monkeypatch.setattr(asking, "MAX_HELD", 2)
    way_out.host.serving = answers(OK, b"hello")
    waiting = [asyncio.create_task(way_out.get()) for _ in range(2)]
    for _ in waiting:
        await plain.sees()
    answer = await way_out.get(headers="Accept: application/json\r\n")
    assert status(answer) == 429
    assert b"too_many_held" in answer
    assert b"Retry-After: " in answer
    assert plain.asked.empty()
    plain.says("allowed")
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    waiting.append(asyncio.create_task(way_out.get()))
    await plain.sees()
    for _ in range(2):
        plain.says("allowed")
    assert [status(one) for one in await asyncio.gather(*waiting)] == [200] * 3


async def test_a_daemon_that_cannot_ask_now_is_asked_again_under_the_same_number(
    way_out: Out, plain: Deciding, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(asking, "_FIRST_PAUSE_SECONDS", 0.01)
    way_out.host.serving = answers(OK, b"hello")
    plain.away = True
    held = asyncio.create_task(way_out.get())
    first = await plain.sees()
    plain.away = False
    again = await plain.sees()
    assert again.id == first.id
    assert again.seconds <= first.seconds
    plain.says("allowed")
    assert status(await held) == 200


@pytest.mark.parametrize("size", [0, 10, 4 * 1024 * 1024])
async def test_who_leaves_is_not_waited_for(way_out: Out, plain: Deciding, size: int):
    """Also where a part of the body, which nobody reads, stands before the end of the connection."""
    _, writer = await way_out.open()
    writer.write(post(way_out.host, b"x" * size))
    await plain.sees()
    writer.transport.abort()
    await asyncio.wait_for(plain.gone.wait(), 10)


async def test_a_body_that_waits_to_be_called_for_is_not_called_for(way_out: Out, plain: Deciding):
    reader, writer = await way_out.open()
    head, _, _ = post(way_out.host, b"x" * 10, "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert (await plain.sees()).preview == ""
    plain.says("denied")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert status(answer) == 403
    assert b"100 Continue" not in answer
    writer.close()


async def test_what_was_allowed_where_one_rule_asked_is_asked_about_by_another(way_out: Out, plain: Deciding):
    """The same rule, published once more, changes nothing."""
    opening = asyncio.create_task(way_out.connect())
    await plain.sees()
    plain.says("allowed", until=time.time() + 3600)
    reader, writer = await opening
    way_out.allow(way_out.host.rule(action="ask"), {"id": 9, "action": "deny", "host": "example.org"})
    writer.write(b"one")
    assert await asyncio.wait_for(reader.readexactly(3), 10) == b"one"
    way_out.allow(way_out.host.rule(id=2, action="ask"))
    writer.write(b"two")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(3), 10)
    assert way_out.host.heard == [b"one"]
    writer.close()


async def test_an_hour_that_is_over_ends_what_was_allowed(way_out: Out, plain: Deciding):
    """What is open by then ends before its next byte."""
    opening = asyncio.create_task(way_out.connect())
    await plain.sees()
    plain.says("allowed", until=1.0)
    with pytest.raises(AssertionError, match=r"HTTP/1\.1 403"):
        await opening
