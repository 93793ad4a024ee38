"""What an agent's row means: words, a question, a change of a message, or a request to the appliance.

A row's content is the container's, therefore hostile: read strictly, and refused with a reason that the agent can act
on. Of kind ``chat`` there are ``{"text", "files": [name, ...]}``, ``{"operation": "edit", "messageId", "text"}`` and
``{"operation": "reaction", "messageId", "emoji"}``; ``card`` rows are :mod:`nanoclaw_runner.contract.cards`'; a
``system`` row is read by who does what it asks for, or takes its report.
"""

import json
import unicodedata
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract import cards
from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.files import MAX_FILES, check_name
from nanoclaw_runner.contract.rows import MAX_FIELD_BYTES, OutboundRow
from nanoclaw_runner.contract.text import storable
from nanoclawd.sessions.outbound import MAX_SEQ

MAX_EMOJI_CHARACTERS: Final = 64
REPORTS: Final = frozenset({"usage", "trouble", "over"})
"""Actions of ``system`` rows that only tell something."""


@dataclass(frozen=True, slots=True)
class Words:
    """Text, and the names of files below ``out/files``."""

    text: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A card with options."""

    card: Card


@dataclass(frozen=True, slots=True)
class Display:
    """A card that asks nothing."""

    card: Card


@dataclass(frozen=True, slots=True)
class Change:
    """Another text for, or a reaction to, an earlier message: its number as the agent saw it, or its row's id."""

    target: int | str
    text: str | None = None
    emoji: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Something that the appliance is to do."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something that the appliance is told: what a turn took, what troubles the agent or does no more.

    Nothing is to be done for it.
    """

    content: dict[str, object]


type Meaning = Words | Question | Display | Change | Request | Report


def read(row: OutboundRow) -> Meaning:
    """Read what a row means.

    Raises:
        ValueError: it means nothing; the message says why, for the agent.
    """
    if row.kind == "card":
        card = cards.from_content(row.content)
        return Question(card) if card.options else Display(card)
    try:
        found = json.loads(row.content)
    except (ValueError, RecursionError):
        if row.kind == "system":
            return Request()
        raise ValueError("its content is no JSON") from None
    if row.kind == "system":
        action = found.get("action") if isinstance(found, dict) else None
        return Report(found) if isinstance(action, str) and action in REPORTS else Request()
    if not isinstance(found, dict):
        raise ValueError("its content is no JSON object")  # noqa: TRY004  # a malformed row, not a caller's mistake
    match found.get("operation"):
        case None:
            return _words(found)
        case "edit":
            return Change(_target(found), text=_said(found, "text"))
        case "reaction":
            emoji = _said(found, "emoji")
            if len(emoji) > MAX_EMOJI_CHARACTERS or any(unicodedata.category(one) == "Cc" for one in emoji):
                raise ValueError(f"an emoji has at most {MAX_EMOJI_CHARACTERS} characters, none of them a control")
            return Change(_target(found), emoji=emoji)
        case _:
            raise ValueError("its operation is neither edit nor reaction")


def _words(found: dict[str, object]) -> Words:
    files = found.get("files") or []
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise ValueError("files is a list of names")
    names = tuple(dict.fromkeys(files))
    if len(names) > MAX_FILES:
        raise ValueError(f"a message has at most {MAX_FILES} files")
    for name in names:
        check_name(name)
    text = found.get("text", "" if names else None)
    if not isinstance(text, str) or not (names or text.strip()):
        raise ValueError("it says nothing")
    return Words(storable(text), names)


def _target(found: dict[str, object]) -> int | str:
    target = found.get("messageId")
    if isinstance(target, str) and target.isascii() and target.isdecimal() and len(target) <= len(str(MAX_SEQ)):
        target = int(target)
    if isinstance(target, bool) or not isinstance(target, int | str):
        raise ValueError("messageId is a message's number or id")  # noqa: TRY004  # as above
    if isinstance(target, int) and not 0 < target <= MAX_SEQ:
        raise ValueError("messageId is no message's number")
    if isinstance(target, str) and not 0 < len(target.encode(errors="replace")) <= MAX_FIELD_BYTES:
        raise ValueError("messageId is no message's id")
    return storable(target) if isinstance(target, str) else target


def _said(found: dict[str, object], key: str) -> str:
    value = found.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"it has no {key}")
    return storable(value)
