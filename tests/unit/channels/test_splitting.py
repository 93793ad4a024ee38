"""Texts longer than a platform's message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.channels.splitting import split


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 5, [""]),
        ("short", 5, ["short"]),
        ("one two", 3, ["one", "two"]),
        ("one two", 5, ["one", "two"]),
        ("first part\n\nsecond part", 15, ["first part", "second part"]),
        ("a line\nanother line that is long", 20, ["a line", "another line that is", "long"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("          ", 5, ["     "]),
        ("  padded words here  ", 12, ["padded words", "here"]),
    ],
)
def test_a_text_is_cut_where_it_hurts_least(text: str, limit: int, pieces: list[str]):
    assert split(text, limit) == pieces


@given(st.text(st.sampled_from("ab \n\u00e9\N{GRINNING FACE}"), max_size=300), st.integers(1, 60))
def test_nothing_but_white_space_is_lost_and_no_piece_is_too_long(text: str, limit: int):
    pieces = split(text, limit)
    assert all(len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert pieces
