"""One message to twenty agents beside one message to one: rows written and wakes requested.

In this process, with the product's own router and sessions, below the state directory; no bus is there to start a
container with, so that a wake ends with its request.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Final

import apsw

from benchlib.bare_fan_out import BareFanOut
from benchlib.progress import step
from benchlib.results import Of, Result, Target
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities, ChannelPlaces
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Access, Config
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.paths import StatePaths
from nanoclawd.routing.decision import CardAnswer
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.router import Router
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.received import Received
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import agent_groups, chats
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission, Bounds
from nanoclawd.supervision.user_manager import UserManager

AGENTS: Final = 20
MESSAGES: Final = 60
MOST_RATIO: Final = 2.0
MOST_OF_BARE: Final = 2.0
CHANNEL: Final = "bench"


class _Times:
    """Milliseconds for one agent, and for all of them."""

    def __init__(self) -> None:
        self.alone: list[float] = []
        self.together: list[float] = []

    def add(self, count: int, begun: float) -> None:
        """Note how long it took for so many, from a moment until now."""
        (self.alone if count == 1 else self.together).append((time.perf_counter() - begun) * 1e3)

    def result(self, name: str, target: Target | None, note: str) -> Result:
        """Return what all took beside what one did; the first ones have made sessions, threads and files."""
        return Result(name, "ms", tuple(self.together[1:]), median(self.alone[1:]), target, note)


def fan_out(state: Path) -> list[Result]:
    """Route messages to one agent and to twenty, in turns with the bare commits, and hold them against each other."""
    step(f"{MESSAGES} messages to {AGENTS} agents")
    logging.disable(logging.CRITICAL)  # that no bus answers is no news here
    with tempfile.TemporaryDirectory(dir=state) as directory:
        routed, commits, files = asyncio.run(_measure(Path(directory)))
    logging.disable(logging.NOTSET)
    whole = f"one message to {AGENTS} agents whose sessions are there; the baseline is the median of one to one"
    bare = f"{AGENTS} bare commits side by side, a thread and a database for each; the baseline is the median of one"
    alone = "the same without SQLite: the writes and syncs of such commits; the baseline is the median of one"
    least = commits.result("fan-out.bare", None, bare)
    both = f"fan-out again; the baseline is the median of the {AGENTS} bare commits"
    return [
        routed.result("fan-out", Target(Of.RATIO, MOST_RATIO), whole),
        least,
        files.result("fan-out.files", None, alone),
        Result("fan-out.of-bare", "ms", tuple(routed.together[1:]), least.p50, Target(Of.RATIO, MOST_OF_BARE), both),
    ]


async def _measure(root: Path) -> tuple[_Times, _Times, _Times]:
    routed, commits, files = _Times(), _Times(), _Times()
    bare = BareFanOut(root, AGENTS)
    async with _router(root) as router:
        for number in range(MESSAGES + 1):
            for room, count in (("one", 1), ("many", AGENTS)):
                event = InboundEvent(Address(CHANNEL, room), str(number), "hello", Sender(None), is_group=True)
                begun = time.perf_counter()
                outcome = await router.route(event)
                routed.add(count, begun)
                if not all(one.stored for one in outcome.stored):
                    raise RuntimeError("a message was not stored")
            for function, times in ((bare.commits, commits), (bare.file_operations, files)):
                for count in (1, AGENTS):
                    begun = time.perf_counter()
                    function(count)
                    times.add(count, begun)
    bare.close()
    return routed, commits, files


@asynccontextmanager
async def sessions_without_bus(
    root: Path, at_once: int
) -> AsyncIterator[tuple[StatePaths, Database, Sessions, DeliveryService]]:
    """Yield the product's own sessions below a directory; a wake of one of them ends with its request."""
    paths = StatePaths(root)
    database = Database(paths.central_db)
    await database.open()
    sessions, jobs = Sessions(paths, database), SessionJobs()
    delivery = DeliveryService(ChannelManager(Config(), ChannelPlaces(root / "channels", root)))
    sessions.bind(
        Surroundings(
            database=database,
            manager=UserManager(f"unix:path={root}/nobody"),
            admission=Admission(Bounds(at_once, 2**40, 2**20, 0), root),
            jobs=jobs,
            reader=OutboundReader(),
            port=delivery,
            timeouts=Config().timeouts,
            runtime_directory=root,
            missing_image=_nothing_missing,
            slept=sessions.slept,
        )
    )
    try:
        yield paths, database, sessions, delivery
    finally:
        sessions.close()
        delivery.close()
        jobs.close()
        await database.close()


@asynccontextmanager
async def _router(root: Path) -> AsyncIterator[Router]:
    async with sessions_without_bus(root, AGENTS + 1) as (_paths, database, sessions, delivery):
        outbox = HostOutbox(database, delivery)
        router = Router(database, sessions, _Nobody(), outbox, _abilities, Access(), _subscribe, _no_files)
        await database.run(_wire)
        try:
            yield router
        finally:
            await outbox.close()
            await router.close()


def _wire(connection: apsw.Connection) -> None:
    for room, count in (("one", 1), ("many", AGENTS)):
        chat = chats.create(connection, CHANNEL, room, None, True, "public")
        for number in range(count):
            group = agent_groups.create(connection, f"{room}-{number}")
            chats.wire(connection, chat.id, group.id, engage_mode="pattern", engage_pattern=".")


class _Nobody:
    """Nobody is asked: everybody may write here."""

    async def sender_unknown(self, event: InboundEvent, chat: Chat, wiring: Wiring, group: str) -> None:
        """Not asked."""

    async def chat_unknown(self, event: InboundEvent, chat: Chat) -> None:
        """Not asked."""

    async def answer(self, event: InboundEvent, answer: CardAnswer) -> None:
        """Nothing is open."""

    async def name_given(self, event: InboundEvent, approval_id: str) -> None:
        """Nothing waits for a name."""


def _abilities(_name: str) -> Capabilities:
    return Capabilities()


async def _subscribe(_address: Address) -> None:
    """Everything comes anyway."""


@asynccontextmanager
async def _no_files(_event: InboundEvent) -> AsyncIterator[tuple[Received, ...]]:
    yield ()


async def _nothing_missing(_group: str) -> str:
    return ""
