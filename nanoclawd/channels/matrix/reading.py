"""Reads what people's events say. Everything here comes from other people's programs: it is read strictly.

Nothing is asked of anybody here: what an event says of other events is left as their ids.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from nanoclaw_runner.contract.clock import to_text
from nanoclawd.channels.matrix.options import MAX_ID, is_user_id
from nanoclawd.routing.event import Change, InboundFile

_MAX_KEY: Final = 100
_MAX_NAME: Final = 1000
_MAX_TEXT: Final = 70_000
"""An event has 65,536 bytes at most, says the specification (Client-Server API, Size limits)."""

_PILL: Final = re.compile(r"""href=["']https://matrix\.to/#/([^"'?]{1,800})""")
_MXC: Final = re.compile(r"mxc://[A-Za-z0-9.:\[\]-]{1,255}/[A-Za-z0-9_=-]{1,255}")
_FILES: Final = frozenset({"m.image", "m.file", "m.audio", "m.video"})
_POLLS: Final = frozenset({"m.poll.start", "org.matrix.msc3381.poll.start"})
_LATEST_MS: Final = 253_000_000_000_000


class Malformed(ValueError):  # noqa: N818  # named for what was read
    """An event is none that its type allows; the message says why."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one event says.

    Attributes:
        sent_ms: when its server says that it was written, in milliseconds since 1970.
        thread: the event that begins the thread which this one is in.
        reply_to: the event that it answers.
        mentioned: the people whom it says that it mentions.
        change: what it does to an earlier event, ``about``; the text is then the new one, or the emoji.
    """

    event_id: str
    sender: str
    sent_ms: int | None
    text: str
    thread: str | None = None
    reply_to: str | None = None
    mentioned: frozenset[str] = frozenset()
    files: tuple[InboundFile, ...] = ()
    change: Change | None = None
    about: str | None = None

    @property
    def timestamp(self) -> str | None:
        """When it was written, as the rows say it."""
        if self.sent_ms is None:
            return None
        return to_text(datetime.fromtimestamp(self.sent_ms / 1000, UTC))


def read(event: object) -> Said | None:
    """Return what an event (decrypted, if it was encrypted) says; None where it says nothing to an agent.

    Raises:
        Malformed: it is none that its type allows.
    """
    if not isinstance(event, Mapping):
        raise Malformed("an event is an object")
    kind = event.get("type")
    content = event.get("content")
    if not isinstance(kind, str) or not isinstance(content, Mapping):
        raise Malformed("an event has a type and a content")
    if "state_key" in event or _mapping(event, "unsigned").get("redacted_because") is not None:
        return None
    reader = _reader(kind)
    if reader is None or (not content and kind != "m.room.redaction"):
        return None
    sender = event.get("sender")
    if not isinstance(sender, str) or not is_user_id(sender):
        raise Malformed("nobody has sent it")
    event_id = _id(event.get("event_id"), "it has no id")
    sent = event.get("origin_server_ts")
    ms = sent if type(sent) is int and 0 < sent < _LATEST_MS else None
    return reader(event, content, Said(event_id, sender, ms, ""))


def _reader(kind: str) -> Callable[[Mapping[str, Any], Mapping[str, Any], Said], Said | None] | None:
    if kind in ("m.room.message", "m.sticker"):
        return _message
    if kind in _POLLS:
        return _poll
    return {"m.reaction": _reaction, "m.room.redaction": _redaction}.get(kind)


def _message(event: Mapping[str, Any], content: Mapping[str, Any], said: Said) -> Said | None:
    relation = _mapping(content, "m.relates_to")
    if relation.get("rel_type") == "m.replace":
        target = _id(relation.get("event_id"), "it replaces nothing")
        new = _mapping(content, "m.new_content")
        text = _words(new, reply=False)[0] if new else _words(content, reply=False)[0].removeprefix("* ")
        return _with(said, text=text, change=Change.EDITED, about=target)
    thread = _id(relation.get("event_id"), "its thread has no id") if relation.get("rel_type") == "m.thread" else None
    answered = _mapping(relation, "m.in_reply_to").get("event_id")
    reply = _id(answered, "it answers nothing") if answered is not None else None
    if thread is not None and relation.get("is_falling_back") is True:
        reply = None
    if event.get("type") == "m.room.message" and content.get("msgtype") == "m.notice":
        return None  # said by a program: two that answer each other would never end
    text, files = _words(content, reply=answered is not None, sticker=event.get("type") == "m.sticker")
    return _with(said, text=text, files=files, thread=thread, reply_to=reply, mentioned=_mentioned(content))


def _words(content: Mapping[str, Any], *, reply: bool, sticker: bool = False) -> tuple[str, tuple[InboundFile, ...]]:
    body = content.get("body")
    if not isinstance(body, str):
        raise Malformed("it has no body")
    body = body[:_MAX_TEXT]
    kind = "m.image" if sticker else content.get("msgtype")
    if not isinstance(kind, str):
        raise Malformed("it has no msgtype")
    if kind in _FILES:
        name = content.get("filename")
        caption = body if isinstance(name, str) and name != body else ""
        shown = f"[sticker] {body}" if sticker else caption
        return shown, (_file(content, name if isinstance(name, str) else body),)
    if kind == "m.location":
        place = content.get("geo_uri")
        return f"{body}\n{place[:_MAX_NAME]}" if isinstance(place, str) else body, ()
    if reply:
        body = without_fallback(body)
    return (f"* {body}" if kind == "m.emote" else body), ()


def without_fallback(body: str) -> str:
    """Return a reply's text without the quoted lines that older programs put before it."""
    if not body.startswith("> "):
        return body
    lines = body.split("\n")
    count = 0
    while count < len(lines) and lines[count].startswith(">"):
        count += 1
    if count < len(lines) and not lines[count].strip():
        count += 1
    return "\n".join(lines[count:])


def _file(content: Mapping[str, Any], name: str) -> InboundFile:
    info = _mapping(content, "info")
    sealed = _mapping(content, "file")
    address = sealed.get("url") if sealed else content.get("url")
    if not isinstance(address, str) or not _MXC.fullmatch(address):
        raise Malformed("its file has no address")
    reference: dict[str, str] = {"u": address}
    if sealed:
        key, vector = _mapping(sealed, "key").get("k"), sealed.get("iv")
        digest = _mapping(sealed, "hashes").get("sha256")
        if not all(isinstance(one, str) and 0 < len(one) <= _MAX_KEY for one in (key, vector, digest)):
            raise Malformed("its file cannot be decrypted")
        reference |= {"k": str(key), "i": str(vector), "h": str(digest)}
    size, kind = info.get("size"), info.get("mimetype")
    return InboundFile(
        json.dumps(reference, separators=(",", ":")),
        name[:_MAX_NAME],
        kind[:_MAX_NAME] if isinstance(kind, str) else "",
        size if type(size) is int and 0 <= size < 1 << 50 else None,
    )


def _mentioned(content: Mapping[str, Any]) -> frozenset[str]:
    """Return whom a message mentions: by ``m.mentions`` where it is there, else by links to people (pills)."""
    told = content.get("m.mentions")
    if isinstance(told, Mapping):
        users = told.get("user_ids")
        return frozenset(one for one in users if is_user_id(one)) if isinstance(users, list) else frozenset()
    formatted = content.get("formatted_body")
    if not isinstance(formatted, str):
        return frozenset()
    return frozenset(one for one in map(unquote, _PILL.findall(formatted[:_MAX_TEXT])) if is_user_id(one))


def _poll(event: Mapping[str, Any], content: Mapping[str, Any], said: Said) -> Said | None:
    del event
    poll = _mapping(content, "m.poll.start") or _mapping(content, "org.matrix.msc3381.poll.start")
    question = _simple(poll.get("question"))
    answers = poll.get("answers")
    if question is None or not isinstance(answers, list):
        raise Malformed("it asks nothing")
    shown = [text for text in map(_simple, answers[:20]) if text is not None]
    return _with(said, text="\n".join([f"[poll] {question}", *(f"- {text}" for text in shown)])[:_MAX_TEXT])


def _simple(part: object) -> str | None:
    if not isinstance(part, Mapping):
        return None
    text = part.get("org.matrix.msc1767.text", part.get("body"))
    if isinstance(text, str):
        return text
    told = part.get("m.text")
    if isinstance(told, list) and told and isinstance(told[0], Mapping) and isinstance(told[0].get("body"), str):
        body: str = told[0]["body"]
        return body
    return None


def _reaction(event: Mapping[str, Any], content: Mapping[str, Any], said: Said) -> Said | None:
    del event
    relation = _mapping(content, "m.relates_to")
    key = relation.get("key")
    if relation.get("rel_type") != "m.annotation" or not isinstance(key, str) or not key:
        raise Malformed("it reacts to nothing")
    return _with(
        said, text=key[:_MAX_KEY], change=Change.REACTED, about=_id(relation.get("event_id"), "it reacts to nothing")
    )


def _redaction(event: Mapping[str, Any], content: Mapping[str, Any], said: Said) -> Said | None:
    # Room versions before 11 say it beside the content.
    target = content.get("redacts", event.get("redacts"))
    return _with(said, change=Change.DELETED, about=_id(target, "it redacts nothing"))


def _with(said: Said, **values: Any) -> Said:
    known = {name: getattr(said, name) for name in Said.__slots__}
    return Said(**(known | values))


def _id(value: object, otherwise: str) -> str:
    if not isinstance(value, str) or not value.startswith("$") or len(value) > MAX_ID or not value.isprintable():
        raise Malformed(otherwise)
    return value


def _mapping(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = holder.get(key)
    return found if isinstance(found, Mapping) else {}
