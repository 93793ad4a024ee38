"""Words for whoever administers a group, in a direct chat with each of them."""

import hashlib
import logging
from typing import Final, Protocol

from nanoclaw_runner.contract.rows import Address
from nanoclawd.scheduling.background import Background
from nanoclawd.store import roles
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

_MOST: Final = 10


class DirectChats(Protocol):
    """What is needed of :class:`~nanoclawd.permissions.direct_messages.DirectMessages`."""

    async def of(self, user_id: str, first_channel: str = "") -> Address | None:
        """Return where a person is reached, or None."""


class Words(Protocol):
    """What is needed of :class:`~nanoclawd.delivery.outbox.HostOutbox`."""

    async def post(self, message_id: str, address: Address, text: str, in_reply_to: str | None = None) -> bool:
        """Keep a text and deliver it; False when this id was posted before."""


class Telling:
    """Tells administrators something, each of them once under each name that it is given."""

    def __init__(self, database: Database, chats: DirectChats, words: Words) -> None:
        self._database = database
        self._chats = chats
        self._words = words
        self._background = Background(log, "telling administrators")

    def tell(self, agent_group_id: str | None, name: str, text: str) -> None:
        """Tell the administrators of a group, or (None) of everything; returns at once."""
        self._background.spawn(self._tell(agent_group_id, name, text))

    async def rest(self) -> None:
        """Return when nothing is under way any more."""
        await self._background.rest()

    async def close(self) -> None:
        """Stop."""
        await self._background.close()

    async def _tell(self, agent_group_id: str | None, name: str, text: str) -> None:
        people = await self._database.run(roles.approvers, agent_group_id)
        for user in people[:_MOST]:
            address = await self._chats.of(user)
            if address is not None:
                mark = hashlib.sha256(user.encode(errors="replace")).hexdigest()[:12]
                await self._words.post(f"{name}-{mark}", address, text)
        if not people:
            log.warning("nobody administers this appliance, so nobody was told: %s", text)
