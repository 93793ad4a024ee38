"""The daemon's inner half with all its real parts, as core/appliance.py puts them together, and one loopback account.

There is no user manager: rows stay in their sessions. Everything comes in through the channel's socket.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.incoming import IncomingFiles
from nanoclawd.channels.loopback import create
from nanoclawd.channels.loopback.frames import MAX_FRAME_BYTES
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Access, Channel, Config
from nanoclawd.core.inbound import ChannelInbound
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.paths import StatePaths
from nanoclawd.permissions.gate import Permissions
from nanoclawd.permissions.pairing import Pairings
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.moving import MovedChats
from nanoclawd.routing.router import Router
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import agent_groups, chats, roles
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission, Bounds
from nanoclawd.supervision.user_manager import UserManager

CHANNEL = "loop"
OWNER, MEMBER = "owner", "member"
PATIENCE_SECONDS = 20


class Account:
    """A client of the account's socket that confirms every delivery, as a platform would."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = 10**9
        self._replies: dict[int | None, asyncio.Future[dict[str, Any]]] = {}
        self.deliveries: list[dict[str, Any]] = []
        self._task = asyncio.create_task(self._read())

    async def ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Send a frame under a number of ours and return the reply to it."""
        self._numbers += 1
        number = self._numbers
        answer = self._replies[number] = asyncio.get_running_loop().create_future()
        self.send({**frame, "id": number})
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await answer

    def send(self, frame: dict[str, Any]) -> None:
        self._writer.write(json.dumps(frame).encode() + b"\n")

    def send_raw(self, line: bytes) -> None:
        self._writer.write(line.replace(b"\n", b"") + b"\n")

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()

    async def _read(self) -> None:
        while line := await self._reader.readline():
            frame = json.loads(line)
            if "re" in frame:
                answer = self._replies.pop(frame["re"], None)
                if answer is not None:
                    answer.set_result(frame)
            elif frame["event"] == "delivery":
                self.deliveries.append(frame)
                self.send({"op": "ack", "id": frame["number"], "message": f"p{len(self.deliveries)}"})


@dataclass
class Whole:
    """What is running."""

    root: Path
    database: Database
    permissions: Permissions
    router: Router
    channels: ChannelManager
    sessions: Sessions
    account: Account
    pairings: Pairings
    numbers: int = 0

    async def count(self, table: str) -> int:
        return await self.database.run(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").get)

    async def ordinary(self) -> None:
        """Say something that nothing is wrong with; it has to get through, once, whatever came before."""
        self.numbers += 1
        message_id = f"ordinary-{self.numbers}"
        reply = await self.account.ask(
            {
                "op": "message",
                "chat": "team",
                "message_id": message_id,
                "text": "hello",
                "sender": MEMBER,
                "group": True,
            }
        )
        assert reply.get("ok") is True, reply
        (decision,) = self.router.recent(message_id)
        assert [one.action for one in decision.wirings] == ["engage"]

    async def contents(self) -> list[str]:
        """What is in the sessions."""

        def read() -> list[str]:
            found = []
            for path in (self.root / "sessions").glob("*/*/in/inbound.db"):
                connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
                connection.set_busy_timeout(5000)
                found += [row[0] for row in connection.execute("SELECT content FROM messages_in")]
                connection.close()
            return found

        return await asyncio.to_thread(read)

    async def rest(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(3):
                await self.permissions.rest()


@asynccontextmanager
async def whole(root: Path, access: Access | None = None, **options: object) -> AsyncIterator[Whole]:
    """Open it: ``team`` is a room that the agent ``main`` hears, ``club`` one that takes people it knows."""
    access = access or Access()
    paths = StatePaths(root)
    database = Database(paths.central_db)
    await database.open()
    await database.run(_furnish)
    config = Config(
        channels={CHANNEL: Channel(type="loopback", name=CHANNEL, options=options)}, allow_scripted=True, access=access
    )
    channels = ChannelManager(config, ChannelPlaces(root / "channels", root), find=lambda _kind: create)
    sessions = Sessions(paths, database)
    delivery = DeliveryService(channels)
    outbox = HostOutbox(database, delivery)

    async def replay(event: InboundEvent) -> None:
        await router.route(event, replay=True)

    async def create_group(folder: str) -> None:
        await database.run(agent_groups.create, folder)

    permissions = Permissions(
        database,
        outbox,
        channels,
        replay=replay,
        project=sessions.project_destinations,
        create_group=create_group,
        asker=sessions,
    )
    files = IncomingFiles(paths.staging, channels.adapter)
    files.clear()
    router = Router(
        database, sessions, permissions, outbox, channels.capabilities, access, channels.subscribe, files.fetch
    )
    jobs = SessionJobs()
    sessions.bind(
        Surroundings(
            database=database,
            manager=UserManager(f"unix:path={root}/nobody"),
            admission=Admission(Bounds(4, 2**40, 2**20, 0), root),
            jobs=jobs,
            reader=OutboundReader(),
            port=delivery,
            timeouts=config.timeouts,
            runtime_directory=root,
            missing_image=_nothing_missing,
            slept=sessions.slept,
        )
    )
    up = asyncio.Event()
    channels.came_up = lambda name: up.set() if name == CHANNEL else None
    await outbox.start()
    await permissions.start()
    moved = MovedChats(database, sessions)
    pairings = Pairings(
        database, outbox, channels.capabilities, access, sessions.project_destinations, permissions.approvals.repost
    )
    channels.start(ChannelInbound(database, router, permissions, sessions, outbox, moved, pairings))
    await up.wait()
    account = Account(*await asyncio.open_unix_connection(root / f"{CHANNEL}.sock", limit=8 * MAX_FRAME_BYTES))
    assert (await account.ask({"op": "watch"}))["ok"] is True
    try:
        yield Whole(root, database, permissions, router, channels, sessions, account, pairings)
    finally:
        await account.close()
        await channels.stop()
        await permissions.close()
        await outbox.close()
        delivery.close()
        await router.close()
        sessions.close()
        jobs.close()
        await database.close()


def _furnish(connection: Any) -> None:
    group = agent_groups.create(connection, "main")
    roles.grant(connection, f"loopback:{OWNER}", "owner")
    for place, policy in (("team", "public"), ("club", "request_approval")):
        chat = chats.create(connection, CHANNEL, place, place.title(), True, policy)
        scope = "all" if policy == "public" else "known"
        chats.wire(connection, chat.id, group.id, engage_mode="pattern", engage_pattern=".", sender_scope=scope)


async def _nothing_missing(_group: str) -> str:
    return ""
