"""Nothing that an agent writes acts on a terminal (F-183's neighbour: STATUS is untrusted text)."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclawd.cli.clean import clean, clean_line


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2|payload\x1b\\after", "after"),
        ("\x1bcreset", "reset"),
        ("a\x08b\x7fc\x00d", "abcd"),
        ("\u202egnirts\u202c\u2066x\u2069\u200f", "gnirtsx"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("tab\tnewline\nümlaut 👩\u200d💻", "tab\tnewline\nümlaut 👩\u200d💻"),
        ("\x1b", ""),
        ("\x1b[", ""),
        ("\ud800x", "x"),
        ("tag\U000e0041", "tag"),
    ],
)
def test_clean_takes_out_what_a_terminal_obeys(dirty: str, expected: str):
    assert clean(dirty) == expected


@given(st.text(alphabet=st.characters(min_codepoint=0) | st.sampled_from("\x1b\x9b[];m\x07\\P")))
@example("\x1b\x1b[[31mm")
def test_nothing_dangerous_is_left_and_cleaning_twice_changes_nothing(text: str):
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert all(char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"} for char in cleaned)
    assert not set(cleaned) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    assert "\n" not in clean_line(text)


def test_a_long_line_is_cut():
    assert clean_line("x" * 500, 10) == "x" * 9 + "…"
