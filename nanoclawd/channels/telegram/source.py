"""Telegram as the poller sees it: updates as they come, each to be read by itself."""

import json
from typing import Any
from urllib.parse import urlencode

from telegram import Bot
from telegram.error import TelegramError

from nanoclawd.channels.telegram.http import Requests
from nanoclawd.channels.telegram.polling import WANTED

_GRACE_SECONDS = 5.0


class BotSource:
    """Asks by requests of its own: the library's ``get_updates`` fails whole where one update can't be read."""

    def __init__(self, bot: Bot, requests: Requests) -> None:
        self._bot = bot
        self._requests = requests

    async def news(self, offset: int | None, limit: int, seconds: int) -> list[Any]:
        """Return updates as Telegram has sent them.

        Raises:
            TelegramError: it gave none.
        """
        asked: dict[str, object] = {"limit": limit, "timeout": seconds, "allowed_updates": json.dumps(WANTED)}
        if offset is not None:
            asked["offset"] = offset
        url = f"{self._bot.base_url}/getUpdates?{urlencode(asked)}"
        found: object = await self._requests.post(url, read_timeout=seconds + _GRACE_SECONDS)
        if not isinstance(found, list):
            raise TelegramError("no list of updates")
        return found

    async def reconnect(self) -> None:
        """Drop the connections for news."""
        await self._requests.initialize()

    async def forget_webhook(self) -> None:
        """Have Telegram send nothing to an address any more."""
        await self._bot.delete_webhook()
