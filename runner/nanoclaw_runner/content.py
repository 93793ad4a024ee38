"""The JSON in a row's ``content``, read strictly and written within its bounds."""

import json
import re
from dataclasses import dataclass
from typing import Any

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, MAX_MESSAGE_BYTES
from nanoclaw_runner.contract.text import storable

MAX_ATTACHMENTS = 32
_TEXT_KEYS = ("text", "prompt")
_MAX_FIELD_CHARACTERS = 200
_MAX_QUOTE_BYTES = 8 * 1024
_CHANGES = frozenset({"edited", "deleted", "reacted"})
_PATH = re.compile(r"files/[^/\x00]{1,255}/[^/\x00]{1,255}")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a message answers; ``id`` is the platform's, and no prompt shows it."""

    sender: str
    text: str
    id: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message.

    Attributes:
        type: MIME type, as it was found out or told.
        size: bytes; None: not known.
        path: below ``/session/in``; empty: the file itself is not there.
        problem: why not.
    """

    name: str
    type: str
    size: int | None
    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to an earlier message: ``edited``, ``deleted`` or ``reacted``; ``id`` is the platform's."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True)
class Said:
    """Who said what; an unknown sender is empty. Of a change the text is the new one, nothing, or the emoji."""

    sender: str
    text: str
    quote: Quote | None = None
    attachments: tuple[Attachment, ...] = ()
    change: Change | None = None


def read(content: str) -> Said:
    """Read a row's content; whatever is no object with a text counts as the text itself."""
    bounded = _cut(content, MAX_CONTENT_BYTES)
    found = object_of(bounded)
    if not found:
        return Said(sender="", text=_cut(bounded, MAX_MESSAGE_BYTES))
    text = next((found[key] for key in _TEXT_KEYS if isinstance(found.get(key), str)), bounded)
    return Said(
        sender=_line(found.get("sender")),
        text=_cut(text, MAX_MESSAGE_BYTES),
        quote=_quote(found.get("replyTo")),
        attachments=_attachments(found.get("attachments")),
        change=_change(found.get("change")),
    )


def fields(content: str) -> dict[str, Any]:
    """Return the object that a content is, an empty one if it is none."""
    return object_of(_cut(content, MAX_CONTENT_BYTES))


def as_text(value: object) -> str:
    """Return any JSON value as text of bounded size: a string as it is, everything else laid out."""
    if isinstance(value, str):
        return _cut(value, MAX_MESSAGE_BYTES)
    try:
        laid_out = json.dumps(value, ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        laid_out = ""
    return _cut(laid_out, MAX_MESSAGE_BYTES)


def write(text: str, *, error: bool = False) -> str:
    """Return a chat row's content; a text beyond the limits is cut with a visible marker."""
    whole = storable(text)
    size = len(whole.encode())
    room = MAX_MESSAGE_BYTES
    shown = whole
    while True:
        if size > room:
            marker = f"\n[cut here: the answer has {size} bytes, {room} fit]"
            shown = _cut(whole, room - len(marker)) + marker
        content = json.dumps({"text": shown, "error": True} if error else {"text": shown}, ensure_ascii=False)
        # Escapes can make six bytes of one, so a text within its limit may still burst the column's.
        if len(content.encode()) <= MAX_CONTENT_BYTES:
            return content
        room //= 2


def object_of(text: str) -> dict[str, Any]:
    """Return the JSON object that a text is, however long; an empty one if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _quote(found: object) -> Quote | None:
    if not isinstance(found, dict):
        return None
    text, identifier = found.get("text"), found.get("id")
    return Quote(
        sender=_line(found.get("sender")),
        text=_cut(text, _MAX_QUOTE_BYTES) if isinstance(text, str) else "",
        id=identifier if isinstance(identifier, str) else "",
    )


def _change(found: object) -> Change | None:
    if not isinstance(found, dict):
        return None
    kind, identifier = found.get("kind"), found.get("id")
    if not isinstance(kind, str) or kind not in _CHANGES:
        return None
    return Change(kind, identifier if isinstance(identifier, str) else "")


def _attachments(found: object) -> tuple[Attachment, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(_attachment(one) for one in found[:MAX_ATTACHMENTS] if isinstance(one, dict))


def _attachment(found: dict[str, Any]) -> Attachment:
    path, size = found.get("path"), found.get("size")
    if not isinstance(path, str) or not _PATH.fullmatch(path) or {"..", "."} & set(path.split("/")):
        path = ""
    return Attachment(
        name=_line(found.get("name")) or "attachment",
        type=_line(found.get("type")) or "file",
        size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
        path=storable(path),
        problem=_line(found.get("problem")),
    )


def _line(value: object) -> str:
    """Return a short text in one line, empty where there is none."""
    return storable(" ".join(value.split())[:_MAX_FIELD_CHARACTERS]) if isinstance(value, str) else ""


def _cut(text: str, limit: int) -> str:
    encoded = storable(text).encode()
    return encoded[:limit].decode(errors="ignore")
