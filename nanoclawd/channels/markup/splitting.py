"""Cuts a document into documents that each fit one message: between blocks, else between lines, else between words.

What is whole stays whole where it can: a block of code, a table, a list or a paragraph that fits a message of its own
gets one. What can't is continued in its own form: code is fenced again with the same info string, a table repeats its
header, an item goes on without a second bullet, bold stays bold.
"""

import re
from collections.abc import Callable
from typing import Final

from nanoclawd.channels.markup.document import (
    Block,
    Code,
    Document,
    Heading,
    Item,
    Listing,
    Paragraph,
    Quote,
    Run,
    Runs,
    Table,
    cut_runs,
    runs_text,
    stripped,
)
from nanoclawd.channels.markup.plain import to_plain

MIN_LIMIT: Final = 16

type Measure = Callable[[Document], int]
type _Fits = Callable[[Document], bool]
type _Halves = tuple[Document, Document]

# What belongs to the character before it: combining marks, variation selectors, joiners, skin tones, half a flag.
_CONTINUES: Final = re.compile("[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U0001f1e6-\U0001f1ff]")
_JOINER: Final = "\u200d"
_LONGEST_CLUSTER: Final = 20
_WORST_LINE: Final = 3
"""A line's end is taken for a cut unless it leaves more than two thirds of the room unused."""


def split(document: Document, limit: int, measure: Measure) -> list[Document]:
    """Return a document in pieces that each measure ``limit`` at most; none where nothing is to be read.

    Args:
        document: what is to be cut.
        limit: of one message; at least 16.
        measure: how long a document is on the platform, in its units. A paragraph of n characters measures n to 2 n; a
            part of a document measures no more than the whole.
    """
    if limit < MIN_LIMIT:
        raise ValueError(f"a message has room for {MIN_LIMIT} units at least")
    return list(_Splitter(limit, measure).pieces(document))


class _Splitter:
    def __init__(self, limit: int, measure: Measure) -> None:
        self._limit = limit
        self._measure = measure

    def pieces(self, document: Document) -> list[Document]:
        """Return the pieces."""
        rest = tuple(block for block in document if _is_shown(block))
        found: list[Document] = []
        while rest:
            piece, rest = self._sequence(rest, self._fits)
            if not piece:  # what is around the words takes all the room
                rest = (*_as_words(rest[0]), *rest[1:])
                piece, rest = self._sequence(rest, self._fits)
            found.append(piece)
            rest = tuple(block for block in rest if _is_shown(block))
        return found

    def _fits(self, document: Document) -> bool:
        return self._measure(document) <= self._limit

    def _sequence(self, blocks: Document, fits: _Fits) -> _Halves:
        """Return as many blocks as fit, the last of them perhaps cut, and the rest."""
        taken = _most(len(blocks), lambda count: fits(blocks[:count]))
        head, rest = blocks[:taken], blocks[taken:]
        if not rest:
            return head, ()
        if not head or not self._fits((rest[0],)):
            first, second = self._cut(rest[0], lambda part: fits((*head, *part)))
            if first:
                return (*head, *first), (*second, *rest[1:])
        if len(head) > 1 and isinstance(head[-1], Heading):
            return head[:-1], (head[-1], *rest)
        return head, rest

    def _cut(self, block: Block, fits: _Fits) -> _Halves:
        """Return a block in two; the first is empty where nothing of it fits."""
        match block:
            case Paragraph(runs):
                first, second = _cut_words(runs, self._limit, lambda part: fits((Paragraph(part),)))
                return _words(Paragraph(first)), _words(Paragraph(second))
            case Heading(runs, level):
                first, second = _cut_words(runs, self._limit, lambda part: fits((Heading(part, level),)))
                return _words(Heading(first, level)), _words(Heading(second, level))
            case Code():
                return self._cut_code(block, fits)
            case Quote(blocks):
                head, rest = self._sequence(blocks, lambda part: fits((Quote(part),)))
                return ((Quote(head),) if head else ()), ((Quote(rest),) if rest else ())
            case Listing():
                return self._cut_listing(block, fits)
            case Table():
                return self._cut_table(block, fits)
            case _:
                return (), (block,)

    def _cut_code(self, code: Code, fits: _Fits) -> _Halves:
        lines = code.text.split("\n")
        taken = _most(len(lines), lambda count: fits((Code("\n".join(lines[:count]), code.info),)))
        if taken:
            taken = _at_empty_line(lines, taken)
            return self._code_halves("\n".join(lines[:taken]), "\n".join(lines[taken:]), code.info)
        characters = _most(min(len(lines[0]), self._limit), lambda count: fits((Code(lines[0][:count], code.info),)))
        if not characters:
            return (), (code,)
        characters = _whole_character(code.text, characters)
        return self._code_halves(code.text[:characters], code.text[characters:], code.info)

    def _code_halves(self, first: str, second: str, info: str) -> _Halves:
        return (Code(first, info),), ((Code(second, info),) if second.strip() else ())

    def _cut_listing(self, listing: Listing, fits: _Fits) -> _Halves:
        items, is_tight = listing.items, listing.is_tight
        taken = _most(len(items), lambda count: fits((Listing(items[:count], is_tight),)))
        head, rest = items[:taken], items[taken:]
        if rest and (not head or not self._fits((Listing(rest[:1], is_tight),))):
            number, is_continued = rest[0].number, rest[0].is_continued
            first, second = self._sequence(
                rest[0].blocks,
                lambda part: fits((Listing((*head, Item(part, number, is_continued)), is_tight),)),
            )
            if first:
                head = (*head, Item(first, number, is_continued))
                rest = (*([Item(second, number, is_continued=True)] if second else []), *rest[1:])
        return (
            (Listing(head, is_tight),) if head else (),
            (Listing(rest, is_tight),) if rest else (),
        )

    def _cut_table(self, table: Table, fits: _Fits) -> _Halves:
        header, rows = table.header, table.rows
        taken = _most(len(rows), lambda count: fits((Table(header, rows[:count]),)))
        if taken:
            return (Table(header, rows[:taken]),), ((Table(header, rows[taken:]),) if rows[taken:] else ())
        if rows and self._fits((Table(header, rows[:1]),)):
            return (), (table,)  # a message of its own has room for some of it
        head, rest = self._sequence(_row_by_row(table), fits)
        return head, rest


def _words(block: Paragraph | Heading) -> Document:
    return (block,) if block.runs else ()


def _is_shown(block: Block) -> bool:
    return not isinstance(block, Paragraph | Heading) or bool(block.runs)


def _as_words(block: Block) -> Document:
    runs = stripped((Run(to_plain((block,))),))
    return (Paragraph(runs),) if runs else ()


def _row_by_row(table: Table) -> Document:
    """Return a table as paragraphs, for one that no message has room for; a name stands before each cell."""
    paragraphs: list[Block] = [] if table.rows else [Paragraph(stripped(cell)) for cell in table.header]
    for row in table.rows:
        for name, cell in zip(table.header, row, strict=False):
            paragraphs.append(Paragraph(stripped((*name, Run(": "), *cell)) if name else stripped(cell)))
    return tuple(block for block in paragraphs if _is_shown(block))


def _most(count: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to ``count`` that fits; 0 where none does. What is below a fitting one fits."""
    if not count:
        return 0
    step, good = 1, 0
    while good < count and fits(min(good + step, count)):
        good = min(good + step, count)
        step *= 2
    bad = min(good + step, count + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def _cut_words(runs: Runs, limit: int, fits: Callable[[Runs], bool]) -> tuple[Runs, Runs]:
    text = runs_text(runs)
    # No measure is below the number of characters, so nothing beyond the limit needs a look.
    taken = _most(min(len(text), limit), lambda count: fits(stripped(cut_runs(runs, count)[0])))
    if not taken:
        return (), runs
    if taken == len(text):
        return runs, ()
    first, second = cut_runs(runs, _break(text, taken))
    return stripped(first), stripped(second)


def _break(text: str, most: int) -> int:
    """Return where to cut at ``most`` characters or before; something to be read is before it, if there is any."""
    begin = len(text) - len(text.lstrip())
    line = text.rfind("\n", begin, most + 1)
    if line > begin + (most - begin) // _WORST_LINE:
        return line
    space = max(text.rfind(mark, begin + 1, most + 1) for mark in " \t\n")
    if space > begin:
        return space
    return _whole_character(text, most)


def _whole_character(text: str, most: int) -> int:
    """Return a place at or before ``most`` that tears no character apart as people see it."""
    at = most
    while at > max(0, most - _LONGEST_CLUSTER) and at < len(text):
        if not _CONTINUES.match(text[at]) and text[at - 1] != _JOINER:
            return at
        at -= 1
    return most


def _at_empty_line(lines: list[str], taken: int) -> int:
    """Return how many lines of code to take: up to an empty one in the second half, where there is one."""
    if taken >= len(lines):
        return taken
    for number in range(taken, taken // 2, -1):
        if number < len(lines) and not lines[number].strip():
            return number
    return taken
