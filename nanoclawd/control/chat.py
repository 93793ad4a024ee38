"""io.nanoclaw.Chat: what a terminal sends, and what its screen is shown."""

import asyncio
import base64
import binascii
from dataclasses import replace
from typing import Annotated

import msgspec

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.files import MAX_FILES
from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES
from nanoclaw_runner.contract.text import storable
from nanoclawd.control.api import ChatBackend, ClientGone
from nanoclawd.control.bounds import Bounds
from nanoclawd.control.calls import InvalidParameterError
from nanoclawd.control.methods import Methods, Name, Parameters, Replies, Streaming, Unary
from nanoclawd.control.values import ChatEvent, EventType, Peer, UploadedFile
from nanoclawd.errors import Refused, TooLarge

INTERFACE = "io.nanoclaw.Chat"

type _Token = Annotated[str, msgspec.Meta(min_length=8, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]


type _Files = Annotated[list[UploadedFile], msgspec.Meta(max_length=MAX_FILES)]
type _Offset = Annotated[int, msgspec.Meta(ge=0, le=2**40)]

_MAX_PART_CHARACTERS = 700_000
"""512 KiB in base64, with room for line ends that nobody needs."""


class _Send(Parameters, frozen=True):
    group: Name
    text: str
    client_token: _Token
    files: _Files | None = None


class _Upload(Parameters, frozen=True):
    upload: _Token
    offset: _Offset
    data: Annotated[str, msgspec.Meta(max_length=_MAX_PART_CHARACTERS)]


class _Download(Parameters, frozen=True):
    file: Name
    offset: _Offset


class _Attach(Parameters, frozen=True):
    group: Name


class Screen:
    """One attached client (api.ChatScreen)."""

    def __init__(self, replies: Replies, bounds: Bounds) -> None:
        self._replies = replies
        self._bounds = bounds
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.failed = asyncio.Event()
        """Set once the stream has ended, or has to end because an event could not be written."""

    async def show(self, event: ChatEvent) -> None:
        """Write an event; return when the client's socket has it.

        Raises:
            ClientGone: it has not, and the client is disconnected.
        """
        if self.failed.is_set() or self._waiting >= self._bounds.waiting_events:
            self.failed.set()
            raise ClientGone("the client does not read")
        self._waiting += 1
        try:
            async with self._turn:
                await self._replies.send(_clean(event))
        except ClientGone:
            self.failed.set()
            raise
        finally:
            self._waiting -= 1

    def hint(self, event: ChatEvent) -> None:
        """Write an event if nothing waits before it, else drop it."""
        if not self._turn.locked() and not self.failed.is_set():
            self._replies.send_now(_clean(event))


def methods(backend: ChatBackend, bounds: Bounds) -> Methods:
    """Return the interface's methods."""

    async def send(peer: Peer, call: _Send) -> object:
        if len(call.text.encode()) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"a message is {MAX_MESSAGE_BYTES // 1024} KiB of UTF-8 at most")
        files = call.files or []
        if not call.text.strip() and not files:
            raise Refused("the message is empty")
        return await backend.send(peer, call.group, call.text, call.client_token, files)

    async def upload(peer: Peer, call: _Upload) -> object:
        try:
            part = base64.b64decode(call.data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidParameterError("data") from None
        return await backend.upload(peer, call.upload, call.offset, part)

    async def download(peer: Peer, call: _Download) -> object:
        return await backend.download(peer, call.file, call.offset)

    async def attach(peer: Peer, call: _Attach, replies: Replies) -> None:
        screen = Screen(replies, bounds)
        try:
            async with backend.attach(peer, call.group, screen):
                await screen.show(ChatEvent(EventType.ATTACHED, timestamp=now_text()))
                await screen.failed.wait()
        finally:
            screen.failed.set()

    return {
        f"{INTERFACE}.Send": Unary(_Send, send),
        f"{INTERFACE}.Upload": Unary(_Upload, upload),
        f"{INTERFACE}.Download": Unary(_Download, download),
        f"{INTERFACE}.Attach": Streaming(_Attach, attach),
    }


def _clean(event: ChatEvent) -> ChatEvent:
    return replace(event, text=storable(event.text))
