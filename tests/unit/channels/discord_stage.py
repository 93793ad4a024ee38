"""The Discord adapter before a Discord of our own: what the tests of the channel share."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract import PlatformSide, Received

from discord_api.server import DiscordApi
from discord_api.world import File
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.discord import create
from nanoclawd.channels.discord.adapter import DiscordAdapter
from nanoclawd.channels.discord.client import Pace
from nanoclawd.routing.event import InboundEvent
from nanoclawd.sessions.ports import Body, Delivered, Outgoing, Undelivered

NAME = "discord-town"
TOKEN = "MTIz.a-bot.token"
FAST = Pace(connect=5.0, silence=5.0, identify=0.05, first_retry=0.05, longest_retry=0.2, settled=0.5)


class Stage:
    """A server, an adapter before it, and the host that hears of it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, *, heartbeat_seconds: float = 2.0) -> None:
        self.directory = directory
        self.api = DiscordApi(TOKEN, heartbeat_seconds=heartbeat_seconds).unlimited()
        self.people = self.api.people
        self.received = Received()
        self.pace = FAST
        self.options: dict[str, Any] = {}
        credentials = directory / "credentials"
        credentials.mkdir()
        (credentials / f"nanoclawd.{NAME}").write_text(f"{TOKEN}\n")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        (directory / "state").mkdir()

    def make(self, api: str | None = None) -> DiscordAdapter:
        """Make an adapter that is not connected; a second one is as one of another daemon."""
        places = ChannelPlaces(self.directory / "state", self.directory)
        options = {"api": api or self.api.url, **self.options}
        adapter = create(NAME, options, places)
        assert isinstance(adapter, DiscordAdapter)
        adapter._pace = self.pace
        self.adapter = adapter
        return adapter

    async def begin(self, api: str | None = None) -> DiscordAdapter:
        """Have a connected adapter."""
        adapter = self.make(api)
        await adapter.setup(self.received)
        return adapter

    async def deliver(
        self, chat: str, body: Body, row: str = "row-1", *, thread: str | None = None, in_reply_to: str | None = None
    ) -> Delivered | Undelivered:
        address = Address(NAME, chat, thread)
        return await self.adapter.deliver(Outgoing(row, body, address, "2026-01-02T03:04:05.000Z", in_reply_to))

    async def hears(self, wanted: Callable[[InboundEvent], object]) -> InboundEvent:
        """Return the first event that is wanted."""
        await self.received.until(lambda: any(wanted(one) for one in self.received.events))
        return next(one for one in self.received.events if wanted(one))

    async def end(self) -> None:
        await self.adapter.teardown()
        await self.api.stop()


class Renaming(Received):
    """A host that knows messages by the names that the tests of the contract give them."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, str] = {}
        self.heard: dict[str, asyncio.Event] = {}

    async def message(self, event: InboundEvent) -> None:
        await super().message(replace(event, message_id=self.given.get(event.message_id, event.message_id)))
        if event.message_id in self.heard:
            self.heard[event.message_id].set()


class DiscordSide(PlatformSide):
    """The contract's platform: ids of messages are the platform's own, whatever a test calls them."""

    def __init__(self, stage: Stage, host: Renaming) -> None:
        self.stage = stage
        self.host = host
        self.adapter = stage.make()
        self.chat = stage.people.channel("general")

    async def appear(self) -> None:
        """Everybody is there."""

    async def shown(self) -> Sequence[str]:
        return [one["text"] for one in self.stage.people.shown(self.chat)]

    async def say(self, text: str, message_id: str) -> None:
        await self._heard(self.stage.people.say(self.chat, text), message_id)

    async def send(self, name: str, content: bytes, message_id: str) -> bool:
        await self._heard(self.stage.people.say(self.chat, "", files=[File(name, content)]), message_id)
        return True

    async def _heard(self, real: str, called: str) -> None:
        self.host.given[real] = called
        await self.host.heard.setdefault(real, asyncio.Event()).wait()
