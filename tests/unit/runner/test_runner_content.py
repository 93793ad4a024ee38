"""Contents of rows: strict reading, bounded writing, and the prompt that comes of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner import content
from nanoclaw_runner.contract.rows import MAX_CONTENT_BYTES, MAX_MESSAGE_BYTES, InboundRow
from nanoclaw_runner.prompt import from_rows
from nanoclaw_runner.supervision import MAX_STATUS_CHARACTERS, clean_status

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_whatever_is_written_is_read_again(text: str):
    assert content.read(content.write(text)).text == text.encode(errors="replace").decode()


@given(ANY_TEXT)
def test_garbage_is_its_own_text(garbage: str):
    said = content.read(garbage)
    assert isinstance(said.text, str)
    said.text.encode()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    )
)
def test_any_json_has_a_text(value: object):
    content.read(json.dumps(value)).text.encode()


@pytest.mark.parametrize(
    "hostile", ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000, '{"text": 7}', '{"text": null}', "", "\x00"]
)
def test_hostile_json_does_no_harm(hostile: str):
    assert content.read(hostile).text == hostile[:MAX_MESSAGE_BYTES]


def test_the_sender_is_one_bounded_line():
    said = content.read(json.dumps({"text": "hi", "sender": "A\n\u2028da " + "x" * 1000}))
    assert said.sender.startswith("A da x")
    assert len(said.sender) == 200


@pytest.mark.parametrize("character", ["a", "é", "\x01", '"', "😀"])
def test_an_answer_beyond_the_limit_is_cut_visibly(character: str):
    written = content.write(character * 2 * MAX_MESSAGE_BYTES)
    text = json.loads(written)["text"]
    assert len(written.encode()) <= MAX_CONTENT_BYTES
    assert len(text.encode()) <= MAX_MESSAGE_BYTES
    assert "[cut here: the answer has" in text[-80:]


def test_an_answer_at_the_limit_is_whole():
    assert json.loads(content.write("a" * MAX_MESSAGE_BYTES))["text"] == "a" * MAX_MESSAGE_BYTES


def test_context_is_marked_in_a_prompt():
    rows = [
        InboundRow("in-2", 2, "chat", "", json.dumps({"text": "nice weather", "sender": "Ada"}), trigger=False),
        InboundRow("in-4", 4, "chat", "", json.dumps({"text": "what do you think?", "sender": "Bob"})),
        InboundRow("in-6", 6, "task", "", json.dumps({"prompt": "water the plants"})),
    ]
    prompt = from_rows("in-6", rows)
    assert prompt.raw() == "nice weather\nwhat do you think?\nwater the plants"
    assert prompt.rendered() == (
        "[earlier, not addressed to you] Ada: nice weather\nBob: what do you think?\nwater the plants"
    )


@given(ANY_TEXT)
def test_a_status_is_one_bounded_line_without_control_characters(text: str):
    shown = clean_status(text)
    assert len(shown) <= MAX_STATUS_CHARACTERS
    assert shown.isprintable()
