"""Sends what the appliance delivers: texts in parts, files, cards, changes and reactions.

What is raised is the library's own; the adapter makes an outcome of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, Message
from telegram.constants import ParseMode, ReactionEmoji
from telegram.error import BadRequest

from nanoclawd.channels.markup.document import Document, Mark, Paragraph, Run
from nanoclawd.channels.markup.parsing import parse
from nanoclawd.channels.markup.plain import to_plain
from nanoclawd.channels.markup.splitting import split
from nanoclawd.channels.markup.telegram import telegram_length, to_telegram
from nanoclawd.channels.telegram.errors import is_formatting
from nanoclawd.channels.telegram.files import MAX_FILE_BYTES, FileKind, kind_of, read
from nanoclawd.channels.telegram.http import UPLOAD_SECONDS
from nanoclawd.channels.telegram.pace import Busy, Pace
from nanoclawd.channels.telegram.sent import Progress, SentParts
from nanoclawd.sessions.ports import Attachment, Delivered, Edit, Reaction, ShownCard, Text, Undelivered

MAX_TEXT: Final = 4096
MAX_CAPTION: Final = 1024
"""Of one file, in UTF-16 units after its formatting was read; longer words are a message of their own."""
DEADLINE_SECONDS: Final = 50.0
"""For one attempt; what has not gone out by then follows with the next one."""
BUTTON_PREFIX: Final = "nc:"
_LONG_CHARACTERS: Final = 20_000
_MAX_DIGITS: Final = 19
_VARIATION: Final = "\ufe0f"
_REACTIONS: Final = {str(one).replace(_VARIATION, ""): str(one) for one in ReactionEmoji}

type Part = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Where:
    """A chat and, in a forum, its topic."""

    chat: int
    thread: int | None


async def pieces_of(document: Document) -> list[Document]:
    """Return a document in pieces of one message each."""
    if document and telegram_length(document) <= MAX_TEXT:
        return [document]
    return await asyncio.to_thread(split, document, MAX_TEXT, telegram_length)


async def parsed(text: str) -> Document:
    """Return what an agent wrote as a document; a long text is read beside the loop."""
    return parse(text) if len(text) < _LONG_CHARACTERS else await asyncio.to_thread(parse, text)


class Sender:
    """Sends by one bot."""

    def __init__(self, bot: Bot, pace: Pace, sent: SentParts) -> None:
        self._bot = bot
        self._pace = pace
        self._sent = sent

    # Bodies.

    async def text(self, where: Where, row_id: str, body: Text, live: str | None) -> Delivered | Undelivered:
        """Send words and files; ``live`` is a message that shows the beginning of the words already."""
        if any(file.size > MAX_FILE_BYTES for file in body.files):
            return Undelivered("a file is too large for Telegram", permanent=True)
        ends = _deadline()
        parts: list[Part] = []
        document = await parsed(body.text)
        if document and len(body.files) == 1 and live is None and telegram_length(document) <= MAX_CAPTION:
            parts.append(self._file(where, body.files[0], ends, document))
        else:
            for number, piece in enumerate(await pieces_of(document)):
                parts.append(self._words(where, piece, ends, live=live if number == 0 else None))
            parts.extend(self._file(where, file, ends) for file in body.files)
        if not parts:
            return Undelivered("there is nothing to be read in it", permanent=True)
        return await self._all(row_id, parts, last_counts=False)

    async def card(self, where: Where, row_id: str, body: ShownCard) -> Delivered | Undelivered:
        """Send a card; its buttons are below its last part, and that is the message that can be changed later."""
        title = (Paragraph((Run(body.card.title, frozenset({Mark.BOLD})),)),) if body.card.title.strip() else ()
        pieces = await pieces_of((*title, *await parsed(body.card.text)))
        if not pieces:
            return Undelivered("there is nothing to be read on it", permanent=True)
        ends = _deadline()
        last = len(pieces) - 1
        parts = [
            self._words(where, piece, ends, markup=_keyboard(body) if number == last else None)
            for number, piece in enumerate(pieces)
        ]
        return await self._all(row_id, parts, last_counts=True)

    async def edit(self, where: Where, row_id: str, body: Edit) -> Delivered | Undelivered:
        """Change a message; its buttons go. What is too long for it follows in new ones."""
        if not _is_number(body.platform_message_id):
            return Undelivered("there is no such message on Telegram", permanent=True)
        pieces = await pieces_of(await parsed(body.text))
        if not pieces:
            return Undelivered("there is nothing to be read in it", permanent=True)
        ends = _deadline()
        parts = [self._change(where, body.platform_message_id, pieces[0], ends)]
        parts.extend(self._words(where, piece, ends) for piece in pieces[1:])
        return await self._all(row_id, parts, last_counts=False)

    async def reaction(self, where: Where, body: Reaction) -> Delivered | Undelivered:
        """React to a message."""
        if not _is_number(body.platform_message_id):
            return Undelivered("there is no such message on Telegram", permanent=True)
        emoji = _REACTIONS.get(body.emoji.replace(_VARIATION, ""))
        if emoji is None:
            some = " ".join(list(_REACTIONS.values())[:12])
            return Undelivered(f"Telegram has no reaction {body.emoji[:20]}; it has {some} and others", permanent=True)
        await self._bot.set_message_reaction(where.chat, int(body.platform_message_id), emoji)
        return Delivered(body.platform_message_id)

    # What is shown of an answer in the making.

    async def begin(self, where: Where, text: str) -> str | None:
        """Send the beginning of an answer."""
        pieces = await pieces_of(await parsed(text))
        return await self._words(where, pieces[0], _deadline())() if pieces else None

    async def change(self, where: Where, message_id: str, text: str) -> None:
        """Show more of an answer, if there is room for that now."""
        pieces = await pieces_of(await parsed(text))
        if pieces and self._pace.has_room(where.chat):
            await self._change(where, message_id, pieces[0], _deadline())()

    # Parts.

    async def _all(self, row_id: str, parts: Sequence[Part], *, last_counts: bool) -> Delivered | Undelivered:
        """Send all parts that an earlier attempt has not sent yet (W-39)."""
        several = len(parts) > 1
        progress = await self._sent.of(row_id) if several else Progress()
        for number in range(progress.parts, len(parts)):
            try:
                message_id = await parts[number]()
            except Busy as error:
                reason = f"{number} of {len(parts)} parts are sent: {error.message}"
                return Undelivered(reason if several else error.message, retry_after=error.seconds)
            progress.parts = number + 1
            progress.first = message_id if last_counts else progress.first or message_id
            if several:
                await self._sent.note(row_id, progress)
        return Delivered(progress.first)

    def _words(
        self,
        where: Where,
        piece: Document,
        ends: float,
        *,
        markup: InlineKeyboardMarkup | None = None,
        live: str | None = None,
    ) -> Part:
        async def new(text: str, mode: str | None) -> Message:
            return await self._bot.send_message(
                where.chat, text, parse_mode=mode, message_thread_id=where.thread, reply_markup=markup
            )

        async def send() -> str | None:
            if live is not None:
                try:
                    return await self._change(where, live, piece, ends)()
                except BadRequest:
                    pass  # somebody has removed it
            message = await self._formatted(where, piece, ends, new)
            return str(message.message_id)

        return send

    def _change(self, where: Where, message_id: str, piece: Document, ends: float) -> Part:
        number = int(message_id)

        async def text(shown: str, mode: str | None) -> None:
            await self._bot.edit_message_text(shown, where.chat, number, parse_mode=mode)

        async def caption(shown: str, mode: str | None) -> None:
            await self._bot.edit_message_caption(where.chat, number, caption=shown, parse_mode=mode)

        async def send() -> str:
            try:
                await self._formatted(where, piece, ends, text)
            except BadRequest as error:
                words = error.message.lower()
                if "no text in the message" in words:
                    await self._formatted(where, piece, ends, caption)
                elif "not modified" not in words:
                    raise
            return message_id

        return send

    async def _formatted[Result](
        self, where: Where, piece: Document, ends: float, send: Callable[[str, str | None], Awaitable[Result]]
    ) -> Result:
        """Send a part with its formatting, or, where Telegram does not take that, without."""
        try:
            async with self._pace.turn(where.chat, ends - time.monotonic()):
                return await send(to_telegram(piece), ParseMode.HTML)
        except BadRequest as error:
            if not is_formatting(error):
                raise
        async with self._pace.turn(where.chat, ends - time.monotonic()):
            return await send(to_plain(piece), None)

    def _file(self, where: Where, attachment: Attachment, ends: float, caption: Document = ()) -> Part:
        async def send() -> str:
            content = await asyncio.to_thread(read, attachment)
            kind = kind_of(content)
            try:
                message = await self._captioned(where, kind, content, attachment.name, ends, caption)
            except BadRequest as error:
                if kind is FileKind.DOCUMENT or "chat" in error.message.lower() or "thread" in error.message.lower():
                    raise
                # A picture of odd measures, a voice message that is none: as a file it goes.
                message = await self._captioned(where, FileKind.DOCUMENT, content, attachment.name, ends, caption)
            return str(message.message_id)

        return send

    async def _captioned(
        self, where: Where, kind: FileKind, content: bytes, name: str, ends: float, caption: Document
    ) -> Message:
        async def send(text: str | None, mode: str | None) -> Message:
            return await self._upload(where, kind, InputFile(content, filename=name or "file"), text, mode)

        if caption:
            return await self._formatted(where, caption, ends, send)
        async with self._pace.turn(where.chat, ends - time.monotonic()):
            return await send(None, None)

    async def _upload(
        self, where: Where, kind: FileKind, file: InputFile, caption: str | None, mode: str | None
    ) -> Message:
        more: dict[str, Any] = {"caption": caption, "parse_mode": mode} if caption else {}
        more |= {"message_thread_id": where.thread, "write_timeout": UPLOAD_SECONDS}
        match kind:
            case FileKind.PHOTO:
                return await self._bot.send_photo(where.chat, file, **more)
            case FileKind.VOICE:
                return await self._bot.send_voice(where.chat, file, **more)
            case FileKind.DOCUMENT:
                return await self._bot.send_document(where.chat, file, **more)


def _keyboard(body: ShownCard) -> InlineKeyboardMarkup | None:
    """Return the buttons, one below the other: their words are up to sixty characters long."""
    if not body.card_id or not body.card.options:
        return None
    return InlineKeyboardMarkup(
        [
            [InlineKeyboardButton(option.label or str(number), callback_data=f"{BUTTON_PREFIX}{body.card_id}:{number}")]
            for number, option in enumerate(body.card.options, start=1)
        ]
    )


def _is_number(message_id: str) -> bool:
    return message_id.isascii() and message_id.isdecimal() and len(message_id) <= _MAX_DIGITS


def _deadline() -> float:
    return time.monotonic() + DEADLINE_SECONDS
