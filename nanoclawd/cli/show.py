"""Output: JSON for programs, tables for people."""

import json
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from nanoclawd.cli.clean import clean, clean_line

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_STEP = 1024
_CELL_CHARACTERS = 80


def as_json(value: object) -> None:
    """Print JSON. Everything beyond ASCII and each control character is escaped: no text in it acts on a terminal."""
    print(json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def say(text: str) -> None:
    """Print lines for a person."""
    print(clean(text), flush=True)


def complain(text: str) -> None:
    """Print lines on standard error."""
    print(clean(text), file=sys.stderr, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Print a table, or one line where there are no rows."""
    if not rows:
        print(empty)
        return
    cells = [[clean_line("" if cell is None else str(cell), _CELL_CHARACTERS) for cell in row] for row in rows]
    width = _terminal_width()
    text = _drawn([name.upper() for name in head], cells)
    if width is not None and max(map(len, text.splitlines())) > width:
        text = "\n\n".join(_upright(head, row) for row in cells)
    print(text)


def _drawn(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from tabulate import tabulate  # 30 ms that --help need not pay

    return str(tabulate(cells, headers=head, tablefmt="plain", disable_numparse=True))


def _upright(head: Sequence[str], row: Sequence[str]) -> str:
    """Return a row with a line for each of its cells, for a terminal that is too narrow for the table."""
    width = max(len(name) for name in head) + 1
    return "\n".join(f"{name.lower()}:".ljust(width) + f" {cell}" for name, cell in zip(head, row, strict=True) if cell)


def _terminal_width() -> int | None:
    """Return how wide the terminal is; None where the output goes elsewhere, which bounds no line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def counted(number: int, noun: str) -> str:
    """Return how many there are of something.

    >>> counted(1, "group"), counted(0, "session")
    ('1 group', '0 sessions')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(count: int | None) -> str:
    """Return bytes in a unit for people."""
    if count is None:
        return "unknown"
    value = float(count)
    for unit in ("B", "KiB", "MiB"):
        if value < _STEP:
            return f"{value:.0f} {unit}"
        value /= _STEP
    return f"{value:.1f} GiB"


def duration(seconds: float) -> str:
    """Return a duration in its two greatest units."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def ago(moment: str | None) -> str:
    """Return how long ago a moment was."""
    if not moment:
        return "never"
    try:
        passed = datetime.now(UTC) - datetime.fromisoformat(moment)
    except (ValueError, TypeError):
        return moment
    return f"{duration(max(passed.total_seconds(), 0))} ago"
