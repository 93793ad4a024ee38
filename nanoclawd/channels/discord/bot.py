"""What there is of a channel between a setup and a teardown: the client, and who listens, sends and remembers."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import discord
import msgspec

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.channels.adapter import Account, Health, HealthState, Host
from nanoclawd.channels.discord import wire
from nanoclawd.channels.discord.clicks import COMMANDS, Clicks
from nanoclawd.channels.discord.client import WRONG_TOKEN, DiscordClient, GatewayRefusal, Pace
from nanoclawd.channels.discord.listener import Listener
from nanoclawd.channels.discord.marks import Marks
from nanoclawd.channels.discord.options import Options
from nanoclawd.channels.discord.places import Places
from nanoclawd.channels.discord.rest import FAILURES, Rest, told
from nanoclawd.channels.discord.sender import LiveEditor, Parts, Sender
from nanoclawd.channels.live import LiveAnswers, LivePace
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.journal import about

log = logging.getLogger(__name__)

READY_SECONDS: Final = 45.0
EDIT_SECONDS: Final = 1.5

_MAX_DIRECT: Final = 1000
_LIVE_CHARACTERS: Final = 1900
_CONTENT: Final = "the bot is not told what people write who do not mention it"
_CONTENT_HINT: Final = (
    "https://discord.com/developers/applications, your application, Bot, Privileged Gateway Intents:"
    " switch Message Content Intent on; then: systemctl restart nanoclawd"
)
_INVITATION: Final = "https://discord.com/oauth2/authorize?scope=bot+applications.commands"
_PERMISSIONS: Final = sum(1 << bit for bit in (6, 10, 11, 14, 15, 16, 38))
"""Add Reactions, View Channel, Send Messages, Embed Links, Attach Files, Read Message History, Send in Threads."""

_REFUSALS: Final = {
    WRONG_TOKEN: "Discord does not know the bot's token any more: ncl channels login {name}",
    4010: "Discord refuses the connection (invalid shard)",
    4011: "the bot is on so many servers that Discord wants it sharded, which is not supported",
    4012: "Discord does not speak this library's version of the gateway any more: upgrade python3-discord",
    4013: "Discord refuses the events that are asked for (invalid intents)",
    4014: "Discord refuses the events that are asked for (disallowed intents)",
}


class Bot:
    """One bot, logged in once. The parts are wired here and know nothing of each other's insides."""

    def __init__(
        self, name: str, options: Options, pace: Pace, state: Path, host: Host, came: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            name: the channel's.
            options: the configuration's.
            pace: bounds in time.
            state: the channel's own directory.
            host: the appliance.
            came: called each time the gateway is connected.
        """
        self.host = host
        self._name = name
        self._options = options
        self._tell_came = came
        self._client = DiscordClient(options.api, pace, came=self._came, lost=self._lost)
        self.rest = Rest(self._client, options.api)
        self.places = Places(name)
        self.marks = Marks(state / "marks.json")
        self._parts = Parts(state / "parts.json")
        self.live = LiveAnswers(
            LiveEditor(self.rest, EDIT_SECONDS, self._remove),
            LivePace(every=EDIT_SECONDS, longest=_LIVE_CHARACTERS),
            state / "live.json",
        )
        self.sender = Sender(self.rest, self.live, self._parts, options.max_attachment_mib * 1024**2)
        self.listener = Listener(host, self.rest, self.places, self.marks, self.sender.deleted)
        self._clicks = Clicks(host, self.rest, self.listener, self.places, lambda: self._application)
        self._client.listen({**self.listener.handlers(), "INTERACTION_CREATE": self._clicks.take})
        self._application = ""
        self._direct: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ready = asyncio.Event()
        self._reason = ""
        self._since = ""

    async def _remove(self, channel_id: str, message_id: str) -> None:
        await self.sender.remove(channel_id, message_id)

    async def open(self, token: str) -> None:
        """Log in, and return when the gateway tells events.

        Raises:
            Refused: Discord does not take the token, or the bot.
            Unavailable: it can't be reached, or allows no session now.
        """
        await self.marks.open()
        await self._parts.open()
        await self.live.open()
        try:
            await self._client.open(token)
            application = await self.rest.application()
            gateway = await self.rest.gateway()
        except discord.LoginFailure:
            raise Refused(f"Discord does not know the bot's token: ncl channels login {self._name}") from None
        except msgspec.ValidationError as error:
            raise Unavailable(f"what answers is not Discord: {error}") from error
        except FAILURES as error:
            raise told(error) from error
        if gateway.session_start_limit.remaining < 1:
            # One more attempt, and Discord takes the token for leaked and resets it.
            minutes = gateway.session_start_limit.reset_after // 60_000 + 1
            raise Unavailable(f"Discord allows this bot no new session for {minutes} minutes")
        self._application = application.id
        if not application.flags & wire.CONTENT_FLAGS:
            self._client.without_content()
        connection = asyncio.create_task(self._stay_connected(gateway.url), name=f"channel {self._name}: gateway")
        self._tasks.append(connection)
        await self._ready_or_over(connection)
        if self._options.commands:
            self._tasks.append(asyncio.create_task(self._register(), name=f"channel {self._name}: commands"))

    async def close(self) -> None:
        """End everything, and write down what is to be known the next time."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._clicks.close()
        await self.listener.close()
        await self.live.close()
        await self._client.shut()
        with suppress(OSError):
            await self.marks.close()

    @property
    def is_connected(self) -> bool:
        """Whether the gateway tells events now."""
        return self._is_ready.is_set()

    def health(self) -> Health:
        """Tell how the connection is."""
        if not self.is_connected:
            return Health(HealthState.DEGRADED, f"connecting again since {self._since}: {self._reason}")
        if not self._client.reads_content:
            return Health(HealthState.DEGRADED, _CONTENT, _CONTENT_HINT)
        return Health(HealthState.OK)

    async def account(self) -> Account:
        """Ask Discord who the bot is.

        Raises:
            NanoclawError: it does not answer, or does not know the bot any more.
        """
        try:
            me = await self.rest.me()
        except FAILURES as error:
            raise told(error) from error
        if self.places.speakable():
            return Account(f"@{me.username}", "mention it in a channel of your server, or send it a direct message.")
        invitation = f"{_INVITATION}&client_id={self._application}&permissions={_PERMISSIONS}"
        return Account(f"@{me.username}", f"let it into your server: {invitation}")

    async def direct(self, user_id: str) -> str | None:
        """Return the direct chat with a person; None where Discord has none for us.

        Raises:
            Unavailable: it can't be asked for now.
        """
        if user_id in self._direct:
            return self._direct[user_id]
        try:
            found = await self.rest.direct(user_id)
        except (*FAILURES, msgspec.ValidationError) as error:
            fault = told(error)
            if isinstance(fault, Unavailable):
                raise fault from error
            return None
        while len(self._direct) >= _MAX_DIRECT:
            del self._direct[next(iter(self._direct))]
        self._direct[user_id] = found.id
        self.places.add(found)
        # From here on what they write while nobody listens is asked for.
        self.marks.note(found.id, found.last_message_id or found.id, is_direct=True)
        return found.id

    async def _stay_connected(self, url: str) -> None:
        try:
            await self._client.stay_connected(url)
        except GatewayRefusal as error:
            self._reason = _REFUSALS.get(error.code, str(error)).format(name=self._name)
            self.host.lost(self._reason)

    async def _ready_or_over(self, connection: asyncio.Task[None]) -> None:
        ready = asyncio.create_task(self._is_ready.wait())
        try:
            await asyncio.wait({ready, connection}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if connection.done():
            raise Refused(self._reason or "Discord's gateway refuses the bot")
        if not self._is_ready.is_set():
            raise Unavailable(f"Discord's gateway does not let the bot in: {self._reason or 'it does not answer'}")

    async def _register(self) -> None:
        """Register the slash commands; without them all is well but for one convenience."""
        try:
            await self.rest.register(self._application, COMMANDS)
        except FAILURES as error:
            log.warning(
                "the slash commands could not be registered: %s", told(error).message, extra=about(channel=self._name)
            )

    def _came(self) -> None:
        if self._reason:
            log.info("channel %s is connected to Discord again", self._name, extra=about(channel=self._name))
        self._reason = ""
        self._is_ready.set()
        self._tell_came()

    def _lost(self, reason: str) -> None:
        if self.is_connected:
            self._since = now_text()
            log.warning("channel %s: %s; connecting again", self._name, reason, extra=about(channel=self._name))
        self._since = self._since or now_text()
        self._reason = reason
        self._is_ready.clear()
