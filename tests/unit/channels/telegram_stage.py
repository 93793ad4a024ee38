"""A stage for the tests of the Telegram channel: a Bot API server, people, and an adapter with a host that listens."""

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from contract import PlatformSide, Received, outgoing

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.options import read_options
from nanoclawd.channels.telegram.adapter import TelegramAdapter
from nanoclawd.channels.telegram.options import Options
from nanoclawd.channels.telegram.pace import Rates
from nanoclawd.channels.telegram.polling import Waits
from nanoclawd.sessions.ports import Body, Delivered, Undelivered
from telegram_api.limits import Limits
from telegram_api.server import TelegramApi

TOKEN = "4242:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQ"
ANN, BEA = 1001, 1002
GROUP, FORUM = -500, -1000000000777
HASTE = Waits(first=0.02, longest=0.1, look=0.05)
FAST = Rates((1000, 1.0), (1000, 1.0), (1000, 1.0))


class Stage(PlatformSide):
    """All of it; ``chat`` is the one with Ann."""

    chat = str(ANN)

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.options = options
        self.received = Received()
        self.rates: Rates = options.pop("rates", FAST)
        self.api = TelegramApi(TOKEN, options.pop("limits", Limits(is_on=False)))
        self.people = self.api.people
        self._ids: dict[str, int] = {}

    async def open(self) -> None:
        await self.api.start()
        self.people.person(ANN, "Ann", "ann_a")
        self.people.person(BEA, "Bea")
        self.people.group(GROUP, "Kitchen", kind="group")
        self.people.group(FORUM, "House", is_forum=True)
        self.adapter = self.new_adapter()

    def new_adapter(self, api: str | None = None) -> TelegramAdapter:
        """Return an adapter as a daemon that has just started makes it."""
        (self.directory / "state").mkdir(exist_ok=True)
        places = ChannelPlaces(self.directory / "state", self.directory)
        options = read_options(Options, {"api": api or self.api.address, "poll_seconds": 2, **self.options})
        return TelegramAdapter("tele", options, places, rates=self.rates, waits=HASTE)

    async def close(self) -> None:
        await self.adapter.teardown()
        await self.api.stop()

    # The contract's side.

    async def appear(self) -> None:
        """Ann has written to the bot once."""

    async def shown(self) -> Sequence[str]:
        return [one["text"] for one in self.people.see(ANN) if one["text"]]

    async def say(self, text: str, message_id: str) -> None:
        self._ids[message_id] = self.people.write(ANN, ANN, text)
        await self.people.acknowledged(30)

    async def send(self, name: str, content: bytes, message_id: str) -> bool:
        data = base64.b64encode(content).decode()
        self._ids[message_id] = self.people.send(ANN, ANN, "document", data, name=name)
        await self.people.acknowledged()
        return True

    def id_of(self, message_id: str) -> str:
        return str(self._ids[message_id])

    # What tests do.

    async def up(self) -> None:
        await self.adapter.setup(self.received)

    async def heard(self, number: int = 1) -> Any:
        """Wait for so many events, and return the newest."""
        await self.received.until(lambda: len(self.received.events) >= number)
        return self.received.events[-1]

    async def deliver(
        self, body: Body, row_id: str = "row-1", *, chat: int = ANN, thread: int | None = None, reply: str | None = None
    ) -> Delivered | Undelivered:
        address = Address("tele", str(chat), None if thread is None else str(thread))
        sent = outgoing(address, body, row_id)
        if reply is not None:
            sent = type(sent)(sent.id, sent.body, sent.address, sent.timestamp, reply, sent.is_notice)
        return await self.adapter.deliver(sent)


@asynccontextmanager
async def staged(directory: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncIterator[Stage]:
    credentials = directory / "credentials"
    credentials.mkdir(exist_ok=True)
    (credentials / "nanoclawd.tele").write_text(TOKEN + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    stage = Stage(directory, **options)
    await stage.open()
    try:
        yield stage
    finally:
        await stage.close()
