"""Texts that answer cards on a channel without buttons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.contract.cards import Option
from nanoclawd.routing.answers import AskBack, OpenCard, find
from nanoclawd.routing.decision import CardAnswer

YES_NO = (Option("Allow", "allow", "Allowed"), Option("Don't", "deny", "Denied"))
ONE = OpenCard("approval", "k3f0aaaaaaaa", YES_NO)
TWO = OpenCard("question", "zz91bbbbbbbb", (Option("Red", "red", "Red"), Option("Blue", "blue", "Blue")), "ag-1")


@pytest.mark.parametrize("text", ["1", " 1. ", "1)", "Allow", "ALLOW", "k3f0 1", "K3F0 allow", "１"])  # noqa: RUF001
def test_one_open_card(text: str):
    assert find(text, [ONE]) == CardAnswer("approval", "k3f0aaaaaaaa", "allow")


@pytest.mark.parametrize("text", ["", "3", "0", "-1", "1 please", "allow it", "k3f0", "k3f0 3", "zz91 1", "x" * 500])
def test_an_ordinary_message(text: str):
    assert find(text, [ONE]) is None


def test_nothing_is_open():
    assert find("1", []) is None


def test_several_are_open():
    """A bare answer is asked back; with the tag it is clear."""
    back = find("1", [ONE, TWO])
    assert isinstance(back, AskBack)
    assert "k3f0" in back.words
    assert "zz91" in back.words
    assert find("zz91 2", [ONE, TWO]) == CardAnswer("question", "zz91bbbbbbbb", "blue")
    assert isinstance(find("red", [ONE, TWO]), AskBack)
    assert find("what is red?", [ONE, TWO]) is None


@given(st.text(max_size=300))
def test_any_text(text: str):
    found = find(text, [ONE, TWO])
    if isinstance(found, CardAnswer):
        assert text.strip()[:4].casefold() in {"k3f0", "zz91"}
