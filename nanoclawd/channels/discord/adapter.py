"""The Discord channel's adapter."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import (
    Account,
    BaseAdapter,
    Capabilities,
    ChannelPlaces,
    Conversation,
    Health,
    HealthState,
    Host,
)
from nanoclawd.channels.credentials import read_token
from nanoclawd.channels.discord import outgoing as bodies
from nanoclawd.channels.discord.bot import Bot
from nanoclawd.channels.discord.client import Pace
from nanoclawd.channels.discord.events import PLATFORM, chat_of
from nanoclawd.channels.discord.options import Options
from nanoclawd.channels.discord.rest import FAILURES, told, undelivered
from nanoclawd.channels.discord.wire import is_id
from nanoclawd.channels.reach import Reach, ReachPace
from nanoclawd.errors import NotFound, Unavailable
from nanoclawd.sessions.ports import Delivered, Outgoing, PartialText, Progress, Undelivered

TYPING_SECONDS: Final = 10.0
DELIVERY_SECONDS: Final = 55.0


class DiscordAdapter(BaseAdapter):
    """One bot on Discord."""

    platform = PLATFORM

    def __init__(self, name: str, options: Options, places: ChannelPlaces, pace: Pace | None = None) -> None:
        self.name = name
        self.capabilities = Capabilities(
            threads=True,
            buttons=True,
            edits=True,
            reactions=True,
            idempotent=True,
            typing_seconds=TYPING_SECONDS,
            max_text=bodies.MAX_TEXT,
            max_attachment=options.max_attachment_mib * 1024**2,
        )
        self._options = options
        self._state = places.state
        self._pace = pace or Pace()
        self._up: Bot | None = None
        self._reach = Reach(name, ReachPace(self._pace.first_retry, self._pace.longest_retry))

    async def setup(self, inbound: Host) -> None:
        """Log in and listen.

        Raises:
            Refused: there is no token, or Discord does not take it.
            Unavailable: Discord can't be reached, or allows no session now.
        """
        token = read_token(self.name)
        bot = Bot(self.name, self._options, self._pace, self._state, inbound, self._came)
        self._up = bot
        await bot.open(token)
        self._reach.open(bot.rest.me, inbound.reachable_again)
        bot.live.resume()

    async def teardown(self) -> None:
        """Disconnect."""
        await self._reach.close()
        bot, self._up = self._up, None
        if bot is not None:
            await bot.close()

    def health(self) -> Health:
        """Tell how the connection is, and what the portal's settings lack."""
        return Health(HealthState.STARTING) if self._up is None else self._up.health()

    def reachable(self, address: Address) -> bool:
        """Tell whether the gateway is connected and requests are answered; elsewhere an attempt is for nothing."""
        if self._up is not None and self._up.is_connected:
            return self._reach.is_there(address)
        self._reach.wait(address)
        return False

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once; what could not be done in time goes on at the next attempt where this one has ended."""
        if self._up is None:
            return Undelivered("the channel is not connected")
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                return await self._up.sender.deliver(outgoing, self._reach.failed)
        except TimeoutError as error:
            return undelivered(error)

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give a file's content by channel, message and file, so that its address can be asked for anew.

        Raises:
            Unavailable: not now.
            NanoclawError: there is no such file any more, or it is not for us.
        """
        ids = reference.split("/")
        if len(ids) != len(("channel", "message", "file")) or not all(map(is_id, ids)):
            raise NotFound("Discord has no such file")
        if self._up is None:
            raise Unavailable("the channel is not connected")
        channel_id, message_id, file_id = ids
        async for piece in self._up.rest.file(channel_id, message_id, file_id):
            yield piece

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show an answer while it is written."""
        if self._up is not None and self._options.stream and isinstance(progress, PartialText):
            self._up.live.show(address, progress)

    async def set_typing(self, address: Address) -> None:
        """Show that the agent writes.

        Raises:
            NanoclawError: it could not be shown.
        """
        if self._up is None or not is_id(chat_of(address)):
            return
        try:
            await self._up.rest.typing(chat_of(address))
        except FAILURES as error:
            raise told(error) from error

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Take away what was shown of an answer that has not come."""
        del completed
        if self._up is not None:
            await self._up.live.withdraw(address, message_id)

    async def subscribe(self, address: Address) -> None:
        """Become a member of the thread.

        Raises:
            NanoclawError: not now, or not at all.
        """
        if self._up is None or address.thread_id is None or not is_id(address.thread_id):
            return
        try:
            await self._up.rest.join(address.thread_id)
        except FAILURES as error:
            raise told(error) from error

    async def open_dm(self, handle: str) -> str | None:
        """Return the direct chat with a person, None where there can be none.

        Raises:
            Unavailable: it can't be asked for now.
        """
        handle = handle.removeprefix(f"{PLATFORM}:")
        if not is_id(handle):
            return None
        if self._up is None:
            raise Unavailable("the channel is not connected")
        return await self._up.direct(handle)

    async def account(self) -> Account:
        """Ask Discord who the bot is.

        Raises:
            NanoclawError: it does not answer, or does not know the bot any more.
        """
        if self._up is None:
            raise Unavailable("the channel is not connected")
        return await self._up.account()

    async def conversations(self) -> Sequence[Conversation]:
        """Return the channels of the servers that the bot is on, and the direct chats that it knows of."""
        if self._up is None:
            return ()
        places = self._up.places
        found = [Conversation(one.id, places.shown_name(one.id), is_group=True) for one in places.speakable()]
        direct = [Conversation(one, places.shown_name(one), is_group=False) for one in self._up.marks.direct()]
        return (*found, *direct)

    async def chat_name(self, platform_id: str) -> str | None:
        """Return a chat's shown name, or None."""
        if self._up is None or not is_id(platform_id):
            return None
        known = self._up.places.shown_name(platform_id)
        if known is not None:
            return known
        try:
            await self._up.listener.place(platform_id)
        except Unavailable:
            return None
        return self._up.places.shown_name(platform_id)

    def _came(self) -> None:
        self._reach.tell()
