"""Writes a document as the HTML that Telegram's Bot API takes, and counts it as Telegram does.

Telegram knows tags for characters and two for blocks; headings become bold, lists and tables are laid out as text.
A ``code`` takes no other tag in it and stands in no link, a quote in no quote: Telegram would drop one of them.
"""

from typing import Final

from nanoclawd.channels.markup.document import Document, Mark
from nanoclawd.channels.markup.plain import Span, lay_out
from nanoclawd.channels.markup.tags import Tag, attribute, language, tagged

TAGS: Final = frozenset({"b", "i", "s", "code", "pre", "a", "blockquote"})
_MARK_TAGS: Final = ((Mark.BOLD, "b"), (Mark.ITALIC, "i"), (Mark.STRUCK, "s"))


def to_telegram(document: Document) -> str:
    """Return a document as HTML for ``parse_mode=HTML``."""
    return tagged((span.text, _tags(span)) for span in lay_out(document))


def telegram_length(document: Document) -> int:
    """Return how long Telegram takes a document to be: UTF-16 code units of what is read, without tags."""
    return sum(utf16_length(span.text) for span in lay_out(document))


def utf16_length(text: str) -> int:
    """Return how many UTF-16 code units a text has."""
    return len(text) + sum(character > "\uffff" for character in text)


def _tags(span: Span) -> list[Tag]:
    tags: list[Tag] = [("blockquote", "", span.quote)] if span.quote else []
    if span.code is not None:
        tags.append(("pre", "", span.block))
        if named := language(span.code):
            tags.append(("code", attribute("class", f"language-{named}"), span.block))
        return tags
    if span.link is not None:
        tags.append(("a", attribute("href", span.link), None))
    elif Mark.CODE in span.marks:
        return [*tags, ("code", "", None)]
    tags.extend((name, "", None) for mark, name in _MARK_TAGS if mark in span.marks)
    return tags
