"""What a model says, taken apart: tags, fences, thoughts, and any split of the stream."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclaw_runner.output import MAX_CHARACTERS, Piece, Tokenizer, parse

FRAGMENTS = st.sampled_from(
    (
        *(
            '<message to="ada">',
            "<message to='bob' >",
            "<MESSAGE TO=cy id=7>",
            '<message id="3" to="a&amp;b">',
            "<message>",
        ),
        *(
            "</message>",
            "</MESSAGE >",
            "<internal>",
            "</internal>",
            '<message to="x"/>',
            "<messages>",
            "<mess",
            "<",
            ">",
        ),
        *("```", "```py\n", "\n```\n", "~~~\n", "`", "``", "\n", " ", "words", "a < b", "<b>", "\n\n", "   ```\n", "é"),
    )
)
ANSWERS = st.lists(FRAGMENTS | st.text(max_size=6), max_size=30).map("".join)


def pieces(text: str) -> list[tuple[str | None, str]]:
    return [(piece.to, piece.text) for piece in parse(text)]


@given(ANSWERS, st.data())
@example("```\n</message>\n```</message>", None)
def test_any_split_gives_the_same(text: str, data: st.DataObject | None):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8))) if data else range(len(text))
    tokenizer = Tokenizer()
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        tokenizer.feed(text[begin:end])
        tokenizer.pieces()
    assert tokenizer.finish() == parse(text)


@given(ANSWERS)
def test_letter_by_letter_gives_the_same(text: str):
    tokenizer = Tokenizer()
    for letter in text:
        tokenizer.feed(letter)
    assert tokenizer.finish() == parse(text)


@given(ANSWERS)
def test_what_is_shown_early_is_never_taken_back(text: str):
    """Of an answer in the making, each piece but the last is as it stays, and the last one only grows."""
    tokenizer = Tokenizer()
    before: tuple[Piece, ...] = ()
    for letter in text:
        tokenizer.feed(letter)
        now = tokenizer.pieces()
        assert len(now) >= len(before)
        for old, new in zip(before, now, strict=False):
            assert new.to == old.to
            assert new.text.startswith(old.text)
        before = now


@given(st.text(st.characters(exclude_characters="<`~")))
def test_words_without_marks_are_one_piece(text: str):
    assert pieces(text) == ([(None, text.strip())] if text.strip() else [])


@given(
    st.text(st.characters(exclude_characters="<`~"), min_size=1), st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
)
def test_a_block_has_its_name_and_its_words(body: str, name: str):
    expected = [(name, body.strip())] if body.strip() else []
    assert pieces(f'<message to="{name}">{body}</message>') == expected


@given(st.text(st.characters(exclude_characters="<")))
def test_thoughts_are_never_a_piece(thoughts: str):
    assert pieces(f"a<internal>{thoughts}</internal>b") == [(None, "ab")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<message to="ada">Hi</message>', [("ada", "Hi")]),
        ("<Message TO = 'ada' >Hi</MESSAGE>", [("ada", "Hi")]),
        ("<message to=ada>Hi</message >", [("ada", "Hi")]),
        ('<message to="ada>Hi</message>', [("ada", "Hi")]),
        ('<message id="7" lang=en to="a&amp;b" time="x">Hi</message>', [("a&b", "Hi")]),
        ('<message\n  to="ada"\n>\nHi\n</message>\n', [("ada", "Hi")]),
        ("<message>Hi</message>", [("", "Hi")]),
        ('Sure. <message to="a">1</message> and <message to="b">2</message> done', None),
        # Never ended, ended twice, ended without a beginning, begun within another.
        ('<message to="ada">Hi', [("ada", "Hi")]),
        ('<message to="ada">Hi</message></message> there', [("ada", "Hi"), (None, "there")]),
        ("Hi</message> there</internal>", [(None, "Hi there")]),
        ('<message to="a">1 <message to="b">2</message> 3</message>', [("a", "1"), ("b", "2"), (None, "3")]),
        ('<message to="ada"/>', []),
        ('<message to="ada">  </message>', []),
        # What only looks like a tag.
        ("a < b, <messages>, <messageto>, <b>x</b>, 1 <", [(None, "a < b, <messages>, <messageto>, <b>x</b>, 1 <")]),
        ("<message to=", [(None, "<message to=")]),
        ("&lt;message to=ada&gt;", [(None, "&lt;message to=ada&gt;")]),
        # Thoughts.
        ('<internal>to <message to="a">x</message></internal>Hi', [(None, "Hi")]),
        ("<internal>a<internal>b</internal>c</internal>d", [(None, "d")]),
        ('<message to="a">1<internal>x</internal>2</message>', [("a", "12")]),
        ("<internal>it's `code` ```</internal>Hi", [(None, "Hi")]),
        ('<internal>hm <message to="a">Hi</message>', [("a", "Hi")]),
        ("<internal>a<internal>b</internal>Hi", [(None, "Hi")]),
        ("<internal>hm", []),
        # Code.
        ('Write `<message to="x">` first', [(None, 'Write `<message to="x">` first')]),
        ("It's a ` tick <internal>x</internal>\n`", [(None, "It's a ` tick \n`")]),
        ("``a ` <internal>b``", [(None, "``a ` <internal>b``")]),
        ('```\n<message to="x">\n```', [(None, '```\n<message to="x">\n```')]),
        ("~~~~ xml\n</internal>\n~~~\n~~~~", [(None, "~~~~ xml\n</internal>\n~~~\n~~~~")]),
        ('<message to="a">```py\n"</message>"\n```</message>x', [("a", '```py\n"</message>"\n```'), (None, "x")]),
        ('<message to="a">\n```\nx</message>\n<message to="b">2</message>', [("a", "```\nx"), ("b", "2")]),
    ],
)
def test_each_kind_of_answer(text: str, expected: list[tuple[str | None, str]] | None):
    if expected is None:
        expected = [(None, "Sure."), ("a", "1"), (None, "and"), ("b", "2"), (None, "done")]
    assert pieces(text) == expected


@pytest.mark.parametrize(
    "letter", ["a", "`", "<", "<message ", "``` ", "\n", "<internal>", "` ", "~~~\n", '<message to="x">']
)
def test_an_endless_answer_is_bounded(letter: str):
    text = letter * (2 * MAX_CHARACTERS // len(letter))
    assert sum(len(piece.text) for piece in parse(text)) <= MAX_CHARACTERS
