"""The Telegram channel's adapter."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from telegram import Bot
from telegram.constants import ChatAction
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter, TelegramError

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Account, BaseAdapter, Capabilities, ChannelPlaces, Health, HealthState, Host
from nanoclawd.channels.credentials import read_token
from nanoclawd.channels.live import LiveAnswers, LivePace
from nanoclawd.channels.reach import Reach, ReachPace
from nanoclawd.channels.telegram.errors import as_outcome, is_away, seconds_of
from nanoclawd.channels.telegram.events import Events
from nanoclawd.channels.telegram.files import MAX_FILE_BYTES
from nanoclawd.channels.telegram.http import Requests
from nanoclawd.channels.telegram.menu import show_menu
from nanoclawd.channels.telegram.options import Options
from nanoclawd.channels.telegram.pace import Pace, Rates
from nanoclawd.channels.telegram.polling import Poller, Waits, ended
from nanoclawd.channels.telegram.reading import PLATFORM, Me
from nanoclawd.channels.telegram.sending import MAX_TEXT, Sender, Where
from nanoclawd.channels.telegram.sent import SentParts
from nanoclawd.channels.telegram.source import BotSource
from nanoclawd.channels.telegram.webhook import Webhook
from nanoclawd.errors import NotFound, Refused, Unavailable
from nanoclawd.sessions.ports import (
    Delivered,
    Edit,
    Outgoing,
    PartialText,
    Progress,
    Reaction,
    ShownCard,
    Text,
    Undelivered,
)

log = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{20,100}")
_NUMBER: Final = re.compile(r"-?\d{1,19}")
_FILE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
_TYPING_SECONDS: Final = 5.0
_CONNECTIONS: Final = 16
_PRIVATE: Final = LivePace(every=1.5)
_GROUP: Final = LivePace(first=2.0, every=8.0)
_PRIVACY_HINT: Final = (
    "to hear all that is said in groups: @BotFather, /setprivacy, Disable;"
    " then take the bot out of the group and in again"
)


class TelegramAdapter(BaseAdapter):
    """One bot."""

    platform = PLATFORM
    capabilities = Capabilities(
        threads=True,
        buttons=True,
        edits=True,
        reactions=True,
        typing_seconds=_TYPING_SECONDS,
        max_text=MAX_TEXT,
        max_attachment=MAX_FILE_BYTES,
    )

    def __init__(
        self,
        name: str,
        options: Options,
        places: ChannelPlaces,
        *,
        rates: Rates | None = None,
        waits: Waits | None = None,
    ) -> None:
        """Prepare; ``rates`` and ``waits`` are Telegram's, unless a test is in a hurry."""
        self.name = name
        self._options = options
        self._waits = waits or Waits()
        self._pace = Pace(rates)
        self._sent = SentParts(places.state / "parts")
        self._live = LiveAnswers(self, _pace_of, places.state / "live.json", named=False)
        self._reach = Reach(name, ReachPace(self._waits.first, self._waits.longest))
        self._requests = Requests(_CONNECTIONS)
        self._news_requests = Requests(1)
        self._host: Host | None = None
        self._bot: Bot | None = None
        self._sender: Sender | None = None
        self._events: Events | None = None
        self._poller: Poller | None = None
        self._http = places.http
        self._webhook: Webhook | None = None
        self._menu: asyncio.Task[None] | None = None
        self._hears_groups = True
        self._username = ""

    # Life.

    async def setup(self, inbound: Host) -> None:
        """Connect and begin to ask for news.

        Raises:
            Refused: there is no token, or Telegram refuses it.
            Unavailable: Telegram can't be reached.
        """
        token = read_token(self.name)
        hint = f"ncl channels login {self.name}"
        if not _TOKEN.fullmatch(token):
            raise Refused("the stored secret is no token of a Telegram bot; @BotFather gives one", hint=hint)
        for requests in (self._requests, self._news_requests):
            await requests.initialize()
        base = self._options.api.rstrip("/")
        bot = Bot(token, f"{base}/bot", f"{base}/file/bot", self._requests, self._news_requests)
        try:
            me = await bot.get_me()
            if not self._options.webhook:
                await bot.delete_webhook()
        except InvalidToken:
            raise Refused("Telegram refuses the bot's token; store the one that @BotFather gives", hint=hint) from None
        except TelegramError as error:
            raise Unavailable(as_outcome(error).reason) from None
        self._hears_groups = bool(me.can_read_all_group_messages)
        self._username = me.username or ""
        await self._sent.open()
        await self._live.open()
        self._bot = bot
        self._sender = Sender(bot, self._pace, self._sent)
        self._events = Events(self.name, Me(me.id, self._username), bot, inbound)
        self._host = inbound
        if self._options.webhook:
            await self._listen(bot, self._events)
        else:
            source = BotSource(bot, self._news_requests)
            seconds, heard = self._options.poll_seconds, self._reach.tell
            self._poller = Poller(
                self.name, source, self._events.handle, inbound.lost, seconds, self._waits, heard=heard
            )
            self._poller.start()
        self._menu = asyncio.create_task(show_menu(bot, self.name), name=f"menu of {self.name}")
        self._reach.open(bot.get_me, inbound.reachable_again)
        self._live.resume()

    async def _listen(self, bot: Bot, events: Events) -> None:
        """Have Telegram send the news."""
        self._webhook = Webhook(self.name, self._http, events.handle, self._waits)
        try:
            await self._webhook.start(bot, self._options.webhook)
        except TelegramError as error:
            raise Unavailable(f"the webhook is not taken: {as_outcome(error).reason}") from None

    async def teardown(self) -> None:
        """Disconnect."""
        self._host = None
        if self._menu is not None:
            await ended(self._menu)
            self._menu = None
        await self._reach.close()
        poller, self._poller = self._poller, None
        if poller is not None:
            await poller.stop()
        webhook, self._webhook = self._webhook, None
        if webhook is not None:
            await webhook.stop()
        await self._live.close()
        self._sender = self._bot = self._events = None
        for requests in (self._requests, self._news_requests):
            await requests.shutdown()

    def health(self) -> Health:
        """Tell whether news come, and what a setting at BotFather keeps from the bot."""
        if self._poller is None and self._webhook is None:
            return Health(HealthState.STARTING)
        trouble = None if self._poller is None else self._poller.trouble
        if trouble is not None:
            return Health(HealthState.DEGRADED, trouble.words, trouble.hint)
        if not self._hears_groups:
            words = f"@{self._username}; in groups it hears only what is meant for it (privacy mode)"
            return Health(HealthState.OK, words, _PRIVACY_HINT)
        return Health(HealthState.OK, f"@{self._username}")

    # Delivery.

    def reachable(self, address: Address) -> bool:
        """Tell whether Telegram has answered the last request, as far as a delivery can be tried now."""
        return self._reach.is_there(address)

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once."""
        sender, host = self._sender, self._host
        if sender is None or host is None:
            return Undelivered("the channel is not set up")
        where = _where(outgoing.address)
        if where is None:
            return Undelivered("there is no such chat on Telegram", permanent=True)
        try:
            return await self._send(sender, where, outgoing)
        except ChatMigrated as moved:
            # The group has become a supergroup: what belongs to it follows, and this goes there at once.
            new = str(moved.new_chat_id)
            await host.chat_moved(replace(outgoing.address, thread_id=None), new)
            where = Where(moved.new_chat_id, None)
            outgoing = replace(outgoing, address=Address(self.name, new))
        except TelegramError as error:
            return self._outcome(where, error)
        try:
            return await self._send(sender, where, outgoing)
        except TelegramError as error:
            return self._outcome(where, error)

    async def _send(self, sender: Sender, where: Where, outgoing: Outgoing) -> Delivered | Undelivered:
        body = outgoing.body
        match body:
            case Text():
                reference = None if outgoing.is_notice else outgoing.in_reply_to
                live = await self._live.finish(outgoing.address, reference)
                outcome = await sender.text(where, outgoing.id, body, live)
                if live is not None and isinstance(outcome, Delivered):
                    await self._live.settled(outgoing.address, reference)
            case ShownCard():
                outcome = await sender.card(where, outgoing.id, body)
            case Edit():
                outcome = await sender.edit(where, outgoing.id, body)
            case Reaction():
                outcome = await sender.reaction(where, body)
        if isinstance(outcome, Delivered) and self._events is not None:
            self._events.remember(where.chat, outcome.platform_message_id, where.thread)
        return outcome

    def _outcome(self, where: Where, error: TelegramError) -> Undelivered:
        if isinstance(error, RetryAfter):
            self._pace.hold(where.chat, seconds_of(error))
        elif is_away(error):
            self._reach.failed()
        elif isinstance(error, InvalidToken) and self._host is not None:
            self._host.lost("Telegram refuses the bot's token: it was revoked")
        return as_outcome(error)

    # Signs.

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show an answer while it is written."""
        if self._host is not None and self._options.live and isinstance(progress, PartialText) and _where(address):
            self._live.show(address, progress)

    async def begin(self, address: Address, text: str, name: str) -> str | None:
        """Send the beginning of an answer. Telegram knows no names: one whose id gets lost is not found again."""
        del name
        where = _where(address)
        return None if self._sender is None or where is None else await self._sender.begin(where, text)

    async def change(self, address: Address, message_id: str, text: str) -> None:
        """Show more of an answer."""
        where = _where(address)
        if self._sender is not None and where is not None:
            await self._sender.change(where, message_id, text)

    async def remove(self, address: Address, message_id: str) -> None:
        """Delete what was shown of an answer.

        Raises:
            Unavailable: not now.
        """
        where = _where(address)
        if where is None:
            return
        if self._bot is None:
            raise Unavailable("the channel is not set up")
        try:
            with suppress(BadRequest, Forbidden):  # it is gone, or older than the two days in which it can be deleted
                await self._bot.delete_message(where.chat, int(message_id))
        except TelegramError as error:
            raise Unavailable(as_outcome(error).reason) from None

    async def set_typing(self, address: Address) -> None:
        """Show that the agent is at work."""
        where = _where(address)
        if self._bot is None or where is None:
            return
        with suppress(TelegramError):  # a sign that is not shown harms nobody
            await self._bot.send_chat_action(where.chat, ChatAction.TYPING, message_thread_id=where.thread)

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Take away what was shown of an answer that did not come."""
        del completed
        await self._live.withdraw(address, message_id)

    # People, chats, files.

    async def account(self) -> Account | None:
        """Ask Telegram, now, which bot this is.

        Raises:
            Unavailable: it does not answer.
        """
        if self._bot is None:
            raise Unavailable("the channel is not set up")
        try:
            me = await self._bot.get_me()
            info = await self._bot.get_webhook_info()
        except TelegramError as error:
            raise Unavailable(as_outcome(error).reason) from None
        if self._options.webhook and info.last_error_message:
            raise Unavailable(f"Telegram can't reach the webhook: {info.last_error_message}")
        self._hears_groups = bool(me.can_read_all_group_messages)
        return Account(f"@{me.username}", f"Have yourself known to it: ncl channels pair {self.name}")

    def pairing_link(self, code: str) -> str | None:
        """Return the address that opens the chat with the bot and sends the code at a press of its button."""
        return f"https://t.me/{self._username}?start={code}" if self._username else None

    async def open_dm(self, handle: str) -> str | None:
        """Return the direct chat with a person, whose id is theirs. They must have written to the bot first."""
        return handle if re.fullmatch(r"\d{1,19}", handle) else None

    async def chat_name(self, platform_id: str) -> str | None:
        """Return a chat's shown name, or None."""
        if self._bot is None or not _NUMBER.fullmatch(platform_id):
            return None
        try:
            chat = await self._bot.get_chat(int(platform_id))
        except TelegramError:
            return None
        return chat.title or chat.full_name

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give the content of a file by Telegram's id of it, which stays valid.

        Raises:
            Unavailable: not now.
            NotFound: Telegram does not know it any more.
            Refused: it is over the 20 MB that bots can have.
        """
        if not _FILE_ID.fullmatch(reference):
            raise NotFound("Telegram knows no such file")
        if self._bot is None:
            raise Unavailable("the channel is not set up")
        try:
            file = await self._bot.get_file(reference)
        except BadRequest as error:
            if "too big" in error.message.lower():
                raise Refused("Telegram gives bots files of up to 20 MB only") from None
            raise NotFound("Telegram has this file no more") from None
        except TelegramError as error:
            raise Unavailable(as_outcome(error).reason) from None
        if not file.file_path:
            raise NotFound("Telegram does not say where the file is")
        async for piece in self._requests.download(file.file_path):
            yield piece


def _where(address: Address) -> Where | None:
    """Return where an address is; None where Telegram has no such place."""
    thread = address.thread_id
    if not _NUMBER.fullmatch(address.platform_id) or (thread is not None and not _NUMBER.fullmatch(thread)):
        return None
    return Where(int(address.platform_id), None if thread is None else int(thread))


def _pace_of(address: Address) -> LivePace:
    return _GROUP if address.platform_id.startswith("-") else _PRIVATE
