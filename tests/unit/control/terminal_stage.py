"""The operator's terminal with all the daemon's parts around it but containers: an agent here is a task that echoes."""

import asyncio
from pathlib import Path
from typing import Any

from machine import House

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.incoming import IncomingFiles
from nanoclawd.channels.manager import ChannelManager
from nanoclawd.config import Access, Config
from nanoclawd.control.api import ClientGone
from nanoclawd.control.values import ChatEvent, EventType, Peer
from nanoclawd.core.backends.approvals import ApprovalsBackend, QuestionsBackend
from nanoclawd.core.backends.chat import ChatBackend
from nanoclawd.core.backends.routing import RoutingBackend
from nanoclawd.core.backends.sessions import SessionsBackend
from nanoclawd.core.inbound import ChannelInbound
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.delivery.service import DeliveryService
from nanoclawd.permissions.gate import Permissions
from nanoclawd.permissions.pairing import Pairings
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.moving import MovedChats
from nanoclawd.routing.router import Router

ROOT = Peer(0, 0, 4242, "root")
JOE = Peer(1000, 1000, 4243, "joe")


class Screen:
    """A client that reads everything, until it leaves."""

    def __init__(self) -> None:
        self.events: list[ChatEvent] = []
        self.gone = False
        self._changed = asyncio.Event()

    async def show(self, event: ChatEvent) -> None:
        if self.gone:
            raise ClientGone("the client left")
        self.events.append(event)
        self._changed.set()

    def hint(self, event: ChatEvent) -> None:
        """What may be dropped is."""

    async def until(self, kind: EventType, in_reply_to: str | None = None) -> ChatEvent:
        """Wait for an event."""
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if event.type is kind and in_reply_to in (None, event.in_reply_to):
                        return event
                self._changed.clear()
                await self._changed.wait()

    def texts(self, kind: EventType) -> list[str]:
        return [event.text for event in self.events if event.type is kind]


class Terminal:
    """The backends of chats, sessions and routing over real parts."""

    def __init__(self, path: Path) -> None:
        manager = ChannelManager(Config(), ChannelPlaces(path / "channels", path))
        self.delivery = DeliveryService(manager)
        port: Any = self.delivery
        self.house = House(path, platform=port)
        self.manager = manager
        self.database, self.sessions = self.house.database, self.house.sessions
        self.outbox = HostOutbox(self.database, self.delivery)
        self.permissions = Permissions(
            self.database,
            self.outbox,
            manager,
            replay=self._replay,
            project=self.sessions.project_destinations,
            create_group=self._no_group,
            asker=self.sessions,
        )
        self.files = IncomingFiles(path / "staging", manager.adapter)
        self.router = Router(
            self.database,
            self.sessions,
            self.permissions,
            self.outbox,
            manager.capabilities,
            Access(),
            manager.subscribe,
            self.files.fetch,
        )
        self.chat = ChatBackend(self.database, self.router, self.sessions, manager.terminal)
        self.routing = RoutingBackend(self.database, self.router, manager.known)
        self.approvals = ApprovalsBackend(self.database, self.permissions.approvals)
        self.questions = QuestionsBackend(self.database, self.permissions.questions)
        self.backend = SessionsBackend(self.database, self.sessions)

    async def open(self) -> None:
        await self.house.open()
        await asyncio.to_thread(self.files.clear)
        await self.outbox.start()
        await self.permissions.start()
        moved = MovedChats(self.database, self.sessions)
        pairings = Pairings(
            self.database,
            self.outbox,
            self.manager.capabilities,
            Access(),
            self.sessions.project_destinations,
            self.permissions.approvals.repost,
        )
        self.manager.start(
            ChannelInbound(self.database, self.router, self.permissions, self.sessions, self.outbox, moved, pairings)
        )

    async def close(self) -> None:
        await self.manager.stop()
        await self.permissions.close()
        await self.outbox.close()
        self.delivery.close()
        await self.router.close()
        await self.house.end()

    async def _replay(self, event: InboundEvent) -> None:
        await self.router.route(event, replay=True)

    async def _no_group(self, folder: str) -> None:
        raise AssertionError(f"nobody asked for {folder}")
