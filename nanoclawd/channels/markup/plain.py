"""Lays a document out as text without markup: what a platform shows that has none, and what Telegram counts.

:func:`lay_out` gives the text in spans that keep their look, for a renderer that only has to put tags around them.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from nanoclawd.channels.markup.document import (
    Block,
    Code,
    Document,
    Heading,
    Item,
    Listing,
    Mark,
    Paragraph,
    Quote,
    Rule,
    Run,
    Runs,
    Table,
    runs_text,
)

RULE: Final = "———"
_BULLET: Final = "• "
_INDENT: Final = "  "
_WIDE: Final = frozenset("WF")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters with their look.

    Attributes:
        code: of a block of code: its info string, maybe empty; None: it is none. A table is one as well.
        quote: the number of the outermost quote that it is in; 0: none.
        block: the number of its block of code; 0: none.
    """

    text: str
    marks: frozenset[Mark] = frozenset()
    link: str | None = None
    code: str | None = None
    quote: int = 0
    block: int = 0


def to_plain(document: Document) -> str:
    """Return what is read of a document, with empty lines between its blocks."""
    return "".join(span.text for span in lay_out(document))


def lay_out(document: Document) -> list[Span]:
    """Return a document's text in spans. White space between blocks belongs to no block."""
    return list(_Layout().blocks(document, "", "\n\n"))


def table_text(table: Table) -> str:
    """Return a table as lines of characters, in columns."""
    rows = [[runs_text(cell) for cell in row] for row in (table.header, *table.rows)]
    widths = [max(_width(row[column]) for row in rows) for column in range(len(table.header))]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True))
    return " | ".join(padded).rstrip()


def _width(text: str) -> int:
    """Return how many columns a text takes where all characters have the same width."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in _WIDE else 1
        for character in text
    )


class _Layout:
    def __init__(self) -> None:
        self._block = 0
        self._quote = 0
        self._quotes = 0

    def blocks(self, blocks: Sequence[Block], indent: str, gap: str) -> Iterator[Span]:
        """Lay blocks out one below the other; ``indent`` is before each line but the first."""
        for number, block in enumerate(blocks):
            if number:
                yield self._space(gap + indent)
            yield from self._one(block, indent)

    def _one(self, block: Block, indent: str) -> Iterator[Span]:
        match block:
            case Paragraph(runs):
                yield from self._runs(runs, indent)
            case Heading(runs, _):
                yield from self._runs(tuple(Run(one.text, one.marks | {Mark.BOLD}, one.link) for one in runs), indent)
            case Code(text, info):
                yield self._code(text, info)
            case Table():
                yield self._code(table_text(block), "")
            case Quote(blocks):
                self._quotes += 1
                outer, self._quote = self._quote, self._quote or self._quotes
                yield from self.blocks(blocks, indent, "\n\n")
                self._quote = outer
            case Listing(items, is_tight):
                yield from self._items(items, indent, "\n" if is_tight else "\n\n")
            case Rule():
                yield Span(RULE, quote=self._quote)

    def _items(self, items: Sequence[Item], indent: str, gap: str) -> Iterator[Span]:
        for number, item in enumerate(items):
            if number:
                yield self._space(gap + indent)
            sign = _BULLET if item.number is None else f"{item.number}. "
            yield self._space(_INDENT if item.is_continued else sign)
            yield from self.blocks(item.blocks, indent + _INDENT, gap)

    def _runs(self, runs: Runs, indent: str) -> Iterator[Span]:
        for run in runs:
            yield Span(run.text.replace("\n", "\n" + indent), run.marks, run.link, quote=self._quote)

    def _code(self, text: str, info: str) -> Span:
        self._block += 1
        return Span(text, code=info, quote=self._quote, block=self._block)

    def _space(self, text: str) -> Span:
        return Span(text, quote=self._quote)
