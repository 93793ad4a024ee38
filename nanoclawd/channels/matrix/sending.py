"""Sends to rooms. Each event's transaction is named by the outbound row, so that a repeated delivery is one event.

The homeserver keeps a device's transactions (Client-Server API, Transaction identifiers): what it is sent again under
the same name is answered with the first event's id.
"""

import logging
import mimetypes
import re
from typing import Any, Final

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.text import storable
from nanoclawd.channels.markup.document import Document
from nanoclawd.channels.markup.matrix import to_matrix
from nanoclawd.channels.markup.parsing import parse
from nanoclawd.channels.markup.plain import to_plain
from nanoclawd.channels.markup.splitting import split
from nanoclawd.channels.matrix.account import Account
from nanoclawd.channels.matrix.media import upload
from nanoclawd.channels.matrix.requests import place
from nanoclawd.errors import Unavailable
from nanoclawd.sessions.ports import Attachment, Delivered, Edit, Outgoing, Reaction, Text, Undelivered

log = logging.getLogger(__name__)

MAX_TEXT: Final = 8000
"""Characters of one message. As bytes, with its HTML, encrypted, it is to stay below an event's 65,536."""

TYPING_SECONDS: Final = 25.0
_MAX_EVENT: Final = 40_000
"""Bytes of a message's words in both forms: encrypted it has a third more."""

_JOIN_SECONDS: Final = 10.0
_MAX_THREADS: Final = 1000
_MAX_CALLED: Final = 20
_USER: Final = re.compile(r"@[A-Za-z0-9._=/+-]{1,200}:[A-Za-z0-9.-]{1,200}(?::[0-9]{1,5})?(?<![.-])")


class Sender:
    """What goes from the appliance to an account's rooms."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._latest: dict[tuple[str, str], str] = {}
        """By thread, its latest event here: what clients without threads show as answered."""

    async def deliver(self, outgoing: Outgoing, shown: str | None) -> Delivered | Undelivered:
        """Deliver once; ``shown`` is the message that shows the answer's beginning already, and is changed into it.

        Raises:
            NanoclawError: it is not delivered, for the reason that it tells.
        """
        body, room_id = outgoing.body, outgoing.address.platform_id
        if room_id not in self._account.keys.rooms and not await self._account.joined(room_id, _JOIN_SECONDS):
            return Undelivered("the account is not in this room (any more)", permanent=True)
        match body:
            case Text():
                return await self._text(outgoing, body, shown)
            case Edit():
                first, *rest = _pieces(body.text) or [_first("")]
                await self._change(room_id, body.platform_message_id, first, outgoing.id)
                for number, piece in enumerate(rest, start=1):
                    await self._message(outgoing.address, _words(piece), f"{outgoing.id}.{number}")
                return Delivered(body.platform_message_id)
            case Reaction():
                relation = {"rel_type": "m.annotation", "event_id": body.platform_message_id, "key": body.emoji}
                return Delivered(await self.send(room_id, "m.reaction", {"m.relates_to": relation}, outgoing.id))
            case _:
                return Undelivered("Matrix has no buttons", permanent=True)

    async def send(self, room_id: str, kind: str, content: dict[str, Any], transaction: str) -> str:
        """Send an event, encrypted where the room wants it; return its id.

        Raises:
            NanoclawError: the server does not take it.
        """
        text = content.get("body")
        if isinstance(text, str) and kind == "m.room.message":
            content["m.mentions"] = self._mentions(room_id, text)
        sealed_kind, sealed = await self._account.keys.encrypt(room_id, kind, content)
        path = place("rooms", room_id, "send", sealed_kind, transaction)
        answer = await self._account.requests.ask("PUT", path, sealed)
        event_id = answer.get("event_id")
        if not isinstance(event_id, str) or not event_id:
            raise Unavailable("the homeserver does not tell the event's id")
        if isinstance(text, str) and "m.new_content" not in content:
            self._account.remember(room_id, event_id, self._account.user_id, text)
        return event_id

    def _mentions(self, room_id: str, text: str) -> dict[str, Any]:
        """Return whom a text calls: people of the room by their full id; nobody is called by chance."""
        room = self._account.keys.rooms.get(room_id)
        called = [user for user in _USER.findall(text) if room is not None and user in room.users]
        return {"user_ids": called[:_MAX_CALLED]} if called else {}

    async def notice(self, room_id: str, text: str, transaction: str) -> None:
        """Send the channel's own words, unencrypted only where the room is."""
        content = {"msgtype": "m.notice", "body": text}
        if not self._account.keys.encrypts and getattr(self._account.keys.rooms.get(room_id), "encrypted", False):
            # The room's own rule is broken for the one sentence that says why nothing else can be said.
            path = place("rooms", room_id, "send", "m.room.message", transaction)
            await self._account.requests.ask("PUT", path, content)
            return
        await self.send(room_id, "m.room.message", content, transaction)

    async def typing(self, room_id: str, *, on: bool) -> None:
        """Show, or no more, that somebody is at work; nothing in a room that the account is not in."""
        if room_id not in self._account.keys.rooms:
            return
        path = place("rooms", room_id, "typing", self._account.user_id)
        body = {"typing": True, "timeout": int(TYPING_SECONDS * 1000) + 5000} if on else {"typing": False}
        await self._account.requests.ask("PUT", path, body, seconds=10.0)

    async def begin(self, address: Address, text: str, transaction: str) -> str:
        """Send the beginning of an answer; return its id."""
        return await self._message(address, _words(_first(text)), transaction)

    async def change(self, room_id: str, event_id: str, text: str, transaction: str) -> None:
        """Replace a message's text by another."""
        await self._change(room_id, event_id, _first(text), transaction)

    async def withdraw(self, room_id: str, event_id: str, transaction: str) -> None:
        """Take a message back."""
        await self._account.requests.ask("PUT", place("rooms", room_id, "redact", event_id, transaction), {})

    async def _text(self, outgoing: Outgoing, body: Text, shown: str | None) -> Delivered | Undelivered:
        address, delivered = outgoing.address, shown
        pieces = _pieces(body.text)
        if not pieces and not body.files:
            return Undelivered("there is nothing to be seen in it", permanent=True)
        for number, piece in enumerate(pieces):
            transaction = f"{outgoing.id}.{number}" if number else outgoing.id
            if number == 0 and shown is not None:
                # Under the same name as the message itself would have: told again without the beginning, it is one.
                await self._change(address.platform_id, shown, piece, transaction)
                continue
            content = _words(piece, kind="m.notice" if outgoing.is_notice else "m.text")
            event_id = await self._message(address, content, transaction)
            delivered = delivered or event_id
        for number, file in enumerate(body.files):
            content = await self._file(address.platform_id, file)
            event_id = await self._message(address, content, f"{outgoing.id}.f{number}")
            delivered = delivered or event_id
        return Delivered(delivered)

    async def _message(self, address: Address, content: dict[str, Any], transaction: str) -> str:
        thread = address.thread_id
        if thread is not None:
            latest = self._latest.get((address.platform_id, thread), thread)
            content["m.relates_to"] = {
                "rel_type": "m.thread",
                "event_id": thread,
                "is_falling_back": True,
                "m.in_reply_to": {"event_id": latest},
            }
        event_id = await self.send(address.platform_id, "m.room.message", content, transaction)
        if thread is not None:
            self._latest[address.platform_id, thread] = event_id
            while len(self._latest) > _MAX_THREADS:
                del self._latest[next(iter(self._latest))]
        return event_id

    async def _change(self, room_id: str, event_id: str, piece: Document, transaction: str) -> None:
        new = _words(piece)
        content: dict[str, Any] = {
            "msgtype": "m.text",
            "body": f"* {new['body']}",
            "m.new_content": new,
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        }
        await self.send(room_id, "m.room.message", content, transaction)

    async def _file(self, room_id: str, file: Attachment) -> dict[str, Any]:
        media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        kind = media_type.partition("/")[0]
        sealed = bool(getattr(self._account.keys.rooms.get(room_id), "encrypted", False))
        where = await upload(self._account, file, media_type, file.name, sealed=sealed)
        return {
            "msgtype": {"image": "m.image", "audio": "m.audio", "video": "m.video"}.get(kind, "m.file"),
            "body": storable(file.name),
            "filename": storable(file.name),
            "info": {"mimetype": media_type, "size": file.size},
            **where,
        }


def _pieces(text: str) -> list[Document]:
    """Return a text as documents that each fit one message; none where there is nothing to show."""
    return split(parse(storable(text)), MAX_TEXT, _length)


def _first(text: str) -> Document:
    return next(iter(_pieces(text)), parse("…"))


def _length(document: Document) -> int:
    return len(to_plain(document))


def _words(piece: Document, kind: str = "m.text") -> dict[str, Any]:
    """Return a message's content: its words, and the same as HTML where that shows more."""
    plain = to_plain(piece)
    content: dict[str, Any] = {"msgtype": kind, "body": plain}
    html = to_matrix(piece)
    has_more = html not in (f"<p>{plain}</p>", plain)
    if has_more and len(plain.encode()) + len(html.encode()) <= _MAX_EVENT:
        content |= {"format": "org.matrix.custom.html", "formatted_body": html}
    return content
