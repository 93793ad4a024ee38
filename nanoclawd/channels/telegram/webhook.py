"""News from Telegram by webhook: it sends each update to an address of ours, again until we say that we have it."""

import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from telegram import Bot

from nanoclawd.channels.http_routes import HttpRoutes, Reply, Request
from nanoclawd.channels.telegram.polling import WANTED, Queues, Waits
from nanoclawd.journal import about

log = logging.getLogger(__name__)

HEADER: Final = "x-telegram-bot-api-secret-token"
_PATIENCE_SECONDS: Final = 20.0
"""Telegram waits longer; what is not stored by then is sent again."""
_CONNECTIONS: Final = 20
_REMEMBERED: Final = 1000


class Webhook:
    """The address of one channel. A secret of this setup tells Telegram's requests from others."""

    def __init__(
        self,
        channel: str,
        http: HttpRoutes,
        handle: Callable[[int, Mapping[str, Any]], Awaitable[None]],
        waits: Waits,
    ) -> None:
        """Prepare; ``handle`` as for the poller."""
        self._channel = channel
        self._http = http
        self._queues = Queues(handle, waits)
        self._secret = secrets.token_hex(32)
        self._path = f"/telegram/{channel}"
        self._is_open = False

    async def start(self, bot: Bot, url: str) -> None:
        """Listen, and have Telegram send to an address from now on.

        Raises:
            TelegramError: it does not take the address.
        """
        self._http.register(self._path, self._answer)
        self._is_open = True
        await bot.set_webhook(
            url, secret_token=self._secret, allowed_updates=list(WANTED), max_connections=_CONNECTIONS
        )

    async def stop(self) -> None:
        """Listen no more. Telegram keeps what comes until somebody does."""
        if self._is_open:
            self._http.unregister(self._path)
            self._is_open = False
        await self._queues.stop()

    async def _answer(self, request: Request) -> Reply:
        given = request.headers.get(HEADER, "")
        if not hmac.compare_digest(given.encode(errors="replace"), self._secret.encode()):
            return Reply(401)
        if request.method != "POST" or request.path:
            return Reply(404)
        try:
            update = json.loads(request.body)
            self._queues.begin(update)
        except (ValueError, RecursionError) as error:
            # From Telegram, and no update: sent again it would be none either.
            words = f"{type(error).__name__}: {error}"[:100]
            log.warning("channel %s: %s is skipped", self._channel, words, extra=about(channel=self._channel))
            return Reply(200)
        number: int = update["update_id"]
        if not await self._queues.wait(number, _PATIENCE_SECONDS):
            return Reply(503)
        self._queues.confirmed(number - _REMEMBERED)
        return Reply(200)
