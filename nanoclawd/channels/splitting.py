"""Splits a text that is longer than a platform's message."""

from collections.abc import Iterator

_BREAKS = ("\n\n", "\n", " ")


def split(text: str, limit: int) -> list[str]:
    """Return the text in pieces of at most ``limit`` characters, cut where it hurts least.

    At the last empty line before the limit, else the last line's end, else the last space, else at the limit; white
    space at a cut is dropped. A text within the limit is returned as it is.
    """
    if len(text) <= limit:
        return [text]
    return list(_pieces(text, limit)) or [text[:limit]]


def _pieces(text: str, limit: int) -> Iterator[str]:
    rest = text.strip()
    while len(rest) > limit:
        cut = _cut(rest, limit)
        yield rest[:cut].rstrip()
        rest = rest[cut:].lstrip()
    if rest:
        yield rest


def _cut(text: str, limit: int) -> int:
    """Return where to cut; at least one character that is no space is before it, as the text begins with one."""
    for mark in _BREAKS:
        # A mark may begin right at the limit: it is dropped.
        found = text.rfind(mark, 1, limit + len(mark))
        if found > 0:
            return found
    return limit
