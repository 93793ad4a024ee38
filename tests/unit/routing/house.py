"""The router on real databases, sessions and outbox; no user manager to start a container with, no channel that is up.

What becomes of rows afterwards is the system tests' matter. Who is asked about strangers is only written down here.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Capabilities, ChannelAdapter, ChannelPlaces
from nanoclawd.channels.incoming import IncomingFiles
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Access, Config
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.paths import StatePaths
from nanoclawd.routing.decision import CardAnswer
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.router import Routed, Router
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.surroundings import Surroundings
from nanoclawd.store import agent_groups, chats
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission, Bounds
from nanoclawd.supervision.user_manager import UserManager
from unit.routing.world import CHANNEL

READER = OutboundReader()


@dataclass(frozen=True)
class Row:
    """A row of a session's inbound.db."""

    id: str
    kind: str
    trigger: bool
    platform_message_id: str | None
    address: Address
    content: dict[str, object]

    @property
    def text(self) -> object:
        return self.content.get("text")


@dataclass
class Asked:
    """Whom the router had asked, and what it handed on. The port's other side."""

    senders: list[tuple[str, str, str]] = field(default_factory=list)
    chats: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[str, CardAnswer]] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)

    async def sender_unknown(self, event: InboundEvent, chat: Chat, wiring: Wiring, group: str) -> None:
        self.senders.append((event.message_id, chat.id, group))

    async def chat_unknown(self, event: InboundEvent, chat: Chat) -> None:
        self.chats.append((event.message_id, chat.id))

    async def answer(self, event: InboundEvent, answer: CardAnswer) -> None:
        self.answers.append((event.text, answer))

    async def name_given(self, event: InboundEvent, approval_id: str) -> None:
        self.names.append((event.text, approval_id))


@dataclass
class House:
    root: Path
    database: Database
    sessions: Sessions
    outbox: HostOutbox
    router: Router
    asked: Asked
    abilities: dict[str, Capabilities]
    subscribed: list[Address]
    adapters: dict[str, ChannelAdapter]
    refuse_subscriptions: bool = False

    async def run[T](self, function: Callable[..., T], *arguments: object) -> T:
        await self.router.flush_drops()
        return await self.database.run(function, *arguments)

    async def group(self, folder: str) -> AgentGroup:
        return await self.database.run(agent_groups.create, folder)

    async def chat(self, platform_id: str = "room", *, is_group: bool = True, policy: str = "public") -> Chat:
        return await self.database.run(chats.create, CHANNEL, platform_id, "A room", is_group, policy)

    async def wire(self, chat: Chat, group: AgentGroup, **columns: object) -> Wiring:
        columns = {"engage_mode": "pattern", "engage_pattern": ".", **columns}
        if columns["engage_mode"] != "pattern":
            columns["engage_pattern"] = None
        return await self.database.run(lambda connection: chats.wire(connection, chat.id, group.id, **columns))

    async def heard(self, *folders: str, **columns: object) -> Chat:
        """A public room in which agents of these names hear everything."""
        chat = await self.chat()
        for folder in folders:
            await self.wire(chat, await self.group(folder), **columns)
        return chat

    def rows(self, routed: Routed, number: int = 0) -> list[Row]:
        """What is in the session that a message went to."""
        session = routed.stored[number].session
        return self.rows_of(session.group, session.id)

    def rows_of(self, group: str, session_id: str) -> list[Row]:
        path = self.root / "sessions" / group / session_id / "in" / "inbound.db"
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        try:
            found = connection.execute(
                "SELECT id, kind, trigger, platform_message_id, channel_type, platform_id, thread_id, content"
                " FROM messages_in ORDER BY seq"
            ).fetchall()
        finally:
            connection.close()
        return [Row(row[0], row[1], bool(row[2]), row[3], Address(*row[4:7]), json.loads(row[7])) for row in found]

    async def words(self) -> list[tuple[str, Address, str, str | None]]:
        """What the appliance itself says: id, where, text, in reply to what."""

        def read(connection: apsw.Connection) -> list[tuple[str, Address, str, str | None]]:
            rows = connection.execute(
                "SELECT id, channel_type, platform_id, thread_id, content, in_reply_to"
                " FROM host_messages ORDER BY rowid"
            ).fetchall()
            return [(row[0], Address(*row[1:4]), json.loads(row[4])["text"], row[5]) for row in rows]

        return await self.database.run(read)

    async def count(self, table: str) -> int:
        return await self.run(lambda connection: connection.execute(f"SELECT count(*) FROM {table}").get)

    def directories(self) -> int:
        return len(list((self.root / "sessions").glob("*/*")))


@asynccontextmanager
async def open_house(root: Path, access: Access | None = None) -> AsyncIterator[House]:
    """Open a house in a directory, also one that was there before."""
    paths = StatePaths(root)
    database = Database(paths.central_db)
    await database.open()
    sessions = Sessions(paths, database)
    jobs = SessionJobs()
    channels = ChannelManager(Config(), ChannelPlaces(root / "channels", root))
    delivery = DeliveryService(channels)
    sessions.bind(
        Surroundings(
            database=database,
            manager=UserManager(f"unix:path={root}/nobody"),
            admission=Admission(Bounds(4, 2**40, 2**20, 0), root),
            jobs=jobs,
            reader=READER,
            port=delivery,
            timeouts=Config().timeouts,
            runtime_directory=root,
            missing_image=_nothing_missing,
            slept=sessions.slept,
        )
    )
    outbox = HostOutbox(database, delivery)
    asked = Asked()
    abilities = {CHANNEL: Capabilities(threads=True, buttons=True)}
    subscribed: list[Address] = []

    async def subscribe(address: Address) -> None:
        subscribed.append(address)
        if house.refuse_subscriptions:
            raise ConnectionError("the platform is away")

    adapters: dict[str, ChannelAdapter] = {}
    files = IncomingFiles(paths.staging, adapters.get)
    files.clear()
    router = Router(
        database,
        sessions,
        asked,
        outbox,
        lambda name: abilities.get(name, Capabilities()),
        access or Access(),
        subscribe,
        files.fetch,
    )
    house = House(root, database, sessions, outbox, router, asked, abilities, subscribed, adapters)
    try:
        yield house
    finally:
        sessions.close()
        delivery.close()
        await outbox.close()
        await router.close()
        jobs.close()
        await database.close()


async def _nothing_missing(_group: str) -> str:
    return ""
