"""What is remembered of a conversation beside the client: over its ends, and whatever has become of the file."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclaw_runner.providers import claude_books
from nanoclaw_runner.providers.claude_books import Books
from nanoclaw_runner.providers.claude_messages import NOTHING_COUNTED

COUNTS = st.tuples(*[st.integers(0, 2**53)] * 5)


@given(counted=COUNTS, kept=st.none() | st.uuids().map(str), refused=st.booleans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    counted: tuple[int, int, int, int, int],
    kept: str | None,
    refused: bool,
):
    path = tmp_path_factory.getbasetemp() / "books.json"
    books = Books("s1", counted, kept, refused)
    books.write(path)
    assert claude_books.read(path, "s1") == books
    assert claude_books.read(path, "another") == Books("another", None)
    assert claude_books.read(path, None) == Books(None, NOTHING_COUNTED)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"session": "s1"}', '{"session": "s1", "counted": [1, 2]}', '{"counted": null}']
)
def test_a_file_that_is_none_is_no_trouble(tmp_path: Path, text: str):
    """The agent can write it: it is in its home."""
    path = tmp_path / "books.json"
    path.write_text(text)
    assert claude_books.read(path, "s1") == Books("s1", None)


def test_odd_values_in_it_mean_nothing(tmp_path: Path):
    path = tmp_path / "books.json"
    path.write_text(json.dumps({"session": "s1", "counted": [1, 2, 3, 4, 5], "kept": ["x"], "refused": "yes"}))
    assert claude_books.read(path, "s1") == Books("s1", (1, 2, 3, 4, 5))


def test_a_conversation_of_which_nothing_was_taken_begins_anew():
    assert Books("s1", None, None, refused=True).begins_anew
    assert not Books("s1", None, "e1", refused=True).begins_anew
    assert not Books("s1", None).begins_anew
