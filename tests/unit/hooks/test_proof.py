"""Who has a hook's secret is known by it, and nobody else is (W-56)."""

import base64
import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.hooks import proof
from nanoclawd.hooks.pace import Pace
from nanoclawd.hooks.proof import BEARER, HMAC, hashed, new_secret, proven, signature_of, token_of
from nanoclawd.hooks.tickets import LASTS_SECONDS, Tickets

ANY_HEADERS = st.dictionaries(st.sampled_from(["authorization", "x-hub-signature-256", "x-token"]), st.text())
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""Of the body and secret in GitHub's documentation, "Validating webhook deliveries"."""


def signed(secret: str, body: bytes) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).digest()


def test_github_s_own_example_is_right():
    headers = {"x-hub-signature-256": GITHUB}
    secret = b"It's a Secret to Everybody"
    assert proven(HMAC, "x-hub-signature-256", headers, b"Hello, World!", None, secret)
    assert not proven(HMAC, "x-hub-signature-256", headers, b"Hello, World?", None, secret)
    assert not proven(HMAC, "x-gitea-signature", headers, b"Hello, World!", None, secret)


@given(st.binary(max_size=200), st.sampled_from(["hex", "HEX", "prefixed", "base64"]))
def test_a_signature_may_be_written_as_senders_write_it(body: bytes, form: str):
    secret = new_secret()
    made = signed(secret, body)
    written = {
        "hex": made.hex(),
        "HEX": f" {made.hex().upper()} ",
        "prefixed": f"SHA256={made.hex()}",
        "base64": base64.b64encode(made).decode(),
    }[form]
    assert proven(HMAC, "x-sign", {"x-sign": written}, body, None, secret.encode())
    assert not proven(HMAC, "x-sign", {"x-sign": written}, body + b"x", None, secret.encode())
    assert not proven(HMAC, "x-sign", {"x-sign": written}, body, None, new_secret().encode())
    assert not proven(BEARER, "x-sign", {"x-sign": written}, body, hashed(secret), None)


def test_a_token_is_where_the_hook_says_and_nowhere_else():
    secret = new_secret()
    right = {"authorization": f"bEARER  {secret} "}
    assert proven(BEARER, "authorization", right, b"", hashed(secret), None)
    assert proven(BEARER, "x-gitlab-token", {"x-gitlab-token": secret}, b"", hashed(secret), None)
    for wrong in ({"authorization": secret}, {"authorization": f"Basic {secret}"}, {"x-token": secret}, {}):
        assert not proven(BEARER, "authorization", wrong, b"", hashed(secret), None)
    assert not proven(BEARER, "authorization", right, b"", hashed(new_secret()), None)


@given(
    ANY_HEADERS, st.binary(max_size=100), st.sampled_from([BEARER, HMAC]), st.sampled_from(["x-token", "authorization"])
)
def test_nothing_is_proven_without_a_secret(headers: dict[str, str], body: bytes, auth: str, header: str):
    """Also where the hook has none, or is not there."""
    assert not proven(auth, header, headers, body, None, None)
    assert not proven(auth, header, headers, body, hashed(new_secret()), new_secret().encode())
    token_of(headers, header)
    found = signature_of(headers, header)
    assert found is None or len(found) == 32


def test_an_empty_token_is_none():
    assert not proven(BEARER, "x-token", {"x-token": ""}, b"", hashed(""), None)


def test_what_is_secret_is_compared_in_constant_time():
    """Every comparison is ``hmac.compare_digest``: no operator of the language says where two texts differ."""
    source = Path(proof.__file__).read_text(encoding="utf-8")
    body = source[source.index("def proven") :]
    assert body.count("compare_digest") == 2
    assert "secret_hash ==" not in body
    assert "wanted ==" not in body


@pytest.mark.parametrize("attempt", range(3))
def test_secrets_are_long_and_never_the_same(attempt: int):
    del attempt
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(base64.urlsafe_b64decode(one + "=")) == 32 for one in made)


def test_a_ticket_lets_one_request_in_for_one_hook_within_a_minute():
    now = [0.0]
    tickets = Tickets(lambda: now[0])
    headers = {"authorization": f"Bearer {tickets.issue('a')}"}
    assert not tickets.redeem("b", headers)
    assert tickets.redeem("a", headers)
    assert not tickets.redeem("a", headers)
    late = {"authorization": f"Bearer {tickets.issue('a')}"}
    now[0] = LASTS_SECONDS
    assert not tickets.redeem("a", late)
    many = [tickets.issue("a") for _ in range(1000)]
    assert not tickets.redeem("a", {"authorization": f"Bearer {many[0]}"})
    assert tickets.redeem("a", {"authorization": f"Bearer {many[-1]}"})


def test_a_hook_takes_so_many_a_minute_and_no_other_hook_s():
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert [pace.wait("a", 30) for _ in range(31)] == [0] * 30 + [2]
    assert pace.wait("b", 30) == 0
    now[0] = 2.0
    assert [pace.wait("a", 30) for _ in range(2)] == [0, 2]
    now[0] = 10_000.0
    assert [pace.wait("a", 30) for _ in range(31)] == [0] * 30 + [2]
    assert pace.wait("c", 1) == 0
    assert pace.wait("c", 1) == 60


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=200), st.integers(min_value=1, max_value=600))
def test_no_minute_ever_has_more_than_twice_as_many(steps: list[float], per_minute: int):
    now = [0.0]
    pace = Pace(lambda: now[0])
    taken = []
    for step in steps:
        now[0] += step
        if pace.wait("a", per_minute) == 0:
            taken.append(now[0])
    for begin in taken:
        assert sum(begin <= one < begin + 60 for one in taken) <= 2 * per_minute
