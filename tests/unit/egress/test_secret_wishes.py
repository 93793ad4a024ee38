"""Where a secret goes, as operators type it: one form for each, and nothing that can be read in two ways."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.egress.secret_wishes import (
    place_text,
    read_name,
    read_oauth,
    read_place,
    read_places,
    read_style,
    style_text,
)
from nanoclawd.egress.secrets import Place
from nanoclawd.egress.targets import BadTarget, Target


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("api.github.com", Place("api.github.com")),
        ("API.GitHub.com.", Place("api.github.com")),
        ("api.github.com:8443", Place("api.github.com", 8443)),
        ("https://api.github.com/", Place("api.github.com")),
        ("api.example.org/v1/me", Place("api.example.org", 443, "/v1/me")),
        ("http://homeassistant.lan:8123", Place("homeassistant.lan", 8123, "", "http")),
        ("HTTP://nas.lan", Place("nas.lan", 80, "", "http")),
        ("*.example.org", Place("*.example.org")),
        ("[2001:db8::1]:444/x", Place("2001:db8::1", 444, "/x")),
        ("192.168.1.7:8080", Place("192.168.1.7", 8080)),
    ],
)
def test_a_place_has_one_form(text: str, place: Place):
    assert read_place(text) == place
    assert read_place(place_text(place)) == place


@pytest.mark.parametrize(
    "text",
    [
        *("", "*", "*.com", "https://*", "ftp://a.example", "javascript://a.example", "a b.example", "0x7f.1"),
        *("user:password@a.example", "a.example:0", "a.example:70000", "a.example:x", "2001:db8::1", "[::1%lo]"),
        *("a.example/../b", "a.example/%2e", "a.example/a?b", "a.example/a#b", "a.example/a\\b", "a.example//b"),
        *("a.*.example", "*a.example", "*.127.0.0.1", f"a.example/{'x' * 200}", "a.example/ü", "a.example/a\n"),
    ],
)
def test_what_is_none_is_refused(text: str):
    with pytest.raises(BadTarget):
        read_place(text)


@given(st.text(alphabet=string.printable, max_size=40))
def test_whatever_is_typed_is_refused_or_comes_back_as_it_is(text: str):
    try:
        place = read_place(text)
    except BadTarget:
        return
    assert read_place(place_text(place)) == place
    assert place.scheme == "https" or text.lower().startswith("http://")
    assert not place.host.startswith("*") or place.fits(place.scheme, Target("a" + place.host[1:], place.port))


def test_places_are_counted_once_and_bounded():
    assert read_places(["a.example", "A.example:443"]) == (Place("a.example"),)
    for texts in ([], [f"a{number}.example" for number in range(21)]):
        with pytest.raises(BadTarget):
            read_places(texts)


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("bearer", ("bearer", "")),
        ("placeholder", ("placeholder", "")),
        ("basic:me@example.org", ("basic", "me@example.org")),
        ("header:X-Api-Key", ("header", "X-Api-Key")),
        ("query:key", ("query", "key")),
        ("cookie:session", ("cookie", "session")),
    ],
)
def test_a_style_has_one_form(text: str, style: tuple[str, str]):
    assert read_style(text) == style
    assert style_text(*style) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "Bearer", "bearer:x", "placeholder:x", "basic", "header", "header:", "header:a b", "header:a:b"),
        *(
            "header:Host",
            "header:content-length",
            "header:Proxy-Authorization",
            "header:Transfer-Encoding",
            "query:a&b",
        ),
        *("basic:a:b", "basic:a\nb", "cookie:a=b", f"header:{'x' * 201}", "digest:me"),
    ],
)
def test_a_style_that_is_none_is_refused(text: str):
    with pytest.raises(BadTarget):
        read_style(text)


def test_a_name_that_is_none_is_not_repeated_for_it_may_be_the_secret():
    for text in ("ghp_Secret", "-a", "a-", "a" * 41, "", "a\n"):
        with pytest.raises(BadTarget) as found:
            read_name(text)
        assert "ghp" not in str(found.value)
    assert read_name("github-2") == "github-2"


def test_an_account_s_tokens_are_asked_for_by_https_at_one_address():
    assert read_oauth("https://login.example.com/token", "id", "secret", "mail").scope == "mail"
    for url, client in (
        ("http://login.example.com/token", "id"),
        ("login.example.com/token", "id"),
        ("https://*.example.com/token", "id"),
        ("https://login.example.com/token", ""),
        ("https://login.example.com/token", "a\nb"),
        ("https://login.example.com/token", "x" * 501),
    ):
        with pytest.raises(BadTarget):
            read_oauth(url, client)
