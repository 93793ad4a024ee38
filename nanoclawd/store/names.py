"""Names and ids, each from a closed alphabet, because they become unit names, paths and container names."""

import hashlib
import re
import secrets
import string
import unicodedata

from nanoclawd.errors import InvalidName

GROUP_NAME_RULE = (
    "a group's name has 1 to 31 characters of a-z, 0-9 and '-', begins and ends with a letter or digit, "
    "and is not model, gateway, image or build"
)
GROUP_NAME_LENGTH = 31
_GROUP_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?")
RESERVED = frozenset({"model", "gateway", "image", "build"})
_ID_ALPHABET = string.digits + string.ascii_lowercase
SESSION_ID_LENGTH = 12
_SESSION_ID = re.compile(r"[0-9a-z]{12}")
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")
MAX_SHOWN_CHARACTERS = 200


def check_group_name(name: str) -> str:
    """Return the name when it keeps the rule.

    Raises:
        InvalidName: it doesn't; the error says the rule.
    """
    if _GROUP_NAME.fullmatch(name) is None or name in RESERVED:
        raise InvalidName(f"{name[:40]!r} can't be a group's name: {GROUP_NAME_RULE}")
    return name


def is_session_id(text: str) -> bool:
    """Tell whether a text has the form of a session's id."""
    return _SESSION_ID.fullmatch(text) is not None


def new_session_id() -> str:
    """Return a random session id (12 characters, 62 bits)."""
    return _random(SESSION_ID_LENGTH)


def new_task_id() -> str:
    """Return a random id for a task (12 characters)."""
    return _random(12)


def new_card_id() -> str:
    """Return a random id for a card that people answer: its first four characters are the tag that they write."""
    return _random(12)


def card_id_of(session_id: str, row_id: str) -> str:
    """Return the id of the card that an agent's row shows: of the same form, and always the same for the same row."""
    number = int.from_bytes(hashlib.sha256(f"{session_id} {row_id}".encode(errors="replace")).digest())
    return "".join(_ID_ALPHABET[number // len(_ID_ALPHABET) ** place % len(_ID_ALPHABET)] for place in range(12))


def new_id(prefix: str) -> str:
    """Return a random id like ``ag-3k9x0m2p7q1z``."""
    return f"{prefix}-{_random(12)}"


def normalised(name: str, limit: int = 64) -> str:
    """Return a name in the alphabet of folders and destinations: what is not a-z or 0-9 becomes one dash.

    >>> normalised("Father's  Office!")
    'father-s-office'
    """
    return _NOT_PLAIN.sub("-", name.lower()).strip("-")[:limit].rstrip("-") or "unnamed"


def shown_name(text: str | None) -> str | None:
    """Return a name that others chose as it may be stored: one line, bounded, UTF-8; None where nothing remains.

    What is left of trickery (direction marks and the like) is the business of whoever prints it.
    """
    if text is None:
        return None
    cut = text[: 4 * MAX_SHOWN_CHARACTERS]
    plain = "".join(" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in cut)
    return " ".join(plain.split())[:MAX_SHOWN_CHARACTERS].rstrip() or None


def _random(length: int) -> str:
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(length))
