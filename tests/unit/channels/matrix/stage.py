"""A homeserver, an adapter on it, and people: what the tests of the Matrix channel play with."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from eventually import eventually
from homeserver.person import Person
from homeserver.server import Homeserver
from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.matrix import create
from nanoclawd.channels.matrix.adapter import MatrixAdapter
from nanoclawd.channels.matrix.pace import Pace
from unit.channels.contract import PlatformSide, Received

BOT = "bot"


class Stage:
    """The appliance's account and one person, each registered anew."""

    def __init__(self, server: Homeserver, directory: Path, number: int, **options: Any) -> None:
        self.server = server
        self.directory = directory
        self.bot_name = f"{BOT}{number}"
        self.bot_id = server.user_id(self.bot_name)
        server.register(self.bot_name)
        (directory / "credentials").mkdir()
        (directory / "credentials" / "nanoclawd.mx").write_text("secret\n")
        self.options: dict[str, Any] = {"homeserver": server.url, "user": self.bot_name, **options}
        self.pace = Pace(key_patience=1.0)
        self.adapter = self.make()
        self.ada = Person(server, f"ada{number}", directory / "ada")

    def make(self, **options: Any) -> MatrixAdapter:
        """Return the adapter as after a start of the daemon."""
        places = ChannelPlaces(self.directory / "state", self.directory / "run")
        adapter = create("mx", {**self.options, **options}, places)
        adapter._pace = self.pace
        return adapter

    async def restart(self, received: Received, **options: Any) -> None:
        """Have another daemon with the same state."""
        await self.adapter.teardown()
        self.adapter = self.make(**options)
        await self.adapter.setup(received)

    def address(self, room_id: str, thread: str | None = None) -> Address:
        return Address("mx", room_id, thread)

    async def meet(self, *, encrypted: bool = False, name: str | None = None) -> str:
        """Have the person make a room with the account, which comes."""
        room_id = await self.ada.make_room(self.bot_id, encrypted=encrypted, direct=name is None, name=name)
        await self.ada.sees_member(room_id, self.bot_id)
        return room_id


@contextlib.asynccontextmanager
async def staged(
    server: Homeserver, directory: Path, number: int, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[Stage]:
    stage = Stage(server, directory, number, **options)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory / "credentials"))
    await stage.ada.enter()
    try:
        yield stage
    finally:
        await stage.adapter.teardown()
        await stage.ada.leave()


class MatrixSide(PlatformSide):
    """The contract's view of a room with one person."""

    def __init__(self, stage: Stage, *, encrypted: bool) -> None:
        self.stage = stage
        self.adapter = stage.adapter
        self.encrypted = encrypted
        self.received: Received | None = None
        self._ids: dict[str, str] = {}

    async def make(self) -> None:
        """Have the room, with the account invited."""
        self.chat = await self.stage.ada.make_room(self.stage.bot_id, encrypted=self.encrypted, direct=True)

    async def appear(self) -> None:
        await self.stage.ada.sees_member(self.chat, self.stage.bot_id)
        await eventually(self._knows)

    async def _knows(self) -> bool:
        return self.chat in [one.platform_id for one in await self.adapter.conversations()]

    async def shown(self) -> Sequence[str]:
        marker = await self.stage.ada.say(self.chat, "what is there?")
        ada = self.stage.ada
        await ada.until(lambda: any(one["event_id"] == marker for one in ada.events.get(self.chat, ())), "own words")
        assert not ada.unreadable
        return ada.texts(self.chat)

    def id_of(self, message_id: str) -> str:
        return self._ids[message_id]

    async def say(self, text: str, message_id: str) -> None:
        self._ids[message_id] = event_id = await self.stage.ada.say(self.chat, text)
        await self._read(event_id)

    async def send(self, name: str, content: bytes, message_id: str) -> bool:
        self._ids[message_id] = event_id = await self.stage.ada.send_file(self.chat, name, content)
        await self._read(event_id)
        return True

    async def _read(self, event_id: str) -> None:
        """Wait for the receipt, which comes after the message is stored."""
        ada = self.stage.ada
        await ada.until(lambda: self.stage.bot_id in ada.receipts.get(event_id, set()), f"a receipt of {event_id}", 60)
