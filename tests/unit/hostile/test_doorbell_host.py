"""The host's end of the doorbell against a container that breaks every rule of it."""

import asyncio
import select
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nanoclaw_runner.contract.doorbell import MAX_FRAME_BYTES, MAX_FRAMES_PER_SECOND, RING, Partial, encode_partial
from nanoclawd.supervision.doorbell import Doorbell, DoorbellEvents

LONGEST_HOLD_SECONDS = 0.05


@dataclass
class Heard:
    """What the doorbell told, and how long it kept the loop at most."""

    rings: int = 0
    partials: list[Partial] = field(default_factory=list)
    closed: int = 0
    broken: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def events(self) -> DoorbellEvents:
        return DoorbellEvents(self._rung, self._partial, self._closed, self._broken)

    async def until_closed(self) -> None:
        async with asyncio.timeout(10):
            while not self.closed:
                self.news.clear()
                await self.news.wait()

    def _rung(self) -> None:
        self.rings += 1
        self.news.set()

    def _partial(self, partial: Partial) -> None:
        self.partials.append(partial)
        self.news.set()

    def _closed(self) -> None:
        self.closed += 1
        self.news.set()

    def _broken(self, reason: str) -> None:
        self.broken.append(reason)
        self.news.set()


@dataclass
class Line:
    host: Doorbell
    container: socket.socket
    heard: Heard


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(path))
        listening.listen()
        heard = Heard()
        host = await Doorbell.connect(path, heard.events())
        container, _ = listening.accept()
        container.setblocking(False)
        yield Line(host, container, heard)
        host.close()
        container.close()


async def test_rings_and_partials_are_heard(line: Line) -> None:
    line.container.send(encode_partial(Partial("in-1", "hel")))
    line.container.send(encode_partial(Partial("in-1", "hello")))
    line.container.send(RING)
    async with asyncio.timeout(5):
        while not line.heard.rings:
            line.heard.news.clear()
            await line.heard.news.wait()
    # What was in the queue together is told once: the newest text, and one ring.
    assert line.heard.partials[-1] == Partial("in-1", "hello")
    assert line.heard.rings == 1


@pytest.mark.parametrize(
    "frame",
    [b"\x03", b"\x01\x01", b"\x02no separator", b"\x02id\0" + b"x" * MAX_FRAME_BYTES, b"x" * 100_000],
    ids=["unknown", "long ring", "no separator", "oversize partial", "oversize"],
)
async def test_a_frame_that_is_none_ends_the_line_and_says_why(line: Line, frame: bytes) -> None:
    line.container.send(frame)
    await line.heard.until_closed()
    assert len(line.heard.broken) == 1
    assert line.heard.closed == 1


async def test_bytes_that_are_no_text_are_a_partial_all_the_same(line: Line) -> None:
    line.container.send(b"\x02\xff\0\xfe\x80")
    async with asyncio.timeout(5):
        await line.heard.news.wait()
    assert line.heard.partials == [Partial("\ufffd", "\ufffd\ufffd")]


@pytest.mark.parametrize("frame", [RING, b"\x02id\0" + b"x" * (MAX_FRAME_BYTES - 4)], ids=["rings", "partials"])
async def test_a_flood_is_ended_without_keeping_the_loop(line: Line, frame: bytes) -> None:
    loop = asyncio.get_running_loop()
    flooding = loop.run_in_executor(None, _flood, line.container, frame)
    longest, last = 0.0, time.thread_time()
    async with asyncio.timeout(10):
        while not line.heard.closed:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
    await flooding
    assert line.heard.broken == [f"more than {MAX_FRAMES_PER_SECOND} doorbell frames in a second"]
    assert line.heard.rings + len(line.heard.partials) <= MAX_FRAMES_PER_SECOND
    # Processor time of the loop's thread in one callback: what a busy machine adds is not the doorbell's.
    assert longest < LONGEST_HOLD_SECONDS


def _flood(container: socket.socket, frame: bytes) -> None:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        try:
            container.send(frame)
        except BlockingIOError:
            select.select([], [container], [], 1)
        except OSError:
            return


async def test_a_pace_below_the_bound_is_kept_for_ever(line: Line) -> None:
    for _ in range(5):
        for _ in range(MAX_FRAMES_PER_SECOND // 5):
            line.container.send(RING)
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)  # the pace is the subject
    assert line.heard.broken == []
    assert line.heard.rings > 0


async def test_an_empty_frame_and_a_shutdown_are_an_end(line: Line) -> None:
    line.container.shutdown(socket.SHUT_RDWR)
    await line.heard.until_closed()
    line.host.ring()
    assert (line.heard.closed, line.heard.broken) == (1, [])


async def test_a_half_shutdown_is_noticed_at_the_next_ring(line: Line) -> None:
    line.container.shutdown(socket.SHUT_RD)
    line.host.ring()
    await line.heard.until_closed()
    assert line.heard.closed == 1


async def test_descriptors_that_come_with_a_frame_are_dropped(line: Line) -> None:
    before = _descriptors()
    for _ in range(20):
        socket.send_fds(line.container, [RING], [line.container.fileno()] * 10)
    line.container.send(encode_partial(Partial("the", "last")))
    async with asyncio.timeout(5):
        while not line.heard.partials:
            line.heard.news.clear()
            await line.heard.news.wait()
    assert _descriptors() == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_container_that_never_reads_holds_nobody_up(line: Line) -> None:
    """A full queue already says "look again"; the ring that did not fit follows when there is room."""
    loop = asyncio.get_running_loop()
    for _ in range(5000):
        line.host.ring()
    got = 0
    async with asyncio.timeout(5):
        while True:
            try:
                assert line.container.recv(10) == RING
            except BlockingIOError:
                if not line.host._ring_waits:
                    break
                assert await loop.sock_recv(line.container, 10) == RING
            got += 1
    assert 0 < got < 5000
    line.host.ring()
    assert line.container.recv(10) == RING


async def test_closing_tells_nobody(line: Line) -> None:
    line.host.close()
    line.host.close()
    line.host.ring()
    async with asyncio.timeout(5):
        assert await asyncio.get_running_loop().sock_recv(line.container, 10) == b""
    assert line.heard.closed == 0


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await Doorbell.connect(tmp_path / "nothing", Heard().events())
