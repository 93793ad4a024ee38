"""What is posted: from what the appliance delivers to the bodies of requests. Pure."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.text import storable
from nanoclawd.channels.markup.document import Block, Document, Listing, Quote, Table
from nanoclawd.channels.markup.markdown import to_markdown
from nanoclawd.channels.markup.parsing import parse
from nanoclawd.channels.markup.splitting import split

MAX_TEXT: Final = 2000
MAX_FILES: Final = 10
"""Of one message."""

EPHEMERAL: Final = 1 << 6
NOBODY: Final[dict[str, Any]] = {"parse": []}
PEOPLE: Final[dict[str, Any]] = {"parse": ["users"]}
"""Who is notified of what is posted: people who are named, never all of a channel or of a role."""

_MAX_CUSTOM_ID: Final = 100
_MAX_LABEL: Final = 80
_MAX_BUTTONS: Final = 5
_NONCE_CHARACTERS: Final = 24
_PREFIX: Final = "nanoclaw"
_BUTTON, _ROW, _SECONDARY = 2, 1, 2


def length(text: str) -> int:
    """Return a text's length as the platform may count it: in UTF-16 units, which are never fewer than characters."""
    return len(text) + sum(character > "\uffff" for character in text)


def pieces(text: str) -> list[str]:
    """Return a text in pieces that each fit a message; none where nothing is to be read.

    Markdown is understood by the platform, and goes as it is where it fits and has no table, which chats can't show.
    """
    text = storable(text).replace("\0", "")
    if not text.strip():
        return []
    document = parse(text)
    if length(text) <= MAX_TEXT and not _has_table(document):
        return [text]
    return [found for part in split(document, MAX_TEXT, _measure) if (found := to_markdown(part)).strip()]


def cut(text: str) -> str:
    """Return the beginning of a text that fits a message."""
    text = storable(text).replace("\0", "")[:MAX_TEXT]
    while length(text) > MAX_TEXT:
        text = text[: MAX_TEXT - (length(text) - MAX_TEXT)]
    return text


def nonce(delivery: str, part: int) -> str:
    """Return what the platform knows a part of a delivery by: what is posted again under it is one message."""
    digest = hashlib.sha256(f"{delivery}#{part}".encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().lower()[:_NONCE_CHARACTERS]


def post(content: str, components: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """Return the body of a new message."""
    body: dict[str, Any] = {"content": content, "allowed_mentions": PEOPLE}
    return body | {"components": list(components)} if components else body


def change(content: str) -> dict[str, Any]:
    """Return the body of a changed message; where it was a card, its buttons go."""
    return {"content": content, "components": [], "allowed_mentions": NOBODY}


def card_text(card: Card) -> str:
    """Return a card's words."""
    return f"**{card.title}**\n{card.text}" if card.text.strip() else f"**{card.title}**"


def buttons(card: Card, card_id: str) -> list[dict[str, Any]] | None:
    """Return a card's options as rows of buttons; None where the card's id is longer than a button can carry."""
    made = [
        {
            "type": _BUTTON,
            "style": _SECONDARY,
            "label": _label(option.label),
            "custom_id": f"{_PREFIX}:{card_id}:{number}",
        }
        for number, option in enumerate(card.options, start=1)
    ]
    if any(len(str(one["custom_id"])) > _MAX_CUSTOM_ID for one in made):
        return None
    return [
        {"type": _ROW, "components": made[begin : begin + _MAX_BUTTONS]} for begin in range(0, len(made), _MAX_BUTTONS)
    ]


def chosen(custom_id: str) -> tuple[str, str] | None:
    """Return a button's card and option, None where it is none of ours."""
    prefix, _, rest = custom_id.partition(":")
    card_id, _, number = rest.rpartition(":")
    if prefix != _PREFIX or not card_id or not (number.isascii() and number.isdecimal()):
        return None
    return card_id, f"#{number}"


def _measure(document: Document) -> int:
    return length(to_markdown(document))


def _has_table(blocks: Sequence[Block]) -> bool:
    for block in blocks:
        match block:
            case Table():
                return True
            case Quote(inner) if _has_table(inner):
                return True
            case Listing(items) if any(_has_table(item.blocks) for item in items):
                return True
            case _:
                continue
    return False


def _label(label: str) -> str:
    label = " ".join(label.split()) or "…"
    while length(label) > _MAX_LABEL:
        label = label[:-1]
    return label
