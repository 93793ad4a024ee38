"""The direct chat of a person: found once by asking the platform, then remembered."""

import asyncio
import logging
from typing import Final, Protocol

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import NanoclawError
from nanoclawd.journal import about
from nanoclawd.store import chats, user_dms, users
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

_OPEN_TIMEOUT_SECONDS: Final = 20.0


class DmChannels(Protocol):
    """What is needed of :class:`~nanoclawd.channels.manager.ChannelManager`."""

    def of_platform(self, platform: str) -> tuple[str, ...]:
        """Return the names of a platform's channels."""

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now."""

    async def open_dm(self, name: str, handle: str) -> str | None:
        """Return the platform id of the direct chat with a person, or None where they can't be reached."""


class DirectMessages:
    """Finds and remembers direct chats."""

    def __init__(self, database: Database, channels: DmChannels) -> None:
        self._database = database
        self._channels = channels

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now."""
        return self._channels.reachable(address)

    async def of(self, user_id: str, first_channel: str = "") -> Address | None:
        """Return where a person is reached, or None.

        Args:
            user_id: ``<platform>:<handle>``; somebody who is known.
            first_channel: the channel to prefer, where the platform is there more than once.
        """
        platform, _, handle = user_id.partition(":")
        names = self._channels.of_platform(platform) if handle else ()
        found = None
        for name in sorted(names, key=lambda name: name != first_channel):
            address = await self._on(name, user_id, handle)
            if address is None:
                continue
            if self._channels.reachable(address):
                return address
            found = found or address
        return found

    async def _on(self, channel: str, user_id: str, handle: str) -> Address | None:
        known = await self._database.run(user_dms.find, user_id, channel)
        if known is not None:
            return Address(channel, known.platform_id)
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_SECONDS):
                platform_id = await self._channels.open_dm(channel, handle)
        except (NanoclawError, TimeoutError) as error:
            log.info("no direct chat with %s: %s", user_id, error or "no answer", extra=about(channel=channel))
            return None
        except Exception:
            log.exception("opening a direct chat with %s failed", user_id, extra=about(channel=channel))
            return None
        if not platform_id:
            return None
        try:
            await self._database.run(_remember, user_id, channel, platform_id)
        except NanoclawError as error:
            log.info("the direct chat with %s is not remembered: %s", user_id, error, extra=about(channel=channel))
        return Address(channel, platform_id)


def _remember(connection: apsw.Connection, user_id: str, channel: str, platform_id: str) -> None:
    with writing(connection):
        user = users.by_id(connection, user_id)
        chat = chats.by_address(connection, channel, platform_id)
        if chat is None:
            chat = chats.create(connection, channel, platform_id, user.display_name)
        user_dms.remember(connection, user_id, channel, chat.id)
