"""What channels bring, handed to whom it concerns."""

from dataclasses import replace

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.delivery.outbox import HostOutbox
from nanoclawd.permissions.gate import Permissions
from nanoclawd.permissions.pairing import Pairings
from nanoclawd.routing.event import Click, InboundEvent
from nanoclawd.routing.moving import MovedChats
from nanoclawd.routing.router import Router
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import chats
from nanoclawd.store.database import Database


class ChannelInbound:
    """Implements :class:`~nanoclawd.channels.adapter.Inbound`."""

    def __init__(
        self,
        database: Database,
        router: Router,
        permissions: Permissions,
        sessions: Sessions,
        outbox: HostOutbox,
        moved: MovedChats,
        pairings: Pairings,
    ) -> None:
        self._pairings = pairings
        self._database = database
        self._router = router
        self._permissions = permissions
        self._sessions = sessions
        self._outbox = outbox
        self._moved = moved

    async def message(self, event: InboundEvent) -> None:
        """Route a message, unless it is the code of a pairing; raises as :meth:`Router.route`."""
        if await self._pairings.take(event):
            return
        await self._router.route(replace(event, address=self._moved.current(event.address)))

    async def click(self, click: Click) -> str:
        """Carry out what a button says; return words for who clicked."""
        return await self._permissions.click(click)

    async def chat_named(self, chat: Address, name: str | None, *, is_group: bool | None = None) -> None:
        """Keep a chat's name and kind (W-55). Chats that nobody has spoken in are not made by it (W-18)."""
        await self._database.run(_name, chat, name, is_group)

    async def chat_moved(self, chat: Address, platform_id: str) -> None:
        """Have everything of a chat follow it to its new id; raises as :meth:`MovedChats.move`."""
        await self._moved.move(chat, platform_id)
        self.reachable_again(replace(chat, platform_id=platform_id))

    def reachable_again(self, address: Address) -> None:
        """Deliver what waits for a chat, and the cards that have reached nobody."""
        self._sessions.attached(address)
        self._outbox.reachable(address)
        self._permissions.repost()


def _name(connection: apsw.Connection, address: Address, name: str | None, is_group: bool | None) -> None:
    chat = chats.by_address(connection, address.channel_type, address.platform_id)
    if chat is None:
        return
    news = name if name and name != chat.name else None
    kind = is_group if is_group != chat.is_group else None
    if news is not None or kind is not None:
        chats.update(connection, chat.id, name=news, is_group=kind)
