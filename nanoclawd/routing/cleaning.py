"""What of an event from outside can be used: ids that may be ids, names on one line, bounded texts."""

import json
import secrets
from dataclasses import replace

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, MAX_FIELD_BYTES, MAX_MESSAGE_BYTES, Address
from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import InvalidName, TooLarge
from nanoclawd.routing.decision import Outcome, Step
from nanoclawd.routing.event import Hook, InboundEvent, InboundFile, Quote, Sender
from nanoclawd.routing.ids import is_printable, usable
from nanoclawd.store import users
from nanoclawd.store.names import shown_name

MAX_QUOTE_CHARACTERS = 4000
MAX_TIMESTAMP_CHARACTERS = 64
MAX_FILES = 32
MAX_FILE_NAME_CHARACTERS = 255
MAX_MEDIA_TYPE_BYTES = 128
MAX_SIZE = 2**53
MAX_ESCAPED_BYTES = MAX_CONTENT_BYTES - 32 * 1024
"""What a text may have as JSON, where a control character takes six bytes: the rest of a row is beside it."""


def cleaned(event: InboundEvent) -> tuple[InboundEvent, tuple[Step, ...]]:
    """Return an event that everything else can rely on, and notes about what was left out.

    Raises:
        TooLarge: the text is over 256 KiB of UTF-8, or fits no row when it is escaped.
        InvalidName: a field is of another type than it is declared to be.
    """
    _check_types(event)
    text = storable(event.text)
    if len(text.encode()) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"a message may have {MAX_MESSAGE_BYTES // 1024} KiB of text")
    if 6 * len(text) > MAX_ESCAPED_BYTES and len(json.dumps(text, ensure_ascii=False).encode()) > MAX_ESCAPED_BYTES:
        raise TooLarge(
            f"a message may have {MAX_ESCAPED_BYTES // 1024} KiB of text with its special characters escaped"
        )
    notes = []
    user_id = event.sender.user_id
    if user_id is not None:
        try:
            users.check_id(user_id)
        except InvalidName:
            user_id = None
            notes.append(Step("sender", Outcome.NOTE, "what the channel says is no user's id, so the sender is nobody"))
    message_id = usable(event.message_id)
    if not message_id:
        message_id = f"new-{secrets.token_hex(16)}"
        notes.append(Step("message", Outcome.NOTE, "the channel gave no id, so it may be stored twice if told twice"))
    clean = replace(
        event,
        address=replace(event.address, thread_id=event.address.thread_id or None),
        message_id=message_id,
        text=text,
        sender=Sender(user_id, shown_name(event.sender.name) or ""),
        chat_name=shown_name(event.chat_name),
        timestamp=_moment(event.timestamp),
        quote=None if event.quote is None else _clean_quote(event.quote),
        files=tuple(map(_clean_file, event.files[:MAX_FILES])),
        about=None if event.about is None else usable(event.about),
        hook=None if event.hook is None else _clean_hook(event.hook),
    )
    if len(event.files) > MAX_FILES:
        notes.append(Step("files", Outcome.NOTE, f"a message may have {MAX_FILES} files; the others were left out"))
    return clean, tuple(notes)


def unusable(address: Address) -> str | None:
    """Return why no chat can have this address, or None."""
    for name, value in (("channel's name", address.channel_type), ("chat's id", address.platform_id)):
        if not value:
            return f"the {name} is empty"
        if not is_printable(value, MAX_FIELD_BYTES):
            return f"the {name} is longer than {MAX_FIELD_BYTES} bytes or has characters that no id has"
    if address.thread_id is not None and not is_printable(address.thread_id, MAX_FIELD_BYTES):
        return f"the thread's id is longer than {MAX_FIELD_BYTES} bytes or has characters that no id has"
    return None


def _moment(timestamp: str | None) -> str | None:
    """Return a time as the platform says it, or None for what is none: decisions are kept, and so is this."""
    return timestamp if timestamp and is_printable(timestamp, MAX_TIMESTAMP_CHARACTERS) else None


def _clean_quote(quote: Quote) -> Quote:
    text = storable(quote.text[:MAX_QUOTE_CHARACTERS])
    message_id = quote.message_id
    if message_id is not None and not is_printable(message_id, MAX_FIELD_BYTES):
        message_id = None
    return Quote(text, shown_name(quote.sender) or "", message_id)


def _clean_hook(hook: Hook) -> Hook:
    return Hook(shown_name(hook.source) or "", shown_name(hook.event) or "", hook.group)


def _clean_file(file: InboundFile) -> InboundFile:
    size = file.size if file.size is not None and 0 <= file.size <= MAX_SIZE else None
    media_type = file.media_type if is_printable(file.media_type, MAX_MEDIA_TYPE_BYTES) else ""
    return InboundFile(file.reference, storable(file.name[:MAX_FILE_NAME_CHARACTERS]), media_type, size)


def _check_types(event: InboundEvent) -> None:
    texts: dict[str, object] = {
        "channel": event.address.channel_type,
        "chat": event.address.platform_id,
        "message id": event.message_id,
        "text": event.text,
        "sender's name": event.sender.name,
    }
    optional: dict[str, object] = {
        "thread": event.address.thread_id,
        "user id": event.sender.user_id,
        "chat's name": event.chat_name,
        "time": event.timestamp,
        "earlier message's id": event.about,
    }
    if event.hook is not None:
        texts |= {"hook": event.hook.source, "hook's event": event.hook.event, "hook's group": event.hook.group}
    if event.quote is not None:
        texts |= {"quote": event.quote.text, "quoted name": event.quote.sender}
        optional |= {"quoted id": event.quote.message_id}
    for number, file in enumerate(event.files[:MAX_FILES], start=1):
        texts |= {f"file {number}, its reference": file.reference, f"file {number}, its name": file.name}
        texts |= {f"file {number}, its type": file.media_type}
    wrong = [name for name, value in texts.items() if not isinstance(value, str)]
    wrong += [name for name, value in optional.items() if value is not None and not isinstance(value, str)]
    if wrong:
        raise InvalidName(f"an event's {wrong[0]} is a text")
    if (event.change is None) != (event.about is None):
        raise InvalidName("a change is of an earlier message, and says which")
    if event.change is not None and event.hook is not None:
        raise InvalidName("what a program sends is no change of a message")
