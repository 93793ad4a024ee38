"""Writes a document as Markdown again, in the dialect of chats: for a platform that reads Markdown itself.

Tables become blocks of code, since chats know none; a line's end is a line's end.
"""

import re
from collections.abc import Sequence
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
    Table,
)
from nanoclawd.channels.markup.parsing import parse
from nanoclawd.channels.markup.plain import table_text
from nanoclawd.channels.markup.splitting import split

_MARK_SIGNS: Final = ((Mark.BOLD, "**"), (Mark.ITALIC, "*"), (Mark.STRUCK, "~~"))
_ADDRESS: Final = re.compile(r"https?://[^\s<>]+")
_SPECIAL: Final = re.compile(r"\\(?=[!-/:-@\[-`{-~])|[*`]|~~|\|\||(?<!\w)_|_(?!\w)")
_AT_LINE_START: Final = re.compile(r"^(\s*)(#{1,6}(?=\s)|>|[-+](?=\s)|-#|\d{1,9}(?=[.)]\s))", re.MULTILINE)
_TICKS: Final = re.compile(r"`+")
_MIN_FENCE: Final = 3


def to_markdown(document: Document) -> str:
    """Return a document as Markdown."""
    return "\n\n".join(map(_block, document))


def in_pieces(markdown: str, limit: int) -> list[str]:
    """Return a text as it is where it has ``limit`` characters at most, else as Markdown in such pieces."""
    if len(markdown) <= limit:
        return [markdown]
    return [to_markdown(piece) for piece in split(parse(markdown), limit, markdown_length)] or [markdown[:limit]]


def markdown_length(document: Document) -> int:
    """Return how many characters a document has as Markdown."""
    return len(to_markdown(document))


def _block(block: Block) -> str:
    match block:
        case Paragraph(runs):
            return _inline(runs)
        case Heading(runs, level):
            words = _inline(runs).replace("\n", " ")
            return f"{'#' * min(level, 3)} {words}"
        case Code(text, info):
            return _fenced(text, info)
        case Quote(blocks):
            return "\n".join(f"> {line}" for line in to_markdown(blocks).split("\n"))
        case Listing(items, is_tight):
            return ("\n" if is_tight else "\n\n").join(_item(item, is_tight=is_tight) for item in items)
        case Table():
            return _fenced(table_text(block), "")
        case Rule():
            return "---"


def _item(item: Item, *, is_tight: bool) -> str:
    sign = "" if item.is_continued else "- " if item.number is None else f"{item.number}. "
    written = ("\n" if is_tight else "\n\n").join(map(_block, item.blocks))
    return sign + written.replace("\n", "\n" + " " * len(sign))


def _fenced(text: str, info: str) -> str:
    fence = "`" * max([_MIN_FENCE, *(len(found) + 1 for found in _TICKS.findall(text) if len(found) >= _MIN_FENCE)])
    return f"{fence}{info.replace('`', '')}\n{text}\n{fence}"


def _inline(runs: Sequence[Run]) -> str:
    written = ""
    for run in runs:
        written += _run(run)
    return written


def _run(run: Run) -> str:
    text = run.text
    core = text.strip()
    if not core or (run.link is None and not run.marks):
        return _escaped(text)
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    shown = _code(core) if Mark.CODE in run.marks else _escaped(core)
    for mark, sign in reversed(_MARK_SIGNS):
        if mark in run.marks:
            shown = f"{sign}{shown}{sign}"
    if run.link is not None and run.link != core:
        shown = f"[{shown}](<{run.link.replace('<', '%3C').replace('>', '%3E')}>)"
    elif run.link is not None:
        shown = run.link
    return before + shown + after


def _code(text: str) -> str:
    fence = "`" * (max((len(found) for found in _TICKS.findall(text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def _escaped(text: str) -> str:
    """Return words so that no reader of Markdown takes them for markup; addresses of pages stay as they are."""
    parts: list[str] = []
    at = 0
    for found in _ADDRESS.finditer(text):
        parts.extend((_escape(text[at : found.start()]), found.group()))
        at = found.end()
    return _AT_LINE_START.sub(r"\1\\\2", "".join((*parts, _escape(text[at:]))))


def _escape(text: str) -> str:
    return _SPECIAL.sub(lambda found: "".join("\\" + character for character in found.group()), text)
