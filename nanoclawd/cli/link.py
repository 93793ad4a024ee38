"""The chat's two connections: one that is attached and comes back by itself, one per message that is sent."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from nanoclawd.cli import outcome
from nanoclawd.cli.client import encode_call, hung_up, read_reply, unreachable
from nanoclawd.cli.outcome import CommandError

MAX_MESSAGE_BYTES = 256 * 1024
"""The session contract's bound (nanoclaw_runner.contract.rows); kept here too, so that nothing is imported for it."""

_FRAME_BYTES = 4 * 1024 * 1024
_REMEMBERED = 2000
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0

LOST: dict[str, Any] = {"type": "lost"}
"""An event of our own: the daemon is away, and we try to come back."""


def check_size(text: str, *, alone: bool = True) -> str:
    """Return the text when it may be sent; ``alone``: without files, and so it may not be empty.

    Raises:
        CommandError: it is empty, not UTF-8, or over the bound.
    """
    if alone and not text.strip():
        raise CommandError(outcome.USAGE, "there is no message to send", 'ncl chat --message "Hello"')
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise CommandError(outcome.REFUSED, "the message is not UTF-8") from None
    if length > MAX_MESSAGE_BYTES:
        raise CommandError(
            outcome.REFUSED,
            f"the message has {length} bytes; {MAX_MESSAGE_BYTES} ({MAX_MESSAGE_BYTES // 1024} KiB) is the limit",
        )
    return text


@dataclass
class _Pause:
    """How long to wait before the next try."""

    seconds: float = _FIRST_PAUSE_SECONDS

    async def wait(self) -> None:
        # The daemon is being started: its socket may be away, and nothing tells when it is back.
        await asyncio.sleep(self.seconds)
        self.seconds = min(2 * self.seconds, _LONGEST_PAUSE_SECONDS)


@dataclass
class Link:
    """A group's chat over the control socket at ``path``."""

    path: str
    group: str
    _seen: OrderedDict[str, None] = field(default_factory=OrderedDict)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens in the chat, for ever, each message once. ``attached`` comes after every (re)connect.

        Raises:
            CommandError: the first connect failed, or the daemon refused (no such group).
        """
        pause = _Pause()
        met = False
        while True:
            try:
                async with contextlib.aclosing(self._attached()) as stream:
                    async for event in stream:
                        if event["type"] == "attached":
                            met, pause = True, _Pause()
                        if self._is_new(event):
                            yield event
            except CommandError as error:
                if not met or error.code != outcome.UNREACHABLE:
                    raise
                yield LOST
                await pause.wait()

    async def send(self, text: str, token: str, files: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
        """Send a message, with files that were uploaded.

        When the daemon goes away, it is sent again with the same token until the daemon is there.

        Raises:
            CommandError: the daemon refused it.
        """
        call: dict[str, object] = {"group": self.group, "text": text, "client_token": token}
        frame = encode_call("Chat.Send", {**call, "files": list(files) or None})
        pause = _Pause()
        while True:
            try:
                return await self._call(frame)
            except CommandError as error:
                if error.code != outcome.UNREACHABLE:
                    raise
                await pause.wait()

    async def _call(self, frame: bytes) -> dict[str, Any]:
        async with self._connected() as (reader, writer):
            writer.write(frame)
            return read_reply(await self._frame(reader))[0]

    async def _attached(self) -> AsyncGenerator[dict[str, Any]]:
        async with self._connected() as (reader, writer):
            writer.write(encode_call("Chat.Attach", {"group": self.group}, more=True))
            continues = True
            while continues:
                event, continues = read_reply(await self._frame(reader))
                yield event
        raise hung_up()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            reader, writer = await asyncio.open_unix_connection(self.path, limit=_FRAME_BYTES)
        except OSError as error:
            raise unreachable(self.path, error) from None
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _frame(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return (await reader.readuntil(b"\0"))[:-1]
        except (asyncio.IncompleteReadError, ConnectionError):
            raise hung_up() from None

    def _is_new(self, event: dict[str, Any]) -> bool:
        """Tell whether an event was not yielded yet; a delivery may be repeated after a crash."""
        if event["type"] not in {"message", "notice"} or not event.get("id"):
            return True
        if event["id"] in self._seen:
            return False
        self._seen[event["id"]] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return True
