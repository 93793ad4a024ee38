"""Markdown on its way to a platform (F-128, F-129; W-39): nothing is lost, everything fits, all HTML is well-formed."""

import re
from collections import Counter
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nanoclawd.channels.markup import matrix, telegram
from nanoclawd.channels.markup.document import Code, Document, Heading, Listing, Paragraph, Quote, Table
from nanoclawd.channels.markup.markdown import markdown_length, to_markdown
from nanoclawd.channels.markup.matrix import sanitised, to_matrix
from nanoclawd.channels.markup.parsing import MAX_PARSED_CHARACTERS, as_written, parse
from nanoclawd.channels.markup.plain import to_plain
from nanoclawd.channels.markup.splitting import Measure, split
from nanoclawd.channels.markup.telegram import telegram_length, to_telegram, utf16_length

LINES = st.sampled_from(
    [
        *("# heading words", "plain words here", "**bold words** and _slanted ones_", "~~struck~~ `code`"),
        *(
            "- bullet item",
            "  - nested item",
            "    - deeper item",
            "1. first item",
            "7) seventh item",
            "\t- tabbed item",
        ),
        *(
            "> said words",
            "> > deep words",
            "> - quoted item",
            "> ```\n> quoted code\n> ```",
            "- ```\n  item code\n  ```",
        ),
        *("```python", "```", "~~~~", "    indented words", "***", "===", "---", "* * *", "", ""),
        *("|a|b|", "|-|-|", "|c|d|e|f|", "| x `y|z` |", "**open", "`open", "\\*escaped\\*", "a\\\nb", "**a\nb**"),
        *("[word](https://example.org/path)", "[word](relative/path)", "![picture](https://e.org/p.png)"),
        *("<b>html</b> &amp; <!-- comment -->", "[name]: https://example.org", "<https://example.org>"),
        *("word " * 30, "letters" * 20, "\N{GRINNING FACE}" * 25, "\u202eb\u200d\N{FAMILY}"),
    ]
)
MARKDOWN = st.one_of(
    st.lists(LINES, max_size=30).map("\n".join),
    st.text(max_size=300),
    st.text(alphabet="ab*_`~>#-+|[]()!<>&\\ \n\t1.:", max_size=200),
)
LIMITS = st.integers(min_value=16, max_value=300)
MEASURES: list[Measure] = [telegram_length, markdown_length, lambda document: len(to_plain(document))]


def visible(document: Document) -> str:
    return "".join(to_plain(document).split())


def letters(text: str) -> Counter[str]:
    return Counter(character for character in text if character.isalpha())


class Checker(HTMLParser):
    """Reads HTML as strictly as a platform may: known tags, closed in their order, and every other < escaped."""

    def __init__(self, allowed: frozenset[str], alone: frozenset[str] = frozenset()) -> None:
        super().__init__(convert_charrefs=True)
        self.allowed, self.alone = allowed, alone
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.allowed
        assert {name for name, _ in attrs} <= {"a": {"href"}, "code": {"class"}, "ol": {"start"}}.get(tag, set())
        if tag not in self.alone:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment

    def read(self, html: str) -> str:
        assert not re.search(r"&(?!lt;|gt;|amp;|quot;|#x27;|#39;|nbsp;)", html)
        self.feed(html)
        self.close()
        assert self.open == []
        return self.text


@given(MARKDOWN)
@example("> " * 300 + "deep")
@example("- " * 100 + "deep")
@example("|a|\n|-|\n|b|c|")
def test_no_letter_of_a_text_is_lost(markdown: str):
    document = parse(markdown)
    html = to_telegram(document)
    # Info strings and targets of links are in attributes; titles of links are the only thing that is shown nowhere.
    if '"' in markdown or "'" in markdown or "(" in markdown or "&" in markdown:
        return
    said = to_plain(document) + "".join(re.findall(r'(?:href|class)="([^"]*)"', unescape(html)))
    missing = letters(markdown) - letters(said) - letters("".join(_infos(document)))
    assert not missing


def _infos(document: Document) -> list[str]:
    found: list[str] = []
    for block in document:
        match block:
            case Code(_, info):
                found.append(info)
            case Quote(blocks):
                found.extend(_infos(blocks))
            case Listing(items):
                found.extend(info for item in items for info in _infos(item.blocks))
            case _:
                pass
    return found


@pytest.mark.parametrize("measure", MEASURES)
@given(MARKDOWN, LIMITS)
@settings(deadline=None)
def test_every_piece_fits_and_together_they_are_the_whole(measure: Measure, markdown: str, limit: int):
    document = parse(markdown)
    pieces = split(document, limit, measure)
    assert all(measure(piece) <= limit for piece in pieces)
    assert all(visible(piece) for piece in pieces)
    whole = Counter(visible(document))
    # A header may stand above each part of a table, and its lines may go where no part of it fits.
    lines = Counter("-+|")
    together = Counter("".join(map(visible, pieces)))
    assert not [one for one in whole - together if one not in lines]
    if "|" not in markdown:
        said = "".join(map(visible, pieces))
        assert said == visible(document)


@given(MARKDOWN)
def test_html_for_telegram_is_strict(markdown: str):
    document = parse(markdown)
    html = to_telegram(document)
    assert Checker(telegram.TAGS).read(html) == to_plain(document).replace("\r", "\n").replace("\0", "")
    assert "<blockquote><blockquote>" not in html
    assert utf16_length(Checker(telegram.TAGS).read(html)) <= telegram_length(document)


@given(MARKDOWN)
def test_html_for_matrix_is_strict_and_already_what_the_sanitiser_lets_through(markdown: str):
    html = to_matrix(parse(markdown))
    Checker(matrix.TAGS, frozenset({"br", "hr"})).read(html)
    assert sanitised(html) == html


TAGS = [
    *(
        "<script>",
        "</script>",
        "<b>",
        "</i>",
        "<a href='javascript:alert(1)'>",
        "<img src=x onerror=y>",
        "words",
        "<",
        "&",
    ),
    *("<mx-reply>", "<!--", "<font color=red>", "<table><tr>", "<a href=https://e.org title=t>", "<style>", "]]>"),
]


@given(st.text(max_size=300) | st.lists(st.sampled_from(TAGS)).map("".join))
def test_foreign_html_is_made_harmless(html: str):
    Checker(matrix.TAGS, frozenset({"br", "hr"})).read(sanitised(html))


@given(MARKDOWN)
def test_markdown_written_again_says_the_same(markdown: str):
    document = parse(markdown)
    again = parse(to_markdown(document))
    assert not letters(to_plain(document)) - letters(to_plain(again) + "".join(_infos(again)) + to_markdown(again))


# What people see.


def pieces_of(markdown: str, limit: int = 60) -> list[str]:
    return [to_plain(piece) for piece in split(parse(markdown), limit, telegram_length)]


def test_all_kinds_are_shown_on_telegram():
    shown = to_telegram(
        parse(
            "# Title\n\nSome **bold _both_** and ~~gone~~ `x < y` [page](https://e.org?a=1&b=2).\n\n"
            "- one\n  - two\n- three\n\n3. c\n3. d\n\n> said\n> again\n\n"
            "```python\nif a < b: pass\n```\n\n| A | B |\n|---|---|\n| long cell | ü |\n\n---\n"
        )
    )
    assert shown == (
        "<b>Title</b>\n\nSome <b>bold <i>both</i></b> and <s>gone</s> <code>x &lt; y</code>"
        ' <a href="https://e.org?a=1&amp;b=2">page</a>.\n\n• one\n  • two\n• three\n\n3. c\n4. d\n\n'
        "<blockquote>said\nagain</blockquote>\n\n"
        '<pre><code class="language-python">if a &lt; b: pass</code></pre>\n\n'
        "<pre>A         | B\n----------+--\nlong cell | ü</pre>\n\n———"
    )


def test_all_kinds_are_shown_on_matrix():
    shown = to_matrix(
        parse("## T\n\na **b**\nc\n\n1. x\n   - y\n2. z\n\n> q\n\n```sh\nls\n```\n\n|A|\n|-|\n|b|\n\n***")
    )
    assert shown == (
        "<h2>T</h2><p>a <strong>b</strong><br>c</p><ol><li>x<ul><li>y</li></ul></li><li>z</li></ol>"
        '<blockquote><p>q</p></blockquote><pre><code class="language-sh">ls\n</code></pre>'
        "<table><thead><tr><th>A</th></tr></thead><tbody><tr><td>b</td></tr></tbody></table><hr>"
    )


def test_all_kinds_are_written_as_markdown():
    text = "## T\n\na **b** *c* ~~d~~ `e` [f](<https://e.org>)\n\n1. x\n   - y\n2. z\n\n> q\n\n```sh\nls\n```\n\n---"
    assert to_markdown(parse(text)) == text
    assert to_markdown(parse("|A|B|\n|-|-|\n|b|c|")) == "```\nA | B\n--+--\nb | c\n```"
    assert to_markdown(parse("2 \\* 3, snake_case, https://e.org/a_b_ \\# no\n\n\\# no")) == (
        "2 \\* 3, snake_case, https://e.org/a_b_ # no\n\n\\# no"
    )


def test_it_is_cut_between_blocks_first():
    assert pieces_of("first words here\n\nsecond words\n\n" + "third " * 8) == [
        "first words here\n\nsecond words",
        ("third " * 8).strip(),
    ]


def test_a_heading_stays_with_what_it_is_above():
    assert pieces_of("some words\n\n# Title\n\n" + "third " * 8)[0] == "some words"


def test_lines_then_words_then_characters():
    assert pieces_of("a line of words\nanother line of words here\nand a third that is long") == [
        "a line of words\nanother line of words here",
        "and a third that is long",
    ]
    assert pieces_of("word " * 20) == [("word " * 12).strip(), ("word " * 8).strip()]
    assert pieces_of("x" * 100) == ["x" * 60, "x" * 40]


def test_no_character_that_people_see_is_torn():
    family = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
    assert all(piece == family * (len(piece) // 5) for piece in pieces_of(family * 30, 50))
    assert all(len(piece) % 2 == 0 for piece in pieces_of("e\u0301" * 50, 33))


def test_bold_stays_bold_over_a_cut():
    pieces = split(parse(f"**{'word ' * 20}end**"), 60, telegram_length)
    assert [to_telegram(piece)[:7] for piece in pieces] == ["<b>word"] * 2
    assert all(to_telegram(piece).endswith("</b>") for piece in pieces)


def test_code_is_kept_whole_where_it_fits():
    code = "\n".join(f"line {number}" for number in range(6))
    document = parse(f"some words before it\n\n```sh\n{code}\n```\nand after")
    first, second = split(document, 60, telegram_length)
    assert second == (Code(code, "sh"), *parse("and after"))
    assert first == parse("some words before it")


def test_code_that_does_not_fit_is_fenced_again():
    code = "\n".join(f"line {number}" for number in range(30))
    pieces = split(parse(f"words\n\n```sh\n{code}\n```"), 60, telegram_length)
    blocks = [block for piece in pieces for block in piece if isinstance(block, Code)]
    assert all(block.info == "sh" for block in blocks)
    assert "\n".join(block.text for block in blocks) == code


def test_a_list_is_cut_between_its_items_and_counts_on():
    pieces = split(parse("\n".join(f"1. item with some words {number}" for number in range(6))), 60, telegram_length)
    assert [to_plain(piece).split(".")[0] for piece in pieces] == ["1", "3", "5"]


def test_an_item_that_does_not_fit_goes_on_without_a_second_bullet():
    pieces = pieces_of("- " + "word " * 20)
    assert [piece[:2] for piece in pieces] == ["• ", "  "]
    first, second = split(parse("- " + "word " * 20), 60, telegram_length)
    assert to_matrix(first).startswith("<ul><li>")
    assert to_matrix(second).startswith("<p>word")


def test_a_table_repeats_its_header():
    table = "|name|value|\n|-|-|\n" + "".join(f"|row {number}|{number}|\n" for number in range(9))
    pieces = split(parse(table), 80, telegram_length)
    assert len(pieces) > 1
    assert all(isinstance(piece[0], Table) and to_plain(piece).startswith("name") for piece in pieces)


def test_a_table_too_wide_for_a_message_becomes_words():
    table = f"|name|value|\n|-|-|\n|{'long ' * 20}|short|"
    pieces = split(parse(table), 60, telegram_length)
    assert to_plain(pieces[0]).startswith("name: long long")
    assert to_plain(pieces[-1]).endswith("value: short")


def test_links_that_no_chat_can_open_are_shown():
    assert to_plain(parse("[the manual](docs/manual.md)")) == "the manual (docs/manual.md)"
    assert to_plain(parse("[x](javascript:alert(1))")) == "[x](javascript:alert(1))"
    assert to_telegram(parse("[x](https://e.org)")) == '<a href="https://e.org">x</a>'


def test_a_text_too_long_to_be_read_is_shown_as_it_is():
    text = "**a** " * (MAX_PARSED_CHARACTERS // 6 + 1)
    assert parse(text) == as_written(text)


@pytest.mark.parametrize("unit", ["[", "![", "*a_", "`", "> ", "- ", "<", "|a", "\\", "&", "~~", "**", "[a](", "a**b_"])
def test_hostile_texts_take_no_time(unit: str, benchmark_seconds: Callable[[Callable[[], object]], float]):
    text = unit * (20_000 // len(unit))
    assert benchmark_seconds(lambda: split(parse(text), 4096, telegram_length)) < 10


@pytest.fixture
def benchmark_seconds() -> Callable[[Callable[[], object]], float]:
    def measure(act: Callable[[], object]) -> float:
        import time

        began = time.process_time()
        act()
        return time.process_time() - began

    return measure


def test_words_of_nothing_make_no_piece():
    for nothing in ("", " ", "\n\n", "\u200b" * 0):
        assert split(parse(nothing), 60, telegram_length) == []
    assert isinstance(parse("# a")[0], Heading)
    assert isinstance(parse("a")[0], Paragraph)
