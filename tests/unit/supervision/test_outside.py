"""The daemon's side of a gateway outside: who is held, from when to when, and what is told.

F-107: while OneCLI is away nobody is started to fail; W-45: what can do without it is not held, and nobody has to help.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from eventually import eventually
from nanoclawd.egress.outside import Outside
from nanoclawd.supervision.admission import Admission, Bounds, Hold
from nanoclawd.supervision.outside import OutsideWatch

READY = Outside("ready")
AWAY = Outside("away", "OneCLI cannot be reached", "look")


@dataclass
class Gateway:
    """Says what a test says, to whoever asks."""

    path: Path
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    server: asyncio.Server | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin(self) -> None:
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /-/outside HTTP/1.1\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.writers.append(writer)
        self.asked.set()

    async def say(self, state: Outside) -> None:
        async with asyncio.timeout(10):
            await self.asked.wait()
        line = msgspec.json.encode(state) + b"\n"
        self.writers[-1].write(b"%x\r\n%b\r\n" % (len(line), line))

    async def end(self) -> None:
        """Be gone, as a service that restarts."""
        self.asked.clear()
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.path.unlink(missing_ok=True)


@dataclass
class Stage:
    gateway: Gateway
    admission: Admission
    watch: OutsideWatch
    told: list[str] = field(default_factory=list)

    async def on_hold(self, hold: Hold) -> None:
        self.told.append(hold.reason)

    def wakes(self, session: str, group: str) -> asyncio.Task[None]:
        return asyncio.create_task(self.admission.enter(session, group, self.on_hold))


@asynccontextmanager
async def staged(place: Path, patience: float = 60.0, concerned: frozenset[str] = frozenset({"out"})) -> AsyncIterator:
    admission = Admission(Bounds(max_awake=4, memory_budget=1000, session_memory=1, min_free_disk=0), place)
    gateway = Gateway(place / "gateway.sock")
    await gateway.begin()
    watch = OutsideWatch(gateway.path, admission, concerned.__contains__, first_pause=0.02, patience=patience)
    watch.start()
    try:
        yield Stage(gateway, admission, watch)
    finally:
        watch.close()
        await gateway.end()


async def test_nobody_whom_it_concerns_is_woken_before_the_gateway_has_said_that_it_works(tmp_path: Path):
    """And nobody is told anything yet: an appliance that starts takes a moment."""
    async with staged(tmp_path) as stage:
        held, free = stage.wakes("a", "out"), stage.wakes("b", "in")
        await free
        assert not held.done()
        assert [one.reason for one in stage.admission.waiting()] == ["the appliance's gateway is being reached"]
        await stage.gateway.say(READY)
        await held
        assert stage.told == []


async def test_away_is_told_once_and_ends_by_itself(tmp_path: Path):
    async with staged(tmp_path) as stage:
        await stage.gateway.say(AWAY)
        held = stage.wakes("a", "out")
        await eventually(lambda: bool(stage.told))
        await stage.gateway.say(Outside("away", "OneCLI answered 500"))
        await eventually(lambda: stage.admission.waiting()[0].reason == "OneCLI answered 500")
        assert not held.done()
        await stage.gateway.say(READY)
        await held
        assert stage.told == [AWAY.reason]


async def test_who_waited_already_is_told_when_it_goes_away(tmp_path: Path):
    async with staged(tmp_path) as stage:
        held = stage.wakes("a", "out")
        await stage.gateway.say(AWAY)
        await eventually(lambda: stage.told == [AWAY.reason])
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        assert stage.admission.waiting() == []


async def test_the_next_outage_is_told_anew(tmp_path: Path):
    async with staged(tmp_path) as stage:
        for number in range(2):
            await stage.gateway.say(AWAY)
            await eventually(lambda: stage.watch.state == AWAY)
            held = stage.wakes(f"s{number}", "out")
            await eventually(lambda: len(stage.told) == number + 1)  # noqa: B023
            await stage.gateway.say(READY)
            await held


async def test_a_gateway_that_restarts_is_waited_for_without_a_word(tmp_path: Path):
    async with staged(tmp_path) as stage:
        await stage.gateway.say(READY)
        await eventually(lambda: stage.watch.state.state == "ready")
        await stage.gateway.end()
        await eventually(lambda: stage.watch.state.state == "starting")
        held = stage.wakes("a", "out")
        await stage.gateway.begin()
        await stage.gateway.say(READY)
        await held
        assert stage.told == []


async def test_a_gateway_that_stays_silent_is_away(tmp_path: Path):
    async with staged(tmp_path, patience=0.1) as stage:
        held = stage.wakes("a", "out")
        await eventually(lambda: bool(stage.told))
        assert stage.told == ["the appliance's gateway does not answer"]
        await stage.gateway.say(READY)
        await held


@pytest.mark.parametrize("said", [b"HTTP/1.1 403 no\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"nonsense\r\n\r\n", b""])
async def test_who_does_not_speak_as_the_gateway_does_is_not_believed(tmp_path: Path, said: bytes):
    path, asked = tmp_path / "gateway.sock", asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()
        asked.set()

    admission = Admission(Bounds(1, 1, 1, 0), tmp_path)
    watch = OutsideWatch(path, admission, lambda _group: True, first_pause=0.02)
    async with await asyncio.start_unix_server(serve, path):
        watch.start()
        for _ in range(2):  # it asks again
            async with asyncio.timeout(10):
                await asked.wait()
            asked.clear()
        assert watch.state.state == "starting"
        watch.close()


async def test_a_rule_that_lets_a_group_out_holds_it_from_then_on(tmp_path: Path):
    concerned: set[str] = set()
    admission = Admission(Bounds(1, 1, 1, 0), tmp_path)
    admission.hold(Hold("away", concerned.__contains__))
    await admission.enter("a", "main")
    admission.leave("a")
    concerned.add("main")
    waits = asyncio.create_task(admission.enter("b", "main"))
    await asyncio.sleep(0)
    assert not waits.done()
    assert not admission.anybody_waits
    concerned.clear()
    admission.look()
    await waits
