"""Every row of the feature checklist, and every weakness to mend, that the appliance owns is named by a test.

A test names rows in its docstring, or in its file's: ``F-12``, ``F-134…F-138``, ``F-1…5``; weaknesses likewise:
``W-3b``, ``W-18…W-22``. Where a row speaks of files or polling that the design replaces, its promise is what is tested
(watchdog for heartbeat, doorbell for poll).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OWNED = frozenset(
    number
    for first, last in (
        *((1, 25), (27, 37), (80, 99), (105, 105), (131, 138), (168, 168), (181, 183), (205, 208)),
        # Who may talk to whom.
        *((26, 26), (82, 82), (121, 124), (147, 167), (169, 172), (177, 180), (193, 201)),
        # What a model is shown, and what becomes of its words.
        *((38, 46), (78, 79), (128, 129), (174, 176), (191, 191)),
        # What an agent is given, how it is restarted, what it may change of itself.
        *((184, 190), (192, 192), (203, 204), (209, 227)),
        # What Claude's client is.
        (202, 202),
        # What its tools do.
        *((50, 60), (70, 75), (77, 77), (125, 127)),
        # What comes from chat platforms, and goes there.
        *((47, 47), (49, 49)),
        # What it says to other agents.
        *((76, 76), (101, 101)),
        # What its programs need to get out, whose accounts they use there, and what somebody is asked about.
        *((106, 120), (130, 130), (139, 146)),
        # What a chat platform makes of it.
        *((47, 49),),
        # What it does at a time.
        *((61, 69), (100, 104)),
        # Telegram.
        *((47, 49),),
    )
    for number in range(first, last + 1)
)
MENDED = frozenset(
    {"14", "16", "25", "35", "41"}
    | {"1", "3", "3b", "4", "55", "67", "68", "75", "77"}
    | {"15", "36", "39"}
    | {"23", "26"}
    | {"39"}
    | {"29", "57", "68", "70", "71", "73"}
    | {"24", "38", "66", "72", "74"}
    | {"45", "46", "52", "69"}
    | {"56"}
    | {"2", "6", "12", "13", "17", "26", "78"}
    | {"5", "7", "7a", "25", "35", "37", "61", "64", "65", "66", "72"}
    | {"11", "21", "39", "53", "55"}
    | {str(number) for first, last in ((18, 22), (27, 34), (58, 60)) for number in range(first, last + 1)}
)

_NAME = re.compile(r"(?<![A-Za-z])(?P<kind>[FW])-(\d+)([a-z]?)(?:(?:…|\.\.\.)(?:(?P=kind)-)?(\d+))?")


def names_in(text: str, kind: str) -> set[str]:
    """Return the numbers (with a letter, where one has it) of the rows (F) or weaknesses (W) that a text names."""
    found: set[str] = set()
    for match in _NAME.finditer(text):
        if match["kind"] != kind:
            continue
        found.add(match[2] + match[3])
        if match[4]:
            found |= {str(number) for number in range(int(match[2]) + 1, int(match[4]) + 1)}
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


def named(kind: str) -> set[str]:
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if path != Path(__file__):
            for text in docstrings(path.read_text(encoding="utf-8")):
                found |= names_in(text, kind)
    return found


def test_every_row_has_a_test():
    missing = sorted(OWNED - {int(number) for number in named("F") if number.isdecimal()})
    assert not missing, "no test names " + ", ".join(f"F-{number}" for number in missing)


def test_every_mended_weakness_has_a_test():
    missing = sorted(MENDED - named("W"), key=lambda number: (int(number.rstrip("ab")), number))
    assert not missing, "no test names " + ", ".join(f"W-{number}" for number in missing)


@pytest.mark.parametrize(
    ("text", "rows", "weaknesses"),
    [
        ("F-7", "7", ""),
        ("F-134…F-138, F-1", "134 135 136 137 138 1", ""),
        ("F-1…5: and", "1 2 3 4 5", ""),
        ("F-12: create", "12", ""),
        ("UTF-8, RFC-822, W-21", "", "21"),
        ("W-3b, F-3: W-18…W-20", "3", "3b 18 19 20"),
    ],
)
def test_how_rows_are_named(text: str, rows: str, weaknesses: str):
    assert names_in(text, "F") == set(rows.split())
    assert names_in(text, "W") == set(weaknesses.split())
