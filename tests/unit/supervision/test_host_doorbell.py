"""The host's end of a doorbell, over real SEQPACKET sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from nanoclaw_runner.contract.doorbell import MAX_FRAME_BYTES, RING, Partial, encode_partial
from nanoclawd.supervision.doorbell import Doorbell, DoorbellEvents


@dataclass
class Heard:
    """What a doorbell has told, in order; each is awaited, none is polled for."""

    events: list[object] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, event: object) -> None:
        self.events.append(event)
        self.news.set()

    def listeners(self) -> DoorbellEvents:
        return DoorbellEvents(
            rung=lambda: self.add("rung"),
            partial=self.add,
            closed=lambda: self.add("closed"),
            broken=lambda reason: self.add(f"broken: {reason}"),
        )

    async def until(self, event: object) -> None:
        async with asyncio.timeout(10):
            while event not in self.events:
                self.news.clear()
                await self.news.wait()


@dataclass
class Line:
    doorbell: Doorbell
    container: socket.socket
    heard: Heard


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    host, container = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.setblocking(False)
    heard = Heard()
    made = Line(Doorbell(host, heard.listeners()), container, heard)
    yield made
    made.doorbell.close()
    container.close()


async def test_rings_that_wait_together_are_one(line: Line):
    for _ in range(20):
        line.container.send(RING)
    await line.heard.until("rung")
    assert line.heard.events == ["rung"]


async def test_of_partials_only_the_newest(line: Line):
    for text in ("a", "ab", "abc"):
        line.container.send(encode_partial(Partial("m1", text)))
    line.container.send(RING)
    await line.heard.until("rung")
    assert line.heard.events == [Partial("m1", "abc"), "rung"]


async def test_a_ring_into_a_full_queue_is_not_lost(line: Line):
    """The container reads late; once it has emptied its queue it must find one ring more, or have looked after it."""
    line.container.setblocking(False)
    line.doorbell._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    while True:
        try:
            line.doorbell._socket.send(RING)
        except BlockingIOError:
            break
    for _ in range(3):
        line.doorbell.ring()
    before = 0
    while True:
        try:
            assert line.container.recv(100) == RING
        except BlockingIOError:
            break
        before += 1
    assert before > 0
    container = line.container
    async with asyncio.timeout(10):
        assert await asyncio.get_running_loop().sock_recv(container, 100) == RING
    with pytest.raises(BlockingIOError):
        container.recv(100)
    line.doorbell.ring()
    assert container.recv(100) == RING


@pytest.mark.parametrize("frames", [[], [RING], [encode_partial(Partial("m1", "half"))]])
async def test_the_containers_end(line: Line, frames: list[bytes]):
    """What it said before is told first; its end is told once."""
    for frame in frames:
        line.container.send(frame)
    line.container.close()
    await line.heard.until("closed")
    told: list[object] = ["rung" if frame == RING else Partial("m1", "half") for frame in frames]
    assert line.heard.events == [*told, "closed"]
    line.doorbell.ring()
    line.doorbell.close()
    assert line.heard.events.count("closed") == 1


async def test_ringing_at_a_dead_container_tells_its_end(line: Line):
    line.container.close()
    line.doorbell.ring()
    assert line.heard.events == ["closed"]


async def test_the_largest_frame_is_taken(line: Line):
    frame = encode_partial(Partial("m1", "x" * (2 * MAX_FRAME_BYTES)))
    assert len(frame) == MAX_FRAME_BYTES
    line.container.send(frame)
    line.container.send(RING)
    await line.heard.until("rung")
