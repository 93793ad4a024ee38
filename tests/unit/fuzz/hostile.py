"""Texts that somebody writes who means harm, and values of the wrong kinds."""

from hypothesis import strategies as st

SEQUENCES = ("\x1b[2J", "\x1b]0;owned\x07", "\x9b31m", "\x1b]8;;http://evil\x1b\\", "\x1bP1;2|x\x1b\\", "\x1bc")
MARKS = ("\u202e", "\u2066", "\u200e", "\u200f", "\u061c", "\u2069", "\ufeff", "\U000e0041")
NASTY = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "..", "../../etc/passwd", "/", "a/b", "%s%n%x", "{0.__class__}",
    "'; DROP TABLE users; --", "x" * 5000, "\u200b" * 50, "null", "-1", "1", "1.", "loop:team", ":", "\r\n\r\n",
    "a\nb\u2028c\u2029d\x85e", "\U0010ffff", "e\u0301" * 100, "\0" * 2000, "/clear", "/\u200bclear", "\uff0f\uff43lear",
    "/stop@bot x", "/approve", "terminal:root", "loopback:owner", "ag-", "mg-%", "_" * 12, "ﷺ" * 40, "İ" * 70, "ß" * 61,
    *SEQUENCES, *MARKS,
)  # fmt: skip

DANGEROUS = frozenset(
    [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)) if chr(code) not in "\n\t"]
    + [*"\u2028\u2029\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
)
"""What never comes to a terminal or into a log as it is: control characters, halves, and marks that reorder text."""

texts = (
    st.integers(0, len(NASTY) - 1).map(NASTY.__getitem__)
    | st.text(max_size=60)
    | st.lists(st.integers(0, len(NASTY) - 1).map(NASTY.__getitem__), max_size=4).map("".join)
)
maybe_texts = st.none() | texts
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
"""JSON of any kind."""


def dangerous(text: str, allowed: str = "") -> set[str]:
    """Return what of a text a terminal would obey."""
    return (set(text) & DANGEROUS) - set(allowed)
