"""Carries deliveries out: each in as many messages as it needs, none of them twice."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Final

import discord
import msgspec

from nanoclaw_runner.contract.rows import Address
from nanoclawd.atomic_file import write_atomically
from nanoclawd.channels.discord import outgoing as bodies
from nanoclawd.channels.discord.events import chat_of
from nanoclawd.channels.discord.rest import FAILURES, UNKNOWN_MESSAGE, Rest, is_away, told, undelivered
from nanoclawd.channels.discord.wire import is_id
from nanoclawd.channels.live import LiveAnswers
from nanoclawd.errors import Unavailable
from nanoclawd.sessions.ports import Attachment, Delivered, Edit, Outgoing, Reaction, ShownCard, Text, Undelivered

log = logging.getLogger(__name__)

MAX_REMEMBERED: Final = 500
"""Deliveries of several messages whose messages are known."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One message of a delivery."""

    content: str
    files: tuple[Attachment, ...] = ()
    components: tuple[dict[str, object], ...] = ()


class Parts:
    """Which messages deliveries have become, on the disk: what a retry has done already, and what an edit concerns."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[str, list[str]] = {}
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Read what was kept."""
        with suppress(OSError, msgspec.DecodeError):
            self._known = msgspec.json.decode(await asyncio.to_thread(self._file.read_bytes), type=dict[str, list[str]])

    def of(self, delivery: str) -> list[str]:
        """Return the messages that a delivery has become by now."""
        return list(self._known.get(delivery, ()))

    def beginning_with(self, message_id: str) -> list[str]:
        """Return the messages of the delivery whose first one this is."""
        return next((list(ids) for ids in self._known.values() if ids and ids[0] == message_id), [message_id])

    async def note(self, delivery: str, ids: Sequence[str]) -> None:
        """Note them."""
        self._known.pop(delivery, None)
        self._known[delivery] = list(ids)
        while len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        async with self._writing:
            text = msgspec.json.encode(self._known).decode()
            try:
                await asyncio.to_thread(write_atomically, self._file, text, mode=0o600)
            except OSError as error:
                # The platform itself knows for some minutes what it has got.
                log.warning("which messages a delivery has become can't be written: %s", error)


class Sender:
    """Delivers on one connected account."""

    def __init__(self, rest: Rest, live: LiveAnswers, parts: Parts, max_attachment: int) -> None:
        self._rest = rest
        self._live = live
        self._parts = parts
        self._max_attachment = max_attachment
        self.deleted: dict[str, None] = {}
        """Messages that we have deleted ourselves, the newest last: nobody is told of those."""

    async def deliver(self, outgoing: Outgoing, away: Callable[[], None]) -> Delivered | Undelivered:
        """Deliver once; ``away`` is called where it fails because of the network, or of Discord as a whole."""
        if not is_id(chat_of(outgoing.address)):
            return Undelivered("this is no chat of Discord's", permanent=True)
        try:
            return await self._deliver(outgoing)
        except FAILURES as error:
            if is_away(error):
                away()
            return undelivered(error)
        except Unavailable as error:  # where the answer's beginning is can't be asked now
            away()
            return Undelivered(error.message)

    async def _deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        body, chat = outgoing.body, chat_of(outgoing.address)
        match body:
            case Text():
                return await self._text(outgoing, body)
            case ShownCard():
                return await self._card(outgoing, body)
            case Edit():
                return await self._edit(outgoing, body)
            case Reaction():
                if not is_id(body.platform_message_id):
                    return Undelivered("this is no message of Discord's", permanent=True)
                await self._rest.react(chat, body.platform_message_id, body.emoji)
                return Delivered()

    async def _text(self, outgoing: Outgoing, body: Text) -> Delivered | Undelivered:
        if any(file.size > self._max_attachment for file in body.files):
            most = self._max_attachment // 1024**2
            return Undelivered(f"a file is too large: Discord takes {most} MiB here", permanent=True)
        words = [_Part(piece) for piece in bodies.pieces(body.text)]
        files = [_Part("", part) for part in batched(body.files, bodies.MAX_FILES, strict=False)]
        live = await self._live.finish(outgoing.address, outgoing.in_reply_to) if words else None
        if words and files:
            # The first files go with the last words, as people send them.
            words[-1:], files[:1] = [_Part(words[-1].content, files[0].files)], []
        parts = [*words, *files]
        if not parts:
            return Undelivered("there is nothing in it to be read", permanent=True)
        return await self._post(outgoing, parts, live)

    async def _card(self, outgoing: Outgoing, body: ShownCard) -> Delivered | Undelivered:
        rows = bodies.buttons(body.card, body.card_id)
        if rows is None:
            return Undelivered("the card's id is too long for a button", permanent=True)
        words = [_Part(piece) for piece in bodies.pieces(bodies.card_text(body.card))]
        if not words:
            return Undelivered("there is nothing in it to be read", permanent=True)
        words[-1] = _Part(words[-1].content, components=tuple(rows))
        outcome = await self._post(outgoing, words, None)
        if isinstance(outcome, Delivered) and len(words) > 1:
            # The host changes the card by this id: it has to be the message with the buttons.
            return Delivered(self._parts.of(outgoing.id)[-1])
        return outcome

    async def _post(self, outgoing: Outgoing, parts: Sequence[_Part], live: str | None) -> Delivered:
        """Post a delivery's messages, without those that an earlier attempt has posted."""
        chat = chat_of(outgoing.address)
        done = self._parts.of(outgoing.id)
        if live is not None and live in done:  # the daemon died right after it had completed it
            await self._live.settled(outgoing.address, outgoing.in_reply_to)
        for number, part in enumerate(parts):
            if number < len(done):
                continue
            posted = None
            if number == 0 and live is not None:
                posted = await self._completed(outgoing, chat, live, part)
            if posted is None:
                body = bodies.post(part.content, part.components)
                posted = await self._rest.post(chat, body, bodies.nonce(outgoing.id, number), part.files)
            done.append(posted)
            if len(parts) > 1:
                await self._parts.note(outgoing.id, done)
        return Delivered(done[0])

    async def _completed(self, outgoing: Outgoing, chat: str, live: str, part: _Part) -> str | None:
        """Make the message that shows the answer so far into its first part; None where somebody has deleted it."""
        if not await self._change(chat, live, part.content, part.files):
            await self._live.settled(outgoing.address, outgoing.in_reply_to)
            return None
        # Before it is forgotten: a crash in between must not post what is shown already.
        await self._parts.note(outgoing.id, [live])
        await self._live.settled(outgoing.address, outgoing.in_reply_to)
        return live

    async def _edit(self, outgoing: Outgoing, body: Edit) -> Delivered | Undelivered:
        """Change a delivery's messages: what is too much is deleted, what is missing is posted."""
        chat, target = chat_of(outgoing.address), body.platform_message_id
        if not is_id(target):
            return Undelivered("this is no message of Discord's", permanent=True)
        pieces = bodies.pieces(body.text)
        if not pieces:
            return Undelivered("there is nothing in it to be read", permanent=True)
        before = self._parts.beginning_with(target)
        for message_id, piece in zip(before, pieces, strict=False):
            if not await self._change(chat, message_id, piece):
                return Undelivered("the message is not there any more", permanent=True)
        for message_id in before[len(pieces) :]:
            await self.remove(chat, message_id)
        added = self._parts.of(outgoing.id)
        for number, piece in enumerate(pieces[len(before) :]):
            if number >= len(added):
                added.append(await self._rest.post(chat, bodies.post(piece), bodies.nonce(outgoing.id, number)))
                await self._parts.note(outgoing.id, added)
        return Delivered(target)

    async def _change(self, chat: str, message_id: str, content: str, files: Sequence[Attachment] = ()) -> bool:
        """Change a message; False where it is there no more."""
        try:
            await self._rest.change(chat, message_id, bodies.change(content), files)
        except discord.NotFound as error:
            if error.code != UNKNOWN_MESSAGE:
                raise
            return False
        return True

    async def remove(self, chat: str, message_id: str) -> None:
        """Delete a message of ours; one that is gone already is gone."""
        self.deleted[message_id] = None
        while len(self.deleted) > MAX_REMEMBERED:
            del self.deleted[next(iter(self.deleted))]
        with suppress(discord.NotFound):
            await self._rest.delete(chat, message_id)


class LiveEditor:
    """Shows answers in the making: at most one request in 1.5 s in each channel, whoever writes there."""

    def __init__(self, rest: Rest, every: float, remove: Callable[[str, str], Awaitable[None]]) -> None:
        """Prepare; ``remove(channel, message)`` deletes a message of ours."""
        self._rest = rest
        self._remove = remove
        self._every = every
        self._next: dict[str, float] = {}

    async def begin(self, address: Address, text: str, name: str) -> str | None:
        """Post the beginning of an answer.

        Raises:
            NanoclawError: it could not be posted, now or at all.
        """
        chat = chat_of(address)
        if not is_id(chat):
            return None
        await self._turn(chat)
        # Nobody is notified of half a sentence.
        body = {"content": bodies.cut(text), "allowed_mentions": bodies.NOBODY}
        try:
            return await self._rest.post(chat, body, bodies.nonce(name, 0))
        except FAILURES as error:
            raise told(error) from error

    async def change(self, address: Address, message_id: str, text: str) -> None:
        """Show more of it."""
        chat = chat_of(address)
        await self._turn(chat)
        await self._rest.change(chat, message_id, bodies.change(bodies.cut(text)))

    async def remove(self, address: Address, message_id: str) -> None:
        """Delete it.

        Raises:
            NanoclawError: it could not be deleted, now or at all.
        """
        try:
            await self._remove(chat_of(address), message_id)
        except FAILURES as error:
            raise told(error) from error

    async def _turn(self, chat: str) -> None:
        now = asyncio.get_running_loop().time()
        at = max(now, self._next.get(chat, 0.0))
        self._next = {one: when for one, when in self._next.items() if when > now}
        self._next[chat] = at + self._every
        # Its place in the row: the pace that the service allows.
        await asyncio.sleep(at - now)
