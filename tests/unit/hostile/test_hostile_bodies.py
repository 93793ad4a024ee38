"""Contents of rows, of any shape: each means something within its bounds, or is refused with a reason to tell."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclaw_runner.contract import cards
from nanoclaw_runner.contract.files import MAX_FILES
from nanoclaw_runner.contract.rows import OutboundRow
from nanoclawd.sessions import bodies

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "fallback": st.text() | values,
        "text": st.text() | values,
        "files": st.lists(st.text(max_size=300), max_size=12) | values,
        "operation": st.sampled_from(["edit", "reaction", "delete"]) | values,
        "messageId": st.integers() | st.text() | values,
        "emoji": st.text(max_size=80) | values,
        "title": st.text(max_size=210) | values,
        "options": st.lists(st.text(max_size=70) | values, max_size=12) | values,
        "reference": st.text(max_size=210) | values,
    },
)


def read(kind: str, content: str) -> bodies.Meaning | None:
    """Read a row; a refusal has words, and nothing else comes out."""
    try:
        return bodies.read(OutboundRow("r1", 1, kind, "2026", content))
    except ValueError as error:
        words = str(error)
    assert 0 < len(words) < 300
    return None


@given(st.sampled_from(["chat", "card", "system"]), objects | values)
def test_any_json(kind: str, found: Any) -> None:
    meaning = read(kind, json.dumps(found))
    match meaning:
        case bodies.Words(text, files):
            assert text.strip() or files
            text.encode()
            assert len(files) <= MAX_FILES
            assert all(name.isprintable() and "/" not in name and name not in ("", ".", "..") for name in files)
        case bodies.Change(target, text, emoji):
            assert (text is None) != (emoji is None)
            assert target
            (text or emoji or "").encode()
        case bodies.Question(card):
            assert cards.from_content(cards.to_content(card)) == card
            assert card.options
        case bodies.Display(card):
            assert cards.from_content(cards.to_content(card)) == card
            assert not card.options
        case bodies.Request():
            assert kind == "system"
        case None:
            assert kind != "system"


@given(st.sampled_from(["chat", "card"]), st.text())
@example("chat", "[" * 100_000)
@example("chat", "1" * 10_000)
@example("chat", '{"messageId": ' + "1" * 5000 + ', "operation": "edit", "text": "x"}')
@example("card", '{"a":' * 100_000)
@example("chat", "\ufeff{}")
@example("chat", "NaN")
def test_any_text(kind: str, content: str) -> None:
    read(kind, content)


@pytest.mark.parametrize("target", ["²", "٣", "0", "00", "-1", " 2", "9" * 17, "\0", "\ud800"])
def test_what_looks_like_a_number(target: str) -> None:
    meaning = read("chat", json.dumps({"operation": "edit", "messageId": target, "text": "x"}))
    assert meaning is None or (isinstance(meaning, bodies.Change) and isinstance(meaning.target, str))


@pytest.mark.parametrize(
    "content",
    [
        {"title": "x", "fallback": 5},
        {"title": "x", "fallback": "y" * (cards.MAX_TEXT_BYTES + 1)},
        {"title": "", "fallback": "y"},
        {"title": "x", "options": []},
        {"title": "x", "options": [1], "fallback": "y"},
    ],
)
def test_a_card_that_is_none(content: dict[str, object]) -> None:
    """A display has its fallback in the place of options; with options it is a question, and as strictly read."""
    assert read("card", json.dumps(content)) is None
