"""Permissions with all their real parts over one database: channels, deliveries, outbox; only platforms are in memory.

``start`` and ``end`` may alternate: what is left between them is the database, the platforms and the sessions.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import BaseAdapter, Capabilities, ChannelPlaces, Inbound
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config.model import Channel, Config
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.permissions.gate import Permissions
from nanoclawd.routing.decision import CardAnswer
from nanoclawd.routing.event import Click, InboundEvent, Sender
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.ports import Body, Delivered, Edit, Outgoing, ShownCard, Text, Undelivered
from nanoclawd.store import agent_groups, approvals, chats, host_messages, roles, users
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.approvals import Approval
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import Database
from nanoclawd.store.host_messages import HostMessage

BUTTONS = Capabilities(buttons=True, edits=True)
PLAIN = Capabilities()


@dataclass
class Shown:
    """A message on a platform as people see it now."""

    id: str
    address: Address
    body: Body
    history: list[Body] = field(default_factory=list)

    @property
    def text(self) -> str:
        if isinstance(self.body, ShownCard):
            return f"{self.body.card.title}\n\n{self.body.card.text}"
        return self.body.text if isinstance(self.body, Text | Edit) else ""


class Platform:
    """A chat platform; it outlives the daemon."""

    def __init__(self, platform: str, capabilities: Capabilities) -> None:
        self.platform = platform
        self.capabilities = capabilities
        self.messages: list[Shown] = []
        self.outcomes: deque[Undelivered | Exception] = deque()
        self.unreachable: set[str] = set()
        self.without_dm: set[str] = set()
        self.opened: list[str] = []
        self.ended: list[tuple[str, bool]] = []
        self.names: dict[str, str] = {}
        self.held: asyncio.Event | None = None
        self.answers_lost = 0
        self.known: dict[str, str] = {}
        self.attempts = 0
        self.changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what comes by itself."""
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def in_chat(self, platform_id: str) -> list[Shown]:
        return [one for one in self.messages if one.address.platform_id == platform_id]

    def texts(self, platform_id: str) -> list[str]:
        return [one.text for one in self.in_chat(platform_id)]

    def cards(self, platform_id: str) -> list[ShownCard]:
        return [one.body for one in self.in_chat(platform_id) if isinstance(one.body, ShownCard)]

    def all_cards(self) -> list[ShownCard]:
        return [one.body for one in self.messages if isinstance(one.body, ShownCard)]


class MemoryAdapter(BaseAdapter):
    """The platform as the appliance reaches it."""

    def __init__(self, name: str, platform: Platform) -> None:
        self.name = name
        self.platform = platform.platform
        self.capabilities = platform.capabilities
        self._platform = platform

    async def setup(self, inbound: Inbound) -> None:
        self.inbound = inbound

    def reachable(self, address: Address) -> bool:
        return address.platform_id not in self._platform.unreachable

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        platform = self._platform
        platform.attempts += 1
        platform.changed.set()
        if platform.held is not None:
            await platform.held.wait()
        if platform.outcomes:
            outcome = platform.outcomes.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        body = outgoing.body
        if isinstance(body, Edit):
            shown = next(one for one in platform.messages if one.id == body.platform_message_id)
            shown.history.append(shown.body)
            shown.body = body
            platform.changed.set()
            return Delivered()
        if outgoing.id in platform.known:
            return Delivered(platform.known[outgoing.id])
        shown = Shown(f"p{len(platform.messages)}", outgoing.address, body)
        platform.messages.append(shown)
        platform.changed.set()
        if platform.answers_lost:
            platform.answers_lost -= 1
            platform.known[outgoing.id] = shown.id
            return Undelivered("the connection ended")
        return Delivered(shown.id)

    async def open_dm(self, handle: str) -> str | None:
        self._platform.opened.append(handle)
        if handle in self._platform.without_dm:
            return None
        if handle.startswith("broken"):
            raise RuntimeError("no such person")
        return f"dm-{handle}"

    async def chat_name(self, platform_id: str) -> str | None:
        return self._platform.names.get(platform_id)

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        self._platform.ended.append((message_id, completed))


class Mailboxes:
    """The sessions' side: rows by session and id, as inbound.db keeps them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], NewMessage] = {}
        self.shown: dict[tuple[str, str], str] = {}
        self.fails: deque[Exception] = deque()
        self.closed: set[str] = set()

    async def deliver_system(self, session_id: str, message: NewMessage) -> bool:
        if self.fails:
            raise self.fails.popleft()
        if session_id in self.closed:
            return False
        return self.rows.setdefault((session_id, message.id), message) is message

    async def stored_content(self, session_id: str, row_id: str) -> str | None:
        row = self.rows.get((session_id, row_id))
        return None if row is None else row.content

    async def platform_message_id(self, session_id: str, row_id: str) -> str | None:
        return self.shown.get((session_id, row_id))


class DyingDatabase(Database):
    """A daemon that is killed: after some calls nothing is answered any more."""

    def __init__(self, path: Path, dead: asyncio.Event) -> None:
        super().__init__(path)
        self.calls: int | None = None
        self.dead = dead

    async def run[T](self, function: Callable[..., T], *arguments: object) -> T:
        if self.calls is not None:
            if self.calls <= 0:
                self.dead.set()
                await asyncio.Future()
            self.calls -= 1
        return await super().run(function, *arguments)


class Stage:
    """A daemon's permissions, and what is around them."""

    def __init__(self, path: Path, channels: dict[str, Platform]) -> None:
        self.path = path
        self.channels = channels
        self.replayed: list[InboundEvent] = []
        self.heard = True
        self.replay_fails: deque[Exception] = deque()
        self.replay_failed = asyncio.Event()
        self.projected: list[str] = []
        self.mailboxes = Mailboxes()
        self.create_fails: deque[Exception] = deque()
        self.hours = 24.0
        self.dead = asyncio.Event()
        self.cut_off = False
        self._adapters: dict[str, MemoryAdapter] = {}
        self.number = 0

    async def start(self, *, calls: int | None = None) -> None:
        self.dead.clear()
        self.database = DyingDatabase(self.path / "central.db", self.dead)
        await self.database.open()
        config = Config(
            channels={name: Channel(type="memory", name=name) for name in self.channels if name != "terminal"}
        )
        places = ChannelPlaces(self.path / "channels", self.path)
        self.manager = ChannelManager(config, places, find=lambda _kind: self._make)
        self.outbox = HostOutbox(self.database, DeliveryService(self.manager))
        self.permissions = Permissions(
            self.database,
            self.outbox,
            self.manager,
            replay=self._replay,
            project=self._project,
            create_group=self._create_group,
            asker=self.mailboxes,
            hours=self.hours,
        )
        self.database.calls = calls
        self.prepare()
        # In the appliance's order.
        await self.outbox.start()
        await self.permissions.start()
        self.manager.came_up = lambda _name: self.permissions.repost()
        self.manager.start(self)
        for keeper in self.manager._keepers.values():
            await keeper.up.wait()

    def prepare(self) -> None:
        """Register what else asks people, before the approvals are started."""

    async def end(self) -> None:
        await self.permissions.close()
        await self.outbox.close(patience=0 if self.dead.is_set() or self.cut_off else 3)
        await self.manager.stop()
        await self.database.close()

    async def restart(self) -> None:
        await self.end()
        await self.start()

    async def rest(self) -> None:
        for _ in range(3):
            await self.permissions.rest()

    # What a channel calls.

    async def message(self, event: InboundEvent) -> None:
        raise AssertionError("messages go to the router")

    async def click(self, click: Click) -> str:
        return await self.permissions.click(click)

    async def chat_named(self, chat: Address, name: str | None, *, is_group: bool | None = None) -> None:
        raise AssertionError("nobody is named here")

    def reachable_again(self, address: Address) -> None:
        self.outbox.reachable(address)

    # What people do, as the router and the channels hand it on.

    async def press(self, user_id: str, card: ShownCard, value: str, name: str = "") -> str:
        words = await self.permissions.click(
            Click(card.card_id, value, user_id, Address("chat", f"dm-{user_id}"), name)
        )
        await self.rest()
        return words

    async def write_answer(self, event: InboundEvent, approval: Approval, value: str) -> None:
        await self.permissions.answer(event, CardAnswer("approval", approval.id, value))
        await self.rest()

    async def unknown_sender(self, event: InboundEvent, group: AgentGroup) -> None:
        chat = await self.chat(event)
        wirings = await self.database.run(chats.wirings_of_chat, chat.id)
        wiring = next(one for one in wirings if one.agent_group_id == group.id)
        await self.permissions.sender_unknown(event, chat, wiring, group.folder)
        await self.rest()

    async def unknown_chat(self, event: InboundEvent) -> Chat:
        chat = await self.chat(event)
        await self.permissions.chat_unknown(event, chat)
        await self.rest()
        return chat

    # The database.

    async def chat(self, event: InboundEvent) -> Chat:
        address = event.address
        found = await self.database.run(chats.by_address, address.channel_type, address.platform_id)
        if found is not None:
            return found
        return await self.database.run(
            chats.create, address.channel_type, address.platform_id, event.chat_name, event.is_group
        )

    async def group(self, folder: str) -> AgentGroup:
        return await self.database.run(agent_groups.create, folder)

    async def wire(self, event: InboundEvent, group: AgentGroup) -> None:
        await self.database.run(chats.wire, (await self.chat(event)).id, group.id)

    async def person(self, user_id: str, name: str | None = None, role: str = "", group: AgentGroup | None = None):
        await self.database.run(users.ensure, user_id, name)
        if role:
            await self.database.run(roles.grant, user_id, role, None if group is None else group.id)

    async def pending(self) -> list[Approval]:
        return await self.database.run(approvals.pending)

    async def every_approval(self) -> list[Approval]:
        return await self.database.run(approvals.every)

    async def cards_of(self, approval_id: str) -> list[HostMessage]:
        return await self.database.run(host_messages.of_approval, approval_id)

    async def make_old(self, table: str, column: str) -> None:
        """Have everything of a table be over."""
        assert (table, column) in {("approvals", "expires_at"), ("pending_questions", "expires_at")}
        await self.database.run(
            lambda connection: connection.execute(f"UPDATE {table} SET {column} = '2020-01-01T00:00:00.000Z'").get
        )

    async def expire(self) -> None:
        await self.make_old("approvals", "expires_at")
        self.permissions.repost()
        await self.rest()

    def _make(self, name: str, options: object, places: ChannelPlaces) -> MemoryAdapter:
        self._adapters[name] = MemoryAdapter(name, self.channels[name])
        return self._adapters[name]

    async def _replay(self, event: InboundEvent) -> bool:
        if self.replay_fails:
            self.replay_failed.set()
            raise self.replay_fails.popleft()
        self.replayed.append(event)
        return self.heard

    async def _project(self, agent_group_id: str) -> None:
        self.projected.append(agent_group_id)

    async def _create_group(self, folder: str) -> None:
        if self.create_fails:
            raise self.create_fails.popleft()
        await self.database.run(agent_groups.create, folder)


type MakeStage = Callable[[dict[str, Platform]], Awaitable[Stage]]


async def until_killed(stage: Stage, calls: int, work: Callable[[], Awaitable[object]]) -> bool:
    """Do something in a daemon that dies meanwhile; tell whether it did. Nothing of it goes on afterwards."""

    async def live() -> None:
        await stage.start(calls=calls)
        await work()

    living = asyncio.create_task(live())
    dying = asyncio.create_task(stage.dead.wait())
    await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
    died = stage.dead.is_set()
    if died:
        living.cancel()
    dying.cancel()
    with suppress(asyncio.CancelledError):
        await living
    await stage.end()
    return died


def written(
    text: str = "hello",
    *,
    by: str | None = "chat:bob",
    name: str = "Bob",
    chat: str = "team",
    is_group: bool = True,
    message_id: str = "m1",
    channel: str = "chat",
    thread: str | None = None,
    chat_name: str | None = "The Team",
) -> InboundEvent:
    return InboundEvent(
        address=Address(channel, chat, thread),
        message_id=message_id,
        text=text,
        sender=Sender(by, name),
        is_mention=True,
        is_group=is_group,
        chat_name=chat_name,
    )


def dm(text: str, *, by: str, message_id: str = "d1", channel: str = "chat") -> InboundEvent:
    event = written(text, by=by, name="", chat=f"dm-{by.partition(':')[2]}", is_group=False, message_id=message_id)
    return replace(event, address=replace(event.address, channel_type=channel), chat_name=None)
