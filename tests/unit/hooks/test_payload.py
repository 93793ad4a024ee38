"""What a program sends is read strictly, and never obeyed."""

import contextlib
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.hooks.payload import (
    EXCERPT_BYTES,
    INLINE_BYTES,
    MAX_EVENT_CHARACTERS,
    Payload,
    UnusableError,
    delivery_of,
    event_of,
    message_id,
    read,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def status(content_type: str, body: bytes) -> int:
    with pytest.raises(UnusableError) as found:
        read(content_type, body)
    return found.value.status


@given(JSON, st.sampled_from(["application/json", "Application/JSON; charset=utf-8", "application/cloudevents+json"]))
def test_json_is_handed_on_as_it_was_sent(value: object, kind: str):
    text = json.dumps(value, ensure_ascii=False)
    assert read(kind, text.encode(errors="replace")).suffix == ".json"
    assert read(kind, json.dumps(value).encode()) == Payload(json.dumps(value), ".json")


def test_forms_are_read_as_their_senders_mean_them():
    github = urlencode({"payload": '{"action": "opened"}'}).encode()
    form = "application/x-www-form-urlencoded"
    assert read(form, github) == Payload('{"action": "opened"}', ".json")
    assert json.loads(read(form, b"a=1&b=x%20y&a=2").text) == {"a": "2", "b": "x y"}
    # what curl -d sends where nobody says what it is
    assert read(form, b'{"a": 1}') == Payload('{"a": 1}', ".json")
    assert read(form, b"hello world") == Payload('{\n "hello world": ""\n}', ".json")


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json", b"{", 400),
        ("application/json", b'{"a": NaN}', 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b"1" * 5000, 400),
        ("application/json", b'"\xff"', 400),
        ("text/plain", b"\xff", 400),
        ("application/x-www-form-urlencoded", b"a=%ff", 400),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(600)), 400),
        ("application/x-www-form-urlencoded", urlencode({"payload": "no"}).encode(), 400),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/xml", b"<a/>", 415),
        ("image/png", b"\x89PNG", 415),
    ],
)
def test_what_is_no_payload_is_refused(kind: str, body: bytes, expected: int):
    assert status(kind, body) == expected


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "image/png"])
def test_a_mere_poke_has_no_body(kind: str):
    assert read(kind, b"") == Payload("", ".txt")


@given(st.text(max_size=40), st.binary(max_size=400))
def test_any_body_is_read_or_refused(kind: str, body: bytes):
    with contextlib.suppress(UnusableError):
        read(kind, body).text.encode()


@given(st.dictionaries(st.sampled_from(["x-github-event", "x-gitea-event", "x-other"]), st.text()), st.text())
def test_an_event_is_one_short_line(headers: dict[str, str], asked: str):
    for query in ({}, {"event": asked}):
        found = event_of(headers, query)
        assert len(found) <= MAX_EVENT_CHARACTERS
        assert found == " ".join(found.split())
        found.encode()


def test_the_url_says_the_event_before_the_forge_does():
    assert event_of({"x-github-event": "push"}, {}) == "push"
    assert event_of({"x-github-event": "push"}, {"event": "nightly"}) == "nightly"
    assert event_of({}, {}) == ""


def test_a_delivery_has_the_id_that_its_sender_gives_it():
    both = {"x-github-delivery": "72d3", "x-request-id": "of-a-proxy"}
    assert delivery_of(both) == "72d3"
    assert delivery_of({**both, "idempotency-key": "mine"}) == "mine"
    assert delivery_of({"x-request-id": "1"}) == "1"
    assert delivery_of({}) is None
    assert len(delivery_of({"x-request-id": "x" * 8000}) or "") == 64


@given(st.text(), st.text())
def test_ids_are_printable_and_no_two_deliveries_meet(one: str, other: str):
    first, second = message_id("hk-1", one), message_id("hk-1", other)
    assert first.isascii()
    assert first.isprintable()
    assert (first == second) == (one.encode(errors="replace") == other.encode(errors="replace"))
    assert message_id("hk-2", one) != first


def test_a_long_payload_has_an_excerpt():
    short = Payload("ä" * (INLINE_BYTES // 2), ".txt")
    assert not short.is_long
    long = Payload(short.text + "x", ".json")
    assert long.is_long
    assert len(long.excerpt.encode()) < EXCERPT_BYTES + 200
    assert f"it has {INLINE_BYTES + 1} bytes" in long.excerpt
