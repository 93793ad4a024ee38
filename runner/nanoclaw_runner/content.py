"""The JSON in a row's ``content``, read strictly and written within its bounds."""

import json
from dataclasses import dataclass

from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, MAX_MESSAGE_BYTES
from nanoclaw_runner.contract.text import storable

_TEXT_KEYS = ("text", "prompt")
_MAX_SENDER_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Said:
    """Who said what; an unknown sender is empty."""

    sender: str
    text: str


def read(content: str) -> Said:
    """Read a row's content; whatever is no object with a text counts as the text itself."""
    bounded = _cut(content, MAX_CONTENT_BYTES)
    try:
        found = json.loads(bounded)
    except (ValueError, RecursionError):
        return Said(sender="", text=_cut(bounded, MAX_MESSAGE_BYTES))
    if not isinstance(found, dict):
        return Said(sender="", text=_cut(bounded, MAX_MESSAGE_BYTES))
    text = next((found[key] for key in _TEXT_KEYS if isinstance(found.get(key), str)), bounded)
    sender = found.get("sender")
    shown = " ".join(sender.split())[:_MAX_SENDER_CHARACTERS] if isinstance(sender, str) else ""
    return Said(sender=storable(shown), text=_cut(text, MAX_MESSAGE_BYTES))


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


def _cut(text: str, limit: int) -> str:
    encoded = storable(text).encode()
    return encoded[:limit].decode(errors="ignore")
