"""What a formatted text is made of, whatever platform shows it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class Mark(StrEnum):
    """How a run of characters is shown. The order is that in which renderers nest them."""

    BOLD = "bold"
    ITALIC = "italic"
    STRUCK = "struck"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one look.

    Attributes:
        text: what is read; a line feed is a line's end.
        link: where it leads; only schemes that :mod:`~nanoclawd.channels.markup.parsing` lets through.
    """

    text: str
    marks: frozenset[Mark] = frozenset()
    link: str | None = None


type Runs = tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words."""

    runs: Runs


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; ``level`` is 1 to 6."""

    runs: Runs
    level: int


@dataclass(frozen=True, slots=True)
class Code:
    """A block of code, without a line's end at its end; ``info`` is its language or whatever stood at the fence."""

    text: str
    info: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody said."""

    blocks: tuple["Block", ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a list.

    Attributes:
        number: of an ordered list's item; None: it has a bullet.
        is_continued: it began in an earlier message, and has no bullet or number any more.
    """

    blocks: tuple["Block", ...]
    number: int | None = None
    is_continued: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list; ``is_tight``: no empty lines between its items."""

    items: tuple[Item, ...]
    is_tight: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Each row has as many cells as the header."""

    header: tuple[Runs, ...]
    rows: tuple[tuple[Runs, ...], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


type Block = Paragraph | Heading | Code | Quote | Listing | Table | Rule
type Document = tuple[Block, ...]


def runs_text(runs: Runs) -> str:
    """Return what is read of runs."""
    return "".join(run.text for run in runs)


def joined(runs: Iterable[Run]) -> Runs:
    """Return runs without empty ones, and neighbours of one look in one."""
    made: list[Run] = []
    for run in runs:
        if not run.text:
            continue
        if made and (made[-1].marks, made[-1].link) == (run.marks, run.link):
            made[-1] = replace(run, text=made[-1].text + run.text)
        else:
            made.append(run)
    return tuple(made)


def cut_runs(runs: Runs, at: int) -> tuple[Runs, Runs]:
    """Return the first ``at`` characters and the others, each with its look."""
    first: list[Run] = []
    others: list[Run] = []
    for run in runs:
        first.append(replace(run, text=run.text[: max(at, 0)]))
        others.append(replace(run, text=run.text[max(at, 0) :]))
        at -= len(run.text)
    return joined(first), joined(others)


def stripped(runs: Runs) -> Runs:
    """Return runs without white space at their ends."""
    text = runs_text(runs)
    _, kept = cut_runs(runs, len(text) - len(text.lstrip()))
    kept, _ = cut_runs(kept, len(text.strip()))
    return kept
