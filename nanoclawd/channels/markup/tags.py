"""Writes runs of characters as HTML whose tags are closed in the order in which they were opened."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

type Tag = tuple[str, str, object]
"""A tag's name, its attributes as they are written, and what tells it from a neighbour of the same look."""

LANGUAGE_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+#.-")
_MAX_LANGUAGE: Final = 32


def tagged(spans: Iterable[tuple[str, Sequence[Tag]]]) -> str:
    """Return texts with their tags around them, escaped; tags that neighbours share are opened once."""
    written: list[str] = []
    opened: list[Tag] = []
    for text, tags in spans:
        if not text:
            continue
        shared = 0
        while shared < min(len(opened), len(tags)) and opened[shared] == tags[shared]:
            shared += 1
        written.extend(_closing(opened, shared))
        for name, attributes, _ in tags[shared:]:
            written.append(f"<{name}{attributes}>")
        opened[shared:] = tags[shared:]
        written.append(escape(text, quote=False))
    written.extend(_closing(opened, 0))
    return "".join(written)


def attribute(name: str, value: str) -> str:
    """Return an attribute as it is written into a tag."""
    return f' {name}="{escape(value)}"'


def language(info: str) -> str:
    """Return the language that an info string names, or nothing where it is none that may stand in a class."""
    first = info.split(" ", 1)[0]
    return first if 0 < len(first) <= _MAX_LANGUAGE and LANGUAGE_CHARACTERS.issuperset(first) else ""


def _closing(opened: Sequence[Tag], down_to: int) -> list[str]:
    return [f"</{name}>" for name, _, _ in reversed(opened[down_to:])]
