"""Reads Markdown (CommonMark with tables and strikethrough) into a document. No input fails, no words are dropped.

Two things of CommonMark are left out, since they hide words from people who read a chat: HTML is shown as it was
written, and so are definitions of links (``[1]: https://…``), as a message may not depend on another one's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.rules_block.table import escapedSplit
from markdown_it.token import Token

from nanoclaw_runner.contract.text import storable
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
    joined,
    stripped,
)

MAX_NESTING: Final = 30
MAX_PARSED_CHARACTERS: Final = 200_000
"""A longer text is shown as it was written: reading it takes time that others wait for."""

_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "tg", "matrix", "xmpp", "ftp"})
_MARKS: Final = {"strong": Mark.BOLD, "em": Mark.ITALIC, "s": Mark.STRUCK}
_READER: Final = (
    MarkdownIt("commonmark", {"html": False, "maxNesting": MAX_NESTING})
    .enable(["table", "strikethrough"])
    .disable(["reference", "html_block", "html_inline"])
)


def parse(markdown: str) -> Document:
    """Return what an agent wrote as a document."""
    text = storable(markdown)
    if len(text) > MAX_PARSED_CHARACTERS:
        return as_written(text)
    tokens = _READER.parse(text)
    if any(token.nesting == 1 and token.level + 1 >= MAX_NESTING for token in tokens):
        return as_written(text)  # what is nested deeper was left out
    return _Reader(tokens, re.split(r"\r\n|[\r\n]", text)).blocks()


def as_written(text: str) -> Document:
    """Return a text as a document without any formatting."""
    runs = stripped((Run(storable(text).replace("\r\n", "\n")),))
    return (Paragraph(runs),) if runs else ()


@dataclass
class _Reader:
    """Goes through the tokens once."""

    tokens: Sequence[Token]
    lines: Sequence[str]
    at: int = 0
    tight: list[bool] = field(default_factory=list)

    def blocks(self, end: str | None = None) -> tuple[Block, ...]:
        """Return the blocks up to a closing token, which is passed."""
        found: list[Block] = []
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token.type == end:
                break
            found.extend(self._block(token))
        return tuple(found)

    def _block(self, token: Token) -> Iterator[Block]:
        match token.type:
            case "paragraph_open" | "heading_open":
                yield from self._words(token)
            case "fence" | "code_block" if not token.content.strip():
                yield from as_written(token.markup + token.info)
            case "fence" | "code_block":
                yield Code(token.content.removesuffix("\n"), " ".join(token.info.split()))
            case "blockquote_open":
                if blocks := self.blocks("blockquote_close"):
                    yield Quote(blocks)
            case "bullet_list_open" | "ordered_list_open":
                yield self._listing(token)
            case "table_open":
                yield self._table()
            case "hr":
                yield Rule()
            case _:
                pass

    def _words(self, opening: Token) -> Iterator[Block]:
        """Return the inline token's paragraph or heading, and pass the closing token behind it."""
        runs = stripped(_runs(self.tokens[self.at].children or ()))
        self.at += 2
        if opening.hidden and self.tight:
            self.tight[-1] = True
        if runs:
            is_heading = opening.type == "heading_open"
            yield Heading(runs, int(opening.tag[1:])) if is_heading else Paragraph(runs)

    def _listing(self, token: Token) -> Listing:
        is_ordered = token.type == "ordered_list_open"
        end = token.type.replace("_open", "_close")
        number = int(token.attrs.get("start", 1)) if is_ordered else None
        items: list[Item] = []
        self.tight.append(False)
        while self.tokens[self.at].type != end:
            self.at += 1
            items.append(Item(self.blocks("list_item_close"), number))
            number = None if number is None else number + 1
        self.at += 1
        has_hidden = self.tight.pop()
        return Listing(tuple(items), has_hidden or all(len(item.blocks) <= 1 for item in items))

    def _table(self) -> Table:
        rows: list[tuple[Runs, ...]] = []
        row: list[Runs] = []
        while self.tokens[self.at].type != "table_close":
            token = self.tokens[self.at]
            self.at += 1
            match token.type:
                case "tr_open":
                    row = []
                    line = token.map[0] if token.map else None
                case "tr_close":
                    rows.append(self._whole_row(row, line))
                case "inline":
                    row.append(stripped(joined(_on_one_line(_runs(token.children or ())))))
                case _:
                    pass
        self.at += 1
        return Table(rows[0], tuple(rows[1:]))

    def _whole_row(self, row: list[Runs], line: int | None) -> tuple[Runs, ...]:
        """Return a row with all its cells: the ones beyond the header's number, else dropped, go into its last one."""
        if line is None or line >= len(self.lines) or not row:
            return tuple(row)
        cells = escapedSplit(self.lines[line].strip())
        cells = cells[1 if cells and not cells[0].strip() else 0 :]
        extra = [cell.strip() for cell in cells[len(row) :] if cell.strip()]
        if not extra:
            return tuple(row)
        token = _READER.parseInline(" | ".join(extra))[0]
        return (*row[:-1], joined((*row[-1], Run(" | "), *_on_one_line(_runs(token.children or ())))))


def _on_one_line(runs: Runs) -> Iterator[Run]:
    for run in runs:
        yield Run(run.text.replace("\n", " "), run.marks, run.link)


def _runs(tokens: Sequence[Token]) -> Runs:
    found: list[Run] = []
    marks: list[Mark] = []
    link: str | None = None
    unopenable = ""
    for token in tokens:
        match token.type:
            case "text" | "text_special":
                found.append(Run(token.content, frozenset(marks), link))
            case "code_inline":
                found.append(Run(token.content, frozenset({*marks, Mark.CODE}), link))
            case "softbreak" | "hardbreak":
                found.append(Run("\n", frozenset(marks), link))
            case "strong_open" | "em_open" | "s_open":
                marks.append(_MARKS[token.type.removesuffix("_open")])
            case "strong_close" | "em_close" | "s_close":
                marks.remove(_MARKS[token.type.removesuffix("_close")])
            case "link_open":
                link, unopenable = _target(str(token.attrs.get("href", "")))
            case "link_close":
                found.append(Run(unopenable, frozenset(marks)))
                link, unopenable = None, ""
            case "image":
                source, elsewhere = _target(str(token.attrs.get("src", "")))
                found.append(Run(token.content or source or "", frozenset(marks), link or source))
                found.append(Run(elsewhere, frozenset(marks)))
            case _:
                found.append(Run(token.content, frozenset(marks), link))
    return joined(found)


def _target(href: str) -> tuple[str | None, str]:
    """Return a link's target, and what is to be said behind its text where a chat could not open it."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return None, f" ({href})"
    if parts.scheme in _SCHEMES and (parts.netloc or parts.path or parts.query):
        return href, ""
    return None, f" ({href})" if href else ""
