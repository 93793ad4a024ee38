"""Whatever an agent writes: its request has the secret at its place once, and what else it says is as it was. F-119."""

import base64
import tracemalloc
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.egress.rules import Asked
from nanoclawd.egress.secrets import Place, Sealed, Secret, Style
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.injection import Charged, Injection
from nanoclawd.gateway.door.kept_tokens import KeptTokens
from nanoclawd.gateway.door.redaction import redacted
from nanoclawd.gateway.door.tokens import AccessTokens
from nanoclawd.gateway.door.vault import Vault

VALUE = "v4lue+of/the=secret&more"
HOST = Target("api.test", 443)
PLACES = (Place("api.test"),)
NAMES = st.sampled_from(
    [b"Authorization", b"authorization", b"AUTHORIZATION", b"Cookie", b"cookie", b"X-Key", b"x-key", b"X-Other"]
)
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["key", "k%65y", "%6B%65%79", "KEY", "other", "", "key[]"]), st.sampled_from(["", "1", "a%26b"])
    ),
    max_size=6,
)
HEADERS = st.lists(st.tuples(NAMES, WORDS.map(str.encode)), max_size=8)


async def _nobody(_url: str, _form: bytes) -> tuple[int, bytes]:
    raise AssertionError("no token is asked for here")


async def charged(
    headers: list[tuple[bytes, bytes]], path: str, *secrets: Secret, sealed: dict[str, Sealed] | None = None
) -> Charged:
    """A request of a group's to the host, as it goes on; by default every secret has been entered for it."""
    entered = sealed or {secret.name: Sealed(VALUE, PLACES) for secret in secrets}
    injection = Injection(Vault(entered), AccessTokens(_nobody, KeptTokens(None)))  # type: ignore[arg-type]  # unused
    return await injection.charge("main", secrets, Asked(HOST, "GET", path, "https"), headers)


def named(found: Charged, name: bytes) -> list[bytes]:
    return [value for key, value in found.headers if key.lower() == name]


@given(headers=HEADERS, pairs=PAIRS, style=st.sampled_from(["bearer", "basic", "header", "query", "cookie"]))
async def test_it_is_there_once_and_the_rest_is_as_it_was(
    headers: list[tuple[bytes, bytes]], pairs: list[tuple[str, str]], style: Style
):
    parameter = {"header": "X-Key", "query": "key", "cookie": "session", "basic": "joe"}.get(style, "")
    query = "&".join(f"{name}={value}" for name, value in pairs)
    found = await charged(headers, f"/a/b?{query}" if pairs else "/a/b", Secret("one", PLACES, None, style, parameter))
    path, _, left = found.path.partition("?")
    assert path == "/a/b"
    expected = {
        "bearer": (b"authorization", f"Bearer {VALUE}".encode()),
        "basic": (b"authorization", b"Basic " + base64.b64encode(f"joe:{VALUE}".encode())),
        "header": (b"x-key", VALUE.encode()),
    }
    if style in expected:
        name, value = expected[style]
        assert named(found, name) == [value]
    replaced = expected.get(style, (b"cookie" if style == "cookie" else b"", b""))[0]
    others = [(name, value) for name, value in headers if name.lower() != replaced]
    assert [pair for pair in found.headers if pair[0].lower() not in (replaced, b"accept-encoding")] == others
    if style == "query":
        assert [value for name, value in parse_qsl(left, keep_blank_values=True) if name == "key"] == [VALUE]
        assert left.count("other=") == query.count("other=")
    else:
        assert left == query
    if style == "cookie":
        (cookie,) = named(found, b"cookie")
        assert cookie.endswith(f"session={VALUE}".encode())
        assert cookie.count(b"session=") == 1
    assert named(found, b"accept-encoding") == [b"identity"]


@given(before=WORDS, after=WORDS, names=st.lists(st.sampled_from(["one", "two", "three-four", "none"]), max_size=4))
async def test_a_placeholder_is_replaced_or_the_request_is_refused(before: str, after: str, names: list[str]):
    """No request with a placeholder in it goes on, and no secret but those that are named."""
    secrets = [Secret(name, PLACES, None, "placeholder") for name in ("one", "two", "three-four")]
    entered = {secret.name: Sealed(f"<value of {secret.name}>", PLACES) for secret in secrets}
    text = before + "|".join(f"nanoclaw-secret-{name}/" for name in names) + after
    headers, path = [(b"X", text.encode())], "/?q=" + quote(text, safe="-")
    if "none" in names:
        with pytest.raises(Denial, match="has no secret none"):
            await charged(headers, path, *secrets, sealed=entered)
        return
    found = await charged(headers, path, *secrets, sealed=entered)
    (value,) = named(found, b"x")
    assert b"nanoclaw-secret-" not in value
    assert "nanoclaw-secret-" not in found.path
    for name in entered:
        assert value.count(f"<value of {name}>".encode()) == names.count(name)
        assert found.path.count(quote(f"<value of {name}>", safe="")) == names.count(name)


async def test_the_closest_binding_wins():
    secrets = [
        Secret("wide", (Place("*.test"),)),
        Secret("host", PLACES),
        Secret("path", (Place("api.test", path="/v1/"),), None, "basic", "joe"),
        Secret("beside", PLACES, None, "header", "X-Key"),
    ]
    entered = {secret.name: Sealed(secret.name + "-value", secret.places) for secret in secrets}
    for path, expected in (("/v1/x", b"Basic " + base64.b64encode(b"joe:path-value")), ("/", b"Bearer host-value")):
        found = await charged([], path, *secrets, sealed=entered)
        assert named(found, b"authorization") == [expected]
        assert named(found, b"x-key") == [b"beside-value"]


@pytest.mark.parametrize(
    ("places", "groups"), [((Place("other.test"),), None), ((Place("api.test", 444),), None), (PLACES, ("other",))]
)
async def test_what_is_not_bound_here_changes_nothing(places: tuple[Place, ...], groups: tuple[str, ...] | None):
    headers = [(b"Authorization", b"mine"), (b"Accept-Encoding", b"br")]
    found = await charged(headers, "/?key=1", Secret("one", places, groups))
    assert (found.headers, found.path, found.needles) == (headers, "/?key=1", ())


async def test_no_representation_shows_a_secret():
    """Whatever logs one of these, or an exception with it."""
    found = await charged([], "/", Secret("one", PLACES), Secret("two", PLACES, None, "query", "key"))
    assert VALUE in str(found.headers)
    shown = repr(found) + repr(Sealed(VALUE, PLACES)) + repr(Vault({"one": Sealed(VALUE, PLACES)}))
    assert VALUE not in shown
    assert quote(VALUE, safe="") not in shown


async def test_a_semicolon_ends_no_cookie():
    with pytest.raises(Denial, match="cookie"):
        await charged([], "/", Secret("one", PLACES, None, "cookie", "a"), sealed={"one": Sealed("a;b", PLACES)})


@pytest.mark.parametrize(
    ("style", "parameter"), [("bearer", ""), ("header", "X-Key"), ("cookie", "a"), ("placeholder", "")]
)
async def test_what_ends_a_line_ends_no_header(style: Style, parameter: str):
    """Also a host that gives tokens could send more than one line."""
    headers = [(b"X", b"nanoclaw-secret-one")] if style == "placeholder" else []
    secret = Secret("one", PLACES, None, style, parameter)
    for value in ("a\r\nX-More: 1", "a\nb", " a", "a\0"):
        with pytest.raises(Denial, match="characters in it that a header can't have"):
            await charged(headers, "/", secret, sealed={"one": Sealed(value, PLACES)})


async def test_no_part_of_an_answer_is_asked_for_and_nothing_packed():
    """In a part of an answer could be a part of a secret, which nobody would find."""
    sent = [(b"Range", b"bytes=0-9"), (b"if-range", b'"x"'), (b"Accept-Encoding", b"br"), (b"X-Other", b"1")]
    found = await charged(sent, "/", Secret("one", PLACES, None, "header", "X-Key"))
    assert found.headers == [(b"X-Other", b"1"), (b"X-Key", VALUE.encode()), (b"Accept-Encoding", b"identity")]


async def test_what_another_request_has_brought_to_the_host_is_looked_for_too():
    """A secret of another path of the host: the host knows it, and may say it here."""
    bound = Secret("one", (Place("api.test", path="/v1/"),))
    found = await charged([], "/other", bound, sealed={"one": Sealed(VALUE, PLACES)})
    assert named(found, b"authorization") == []
    assert VALUE.encode() in found.needles


@pytest.mark.parametrize("user", [b"joe", b"\xff\xfe", b"\xc3"])
async def test_the_pair_that_an_agent_chooses_is_looked_for_as_it_is(user: bytes):
    """Also of a short secret, and with a user's name that is no text: no byte of the pair comes back."""
    told = base64.b64encode(user + b":nanoclaw-secret-one")
    found = await charged(
        [(b"Authorization", b"Basic " + told)],
        "/",
        Secret("one", PLACES, None, "placeholder"),
        sealed={"one": Sealed("pin45", PLACES)},
    )
    (sent,) = named(found, b"authorization")
    pair = sent.removeprefix(b"Basic ")
    assert base64.b64decode(pair) == user + b":pin45"
    assert redacted(b"you are " + pair, found.needles) == b"you are " + b"*" * len(pair)


async def test_what_an_agent_chooses_is_not_remembered():
    """A name of a user for each request fills no memory, and a long one costs no time."""
    secret = Secret("one", PLACES, None, "placeholder")
    injection = Injection(Vault({"one": Sealed(VALUE, PLACES)}), AccessTokens(_nobody, KeptTokens(None)))  # type: ignore[arg-type]  # unused

    async def ask(user: bytes) -> Charged:
        told = b"Basic " + base64.b64encode(user + b":nanoclaw-secret-one")
        return await injection.charge("main", [secret], Asked(HOST, "GET", "/", "https"), [(b"Authorization", told)])

    await ask(b"joe")
    tracemalloc.start()
    for number in range(200):
        await ask(b"joe%d" % number + b"x" * 900)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 256 * 1024
    with pytest.raises(Denial, match="too long"):
        await ask(b"x" * 20_000)
