"""Hosts come in one form or not at all."""

import ipaddress
import re
import socket
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nanoclawd.egress.targets import (
    BadTarget,
    Target,
    is_address,
    parse_authority,
    parse_host,
    parse_url,
    path_readings,
)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.org", "example.org"),
        ("EXAMPLE.Org.", "example.org"),
        ("a_b.example", "a_b.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1.", "192.0.2.1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("0x7f.example", "0x7f.example"),
        ("7f000001", "7f000001"),
    ],
)
def test_one_form(text: str, host: str):
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", ".a", "a..", "a b", "a\tb", "a/b", "a\\b", "a@b", "a:b", "a%2eb", "a\0b", "ä.example"),
        *("-a.example", "a-.example", "a" * 64, "a." * 130 + "a", "bücher.example", "xn--", "xn--a-.example", "xn--ü"),
        *("127.1", "0177.0.0.1", "127.0.0.01", "0x7f.0.0.1", "0x7f000001", "2130706433", "256.1.1.1", "1.2.3.4.5"),
        *("1.2.3", "0", "0x", "a.0", "a.0x1f", "127.0.0.1..", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021"),
        *("[::1", "::1]", "[]", "[::1]]", "[fe80::1%eth0]", "[fe80::1%25eth0]", "[127.0.0.1]", "[::127.0.0.256]"),
        *("[::1].example", "x[::1]", "*", "*.example.org"),
    ],
)
def test_what_has_no_one_form_is_refused(text: str):
    with pytest.raises(BadTarget):
        parse_host(text)


@pytest.mark.parametrize("hidden", ["a\u200bb", "\u202ea", "a\u00adb"])
def test_an_international_name_has_nothing_invisible_in_it(hidden: str):
    assert parse_host("xn--" + "b\u00fccher".encode("punycode").decode())
    with pytest.raises(BadTarget):
        parse_host("xn--" + hidden.encode("punycode").decode())


@given(st.text(max_size=60) | st.text("0123456789abcdefxX.:[]%-_", max_size=40))
@example("0")
@example("xn--a")
@example("xn--mp222222222222222222222222222222222l")
def test_a_host_is_settled(text: str):
    """What is taken means the same when it is read again, and to the system's own parser of addresses."""
    try:
        host = parse_host(text)
    except BadTarget:
        return
    again = f"[{host}]" if ":" in host else host
    assert parse_host(again) == host
    assert host.isascii()
    assert host == host.lower()
    if is_address(host):
        assert str(ipaddress.ip_address(host)) == host
        return
    # Not even inet_aton(3), which knows the old forms, takes a name for an address.
    with pytest.raises(OSError, match="illegal"):
        socket.inet_aton(host)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("example.org:443", Target("example.org", 443)),
        ("Example.org.:0443", Target("example.org", 443)),
        ("[::1]:8080", Target("::1", 8080)),
    ],
)
def test_authorities(text: str, target: Target):
    assert parse_authority(text) == target


@pytest.mark.parametrize(
    "text",
    ["a", "a:", ":1", "a:0", "a:65536", "a:+1", "a:1:2", "a: 1", "a:\uff11", "u@a:1", "u:p@a:1", "::1:1", "[::1]1"],
)
def test_bad_authorities(text: str):
    with pytest.raises(BadTarget):
        parse_authority(text)


@given(st.text(max_size=50) | st.from_regex(r"(\[[0-9a-f:.]{0,20}\]|[a-z0-9.@%-]{0,20}):?[0-9]{0,6}", fullmatch=True))
def test_an_authority_is_settled(text: str):
    try:
        target = parse_authority(text, 80)
    except BadTarget:
        return
    assert parse_authority(str(target)) == target
    assert parse_authority(target.authority, 80) == target
    assert 0 < target.port < 65_536


@pytest.mark.parametrize(
    ("text", "target", "path"),
    [
        ("http://example.org", Target("example.org", 80), "/"),
        ("HTTP://Example.org:8080/a?b", Target("example.org", 8080), "/a?b"),
        ("http://example.org?b", Target("example.org", 80), "/?b"),
        ("http://example.org/?", Target("example.org", 80), "/?"),
        ("http://example.org//a/../b;c=d", Target("example.org", 80), "//a/../b;c=d"),
        ("http://[::1]/", Target("::1", 80), "/"),
    ],
)
def test_addresses(text: str, target: Target, path: str):
    assert parse_url(text) == (target, path)


@pytest.mark.parametrize(
    "text",
    [
        *("http:/a", "http:a", "//a/", "https://a/", "ftp://a/", "http://a/#b", "http://a\\b/", "http://a b/"),
        *(
            "http://a@b/",
            "http://a/\n",
            "http://a/\t",
            "http://ä/",
            "http://[::1/",
            "http://a:b/",
            "http://a/" + "x" * 9000,
        ),
    ],
)
def test_bad_addresses(text: str):
    with pytest.raises(BadTarget):
        parse_url(text)


@given(st.text(max_size=80).map(lambda text: f"http://{text}") | st.text(max_size=40))
def test_an_address_is_settled(text: str):
    try:
        target, path = parse_url(text)
    except BadTarget:
        return
    assert path.startswith("/")
    assert path.isascii()
    assert " " not in path
    assert parse_url(f"http://{target.authority}{path}") == (target, path)


@pytest.mark.parametrize(
    ("path", "readings"),
    [
        ("/a/b?c", ("/a/b",)),
        ("/%61", ("/a",)),
        ("/a%20b", ("/a%20b", "/a b")),
        ("/a%3Ab", ("/a%3Ab", "/a:b")),
        ("/a;b/c", ("/a;b/c", "/a/c")),
        ("/a%3bb/c", ("/a%3bb/c", "/a;b/c", "/a/c")),
        ("/...", ("/...",)),
        ("/a..b/.c/d.", ("/a..b/.c/d.",)),
        ("/100%25", ("/100%25", "/100%")),
        *(
            (path, ())
            for path in (
                *("/a/../b", "/a/%2e%2E/b", "/a/.", "/a/..", "/a%2fb", "/a%5Cb", "//a", "/a//b", "/a%00", "/a%09"),
                *("/a\\b", "/a/..\\b"),
                *("/a/..;/b", "/a/..;x=1/b", "/a/.;/b", "/a/;/b", "/;a/b", "/a/%2e%2e%3b/b", "/a/..%3bx/b"),
                *("/a/%252e%252e/b", "/%2561", "/a%252fb", "/a/%c0%ae%c0%ae/b", "/a%c0%afb", "/a%e0%80%afb"),
            )
        ),
    ],
)
def test_paths_that_rules_compare(path: str, readings: tuple[str, ...]):
    assert path_readings(path) == readings


@given(st.text("/.;%25e2fF3bBaA?", max_size=20).map(lambda text: "/" + text))
def test_no_reading_of_a_path_leads_elsewhere(path: str):
    """Whatever a server unpacks or takes away, once: nothing in it climbs."""
    for reading in path_readings(path):
        for once in (reading, unquote(reading), re.sub(r";[^/]*", "", unquote(reading))):
            assert not {".", ".."} & set(once.split("/")), once
            assert "//" not in once
