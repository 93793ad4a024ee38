"""Follows chats that their platform has replaced by others."""

import logging
from dataclasses import replace

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import AlreadyExists, InvalidName
from nanoclawd.journal import about
from nanoclawd.routing.cleaning import unusable
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import chats, moved_chats
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)


class MovedChats:
    """What goes to a chat's old id, or comes from it, belongs to the new one."""

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions
        self._moved: dict[tuple[str, str], str] = {}

    async def load(self) -> None:
        """Read what has moved so far."""
        self._moved = await self._database.run(moved_chats.every)

    def current(self, address: Address) -> Address:
        """Return where an address is now; mostly the same."""
        new = self._moved.get((address.channel_type, address.platform_id))
        return address if new is None else replace(address, platform_id=new)

    async def move(self, chat: Address, platform_id: str) -> None:
        """Have wirings, sessions, direct chats, cards and tasks of a chat follow it; again does nothing.

        Raises:
            InvalidName: no chat has such an id.
        """
        wrong = unusable(replace(chat, platform_id=platform_id, thread_id=None))
        if wrong is not None:
            raise InvalidName(wrong)
        if chat.platform_id == platform_id:
            return
        channel = chat.channel_type
        try:
            moved = await self._database.run(moved_chats.move, channel, chat.platform_id, platform_id)
        except AlreadyExists as error:
            log.warning("%s; what was wired to %s stays there", error, chat.platform_id, extra=about(channel=channel))
            return
        if not moved:
            return
        await self.load()
        log.info("chat %s is now %s", chat.platform_id, platform_id, extra=about(channel=channel))
        found = await self._database.run(chats.by_address, channel, platform_id)
        if found is None:
            return
        for wiring in await self._database.run(chats.wirings_of_chat, found.id):
            await self._sessions.project_destinations(wiring.agent_group_id)
