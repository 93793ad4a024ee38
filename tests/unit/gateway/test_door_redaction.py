"""No cut of a stream into pieces saves a secret in it, and nothing else of it is changed. F-119."""

import base64
import gzip
import zlib
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.gateway.door.decoding import Undecodable, decoding_of
from nanoclawd.gateway.door.redaction import Redactor, redacted, spellings
from nanoclawd.gateway.door.searching import Searching

LETTERS = st.sampled_from("ab")
FEW = st.text(LETTERS, min_size=1, max_size=40)


def stars(text: bytes, needles: list[bytes]) -> bytes:
    """What is expected, byte by byte."""
    hit = set()
    for needle in needles:
        for start in range(len(text) - len(needle) + 1):
            if text[start : start + len(needle)] == needle:
                hit |= set(range(start, start + len(needle)))
    return bytes(ord("*") if at in hit else letter for at, letter in enumerate(text))


@given(
    text=FEW,
    needles=st.lists(st.text(LETTERS, min_size=1, max_size=7), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 40), max_size=12),
)
def test_any_cut_finds_every_occurrence_and_nothing_else(text: str, needles: list[str], cuts: list[int]):
    raw, sought = text.encode(), [needle.encode() for needle in needles]
    ends = sorted(min(cut, len(raw)) for cut in [*cuts, len(raw)])
    redactor, found, begin = Redactor(sought), b"", 0
    for end in ends:
        found += redactor.feed(raw[begin:end])
        begin = end
    found += redactor.end()
    assert found == stars(raw, sought)


@given(
    before=st.binary(max_size=30), secret=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=4)
)
def test_every_spelling_is_found_in_anything(before: bytes, secret: str):
    for spelling in spellings([secret], [f"joe:{secret}"]):
        found = redacted(before + spelling + before, spellings([secret], [f"joe:{secret}"]))
        assert spelling not in found
        assert len(found) == 2 * len(before) + len(spelling)


@pytest.mark.parametrize("secret", ["plain0123456789abcdef", "query+0123456789abcdef/q=&%~ ü"])
def test_an_address_that_is_said_back_inside_of_another_one_is_no_hiding_place(secret: str):
    """As in ``/login?return_to=…``, or a state in base64: what was encoded in the query is encoded once more."""
    core, pair = b"0123456789abcdef", base64.b64encode(f"me:{secret}".encode()).decode()
    needles = spellings([secret], [f"me:{secret}"])
    for safe in ("", "/"):
        asked = f"GET /a?key={quote(secret, safe=safe)}&n=1 HTTP/1.1"
        found = redacted(f"/login?return_to={quote(asked, safe=safe)}".encode(), needles)
        assert core not in found
        for shift in range(3):
            told = base64.b64encode(b"x" * shift + asked.encode())
            assert core not in base64.b64decode(redacted(told, needles).replace(b"*", b"A"))
            told = base64.b64encode(b"x" * shift + f"a secret: {secret}, and more".encode())
            assert core not in base64.b64decode(redacted(told, needles).replace(b"*", b"A"))
            told = base64.b64encode(b"x" * shift + f"Authorization: Basic {pair}".encode())
            assert pair[8:-8].encode() not in base64.b64decode(redacted(told, needles).replace(b"*", b"A"))
    assert len(needles) < 250


@pytest.mark.parametrize(
    "written",
    [
        r"k3y-+/=\u0026'\"\u003c\u003e~*;`",  # Go's json, Rails
        r"k3y-+/\u003d\u0026\u0027\"\u003c\u003e~*;`",  # Gson
        r"k3y-\u002B/=\u0026\u0027\u0022\u003C\u003E~*;\u0060",  # System.Text.Json
        r"k3y-+\/=\u0026\u0027\u0022\u003C\u003E~*;`",  # PHP with JSON_HEX_…
        r"k3y-+\/=&'\"<>~*;`",  # PHP
        r"k3y\u002D+/\u003D\u0026\u0027\u0022\u003C\u003E~*\u003B\u0060",  # Django's escapejs
        "k3y-+/=&amp;&#x27;&quot;&lt;&gt;~*;`",  # Python's html
        "k3y-+/=&amp;&#39;&#34;&lt;&gt;~*;`",  # MarkupSafe, Go's html
        "k3y-&#43;/=&amp;&#39;&#34;&lt;&gt;~*;`",  # Go's html/template
        "k3y-+/=&amp;&#039;&quot;&lt;&gt;~*;`",  # PHP
        "k3y-&#x2B;/=&amp;&#x27;&quot;&lt;&gt;~*;&#x60;",  # ASP.NET
        "k3y-+/&#x3D;&amp;&#x27;&quot;&lt;&gt;~*;&#x60;",  # Handlebars
        "k3y-+&#x2F;&#x3D;&amp;&#39;&quot;&lt;&gt;~*;&#x60;",  # Mustache
        "k3y-%2B%2F%3D%26%27%22%3C%3E~%2A%3B%60",  # RFC 3986
        "k3y-%2B%2F%3D%26'%22%3C%3E~*%3B%60",  # encodeURIComponent
        "k3y-%2B%2F%3D%26%27%22%3C%3E%7E*%3B%60",  # forms
        "k3y-+%2F=&%27%22%3C%3E~%2A%3B%60",  # Go's url.PathEscape
        "k3y-+/=&'%22%3C%3E~*;%60",  # encodeURI
    ],
)
def test_what_common_libraries_make_of_a_secret_is_found(written: str):
    secret = "k3y-+/=&'\"<>~*;`"
    assert redacted(f"({written})".encode(), spellings([secret])) == b"(" + b"*" * len(written) + b")"


def test_what_cannot_become_a_secret_is_not_held_back():
    redactor = Redactor((b"secret-value",))
    assert redactor.feed(b"data: 1\n\n") == b"data: 1\n\n"
    assert redactor.feed(b"se") == b""
    assert redactor.feed(b"e ") == b"see "
    assert redactor.feed(b'{"a": "sec') == b'{"a": "'
    assert redactor.feed(b'"}') == b'sec"}'
    assert redactor.feed(b"a sec") == b"a "
    assert redactor.end() == b"sec"


@given(st.text("secrtvalu-0123 \n", max_size=40), st.integers(0, 12))
def test_what_is_held_back_tells_nothing_of_the_secret(before: str, guessed: int):
    """Who has a host say back a guess, and waits, sees no difference between a good guess and a bad one."""
    secret = "secret-value"
    good = Redactor((secret.encode(),))
    bad = Redactor((secret[::-1].encode(),))
    text = f"{before} {secret[:guessed]}".encode()
    assert len(good.feed(text)) == len(bad.feed(text))


@given(
    text=st.binary(max_size=3000),
    form=st.sampled_from(["gzip", "deflate", "bare", "twice"]),
    cuts=st.lists(st.integers(0, 3000), max_size=8),
)
def test_what_is_packed_is_unpacked_however_it_comes(text: bytes, form: str, cuts: list[int]):
    bare = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(text),
        "twice": gzip.compress(text[:10]) + gzip.compress(text[10:]),
        "deflate": zlib.compress(text),
        "bare": bare.compress(text) + bare.flush(),
    }[form]
    if form == "bare" and len(packed) > 1 and packed[0] & 0x0F == 8 and (packed[0] * 256 + packed[1]) % 31 == 0:
        return  # nobody can tell it from the other one
    decoding = decoding_of([b"gzip" if form in ("gzip", "twice") else b"deflate"])
    found, begin = b"", 0
    for end in sorted(min(cut, len(packed)) for cut in [*cuts, len(packed)]):
        found += b"".join(decoding.feed(packed[begin:end]))
        begin = end
    decoding.end()
    assert found == text


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_unpacked(garbage: bytes):
    for name in (b"gzip", b"deflate"):
        decoding = decoding_of([name])
        try:
            for _ in decoding.feed(garbage):
                pass
            decoding.end()
        except Undecodable:
            continue


def test_endless_empty_members_end():
    decoding = decoding_of([b"gzip"])
    empty = gzip.compress(b"") * 10_002

    def unpack() -> None:
        assert list(decoding.feed(empty)) == []

    with pytest.raises(Undecodable, match="more behind"):
        unpack()


def test_names_of_headers_are_searched_and_what_frames_a_body_is_left():
    searching = Searching([b"needle"])
    told = [(b"X-needle", b"a needle"), (b"Content-Length", b"6")]
    assert searching.headers(told) == [(b"X-******", b"a ******"), (b"Content-Length", b"6")]


@pytest.mark.parametrize("kind", ["gzip", "deflate"])
def test_a_bomb_ends(kind: str):
    text = b"\0" * (32 * 1024 * 1024)
    bomb = gzip.compress(text) if kind == "gzip" else zlib.compress(text)
    pieces = []

    def unpack() -> None:
        pieces.extend(map(len, decoding_of([kind.encode()]).feed(bomb)))

    with pytest.raises(Undecodable, match="far larger"):
        unpack()
    assert max(pieces) <= 64 * 1024
    assert sum(pieces) < 16 * 1024 * 1024
