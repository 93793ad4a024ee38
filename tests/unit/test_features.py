"""Every row of the feature checklist that this part of the appliance owns is named by a test.

A test names rows in its docstring, or in its file's: ``F-12``, ``F-134…F-138``, ``F-1…5``. Where a row speaks of files
or polling that the design replaces, its promise is what is tested (watchdog for heartbeat, doorbell for poll).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OWNED = frozenset(
    number
    for first, last in ((1, 25), (27, 37), (80, 99), (105, 105), (131, 138), (168, 168), (181, 183), (205, 208))
    for number in range(first, last + 1)
)
# Routing's own promises, kept by its tests although a later issue owns the rows.
ALSO = frozenset({166, 167})

_ROW = re.compile(r"(?<![A-Za-z])F-(\d+)(?:(?:…|\.\.\.)(?:F-)?(\d+))?")


def rows_in(text: str) -> set[int]:
    found: set[int] = set()
    for match in _ROW.finditer(text):
        first, last = int(match[1]), int(match[2] or match[1])
        found |= set(range(first, last + 1))
    return found


def docstrings(source: str) -> Iterator[str]:
    """Return the docstrings of a test file: its own, and those of its tests and classes."""
    tree = ast.parse(source)
    has_tests = False
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            has_tests = True
            yield ast.get_docstring(node) or ""
    if has_tests:
        yield ast.get_docstring(tree) or ""


def named() -> set[int]:
    found: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        if path != Path(__file__):
            for text in docstrings(path.read_text(encoding="utf-8")):
                found |= rows_in(text)
    return found


def test_every_row_has_a_test():
    missing = sorted((OWNED | ALSO) - named())
    assert not missing, "no test names " + ", ".join(f"F-{number}" for number in missing)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("F-7", {7}),
        ("F-134…F-138, F-1", {134, 135, 136, 137, 138, 1}),
        ("F-1…5: and", {1, 2, 3, 4, 5}),
        ("F-12: create", {12}),
        ("UTF-8, RFC-822, W-21", set()),
    ],
)
def test_how_rows_are_named(text: str, rows: set[int]):
    assert rows_in(text) == rows
