"""The rules alone: targets, uids, credentials."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoclawd.config import Endpoint
from nanoclawd.errors import NanoclawError
from nanoclawd.gateway.credentials import MAX_CREDENTIAL_BYTES, Credentials, load_credentials
from nanoclawd.gateway.policy import Agent, SubordinateRange, container_uid, route, subordinate_ranges
from nanoclawd.gateway.refusals import Refusal

ENDPOINTS = {"a": Endpoint(url="https://a.example/v1"), "b": Endpoint(socket="/run/b.sock", base="/v1")}
AGENT = Agent(uid=1001, group="main", endpoints=("a", "b"))

segment = st.sampled_from(
    ["a", "b", "c", "..", ".", "", "chat", "completions", "models", "%2e%2e", "v1", "?", "#", "@", "\\"]
)
targets = st.one_of(st.text(max_size=60), st.lists(segment, max_size=6).map(lambda parts: "/" + "/".join(parts)))


@given(method=st.sampled_from(["GET", "POST", "PUT", "get", ""]), target=targets)
def test_whatever_is_asked_goes_to_an_allowed_path_or_nowhere(method: str, target: str):
    allowed = {f"{found.address()}/{path}" for found in ENDPOINTS.values() for path in found.allowed_paths()}
    try:
        found = route(AGENT, method, target, ENDPOINTS)
    except Refusal:
        return
    address, _, query = found.url.partition("?")
    assert address in allowed
    assert method in {"GET", "POST"}
    assert query.isascii()
    assert not set(query) & set("/?#%@ \r\n")


@given(st.sampled_from(sorted(ENDPOINTS)), st.sampled_from(ENDPOINTS["a"].allowed_paths()))
def test_every_allowed_path_is_found(name: str, path: str):
    found = route(AGENT, "POST", f"/{name}/{path}", ENDPOINTS)
    assert (found.name, found.url) == (name, f"{ENDPOINTS[name].address()}/{path}")


def test_an_endpoint_has_only_its_own_paths():
    narrow = {"a": Endpoint(url="https://a.example", paths=("messages",))}
    assert route(AGENT, "POST", "/a/messages", narrow).url == "https://a.example/messages"
    with pytest.raises(Refusal, match="forwards only messages"):
        route(AGENT, "POST", "/a/chat/completions", narrow)


def test_uids_map_as_podman_maps_them(tmp_path: Path):
    file = tmp_path / "subuid"
    file.write_text("root:1:1\nnanoclaw:200000:1000\n\nbroken\nnanoclaw:x:5\nnanoclaw2:1:1\nnanoclaw:400000:65536\n")
    ranges = subordinate_ranges("nanoclaw", file)
    assert ranges == [SubordinateRange(200_000, 1000), SubordinateRange(400_000, 65_536)]
    assert container_uid(200_000, ranges) == 1
    assert container_uid(200_999, ranges) == 1000
    assert container_uid(400_000, ranges) == 1001
    for outside in (0, 199_999, 201_000, 465_536):
        assert container_uid(outside, ranges) is None


@given(st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 1000)), max_size=4), st.integers(0, 2**20))
def test_a_container_uid_is_positive_and_bounded(pairs: list[tuple[int, int]], host_uid: int):
    ranges = [SubordinateRange(start, count) for start, count in pairs]
    uid = container_uid(host_uid, ranges)
    assert uid is None or 1 <= uid <= sum(count for _, count in pairs)


@pytest.mark.parametrize("content", ["", "somebody:1:1\n", None])
def test_no_subordinate_uids_is_one_clear_error(tmp_path: Path, content: str | None):
    file = tmp_path / "subuid"
    if content is not None:
        file.write_text(content)
    with pytest.raises(NanoclawError, match="subuid"):
        subordinate_ranges("nanoclaw", file)


def test_credentials_are_read_by_their_prefixed_name(tmp_path: Path):
    (tmp_path / "nanoclaw-gateway.one").write_bytes(b"sk-1\n")
    (tmp_path / "two").write_bytes(b"sk-2")
    found = load_credentials(["one", "two"], str(tmp_path))
    assert found.key("one") == "sk-1"
    with pytest.raises(Refusal, match="ncl credentials put nanoclaw-gateway"):
        found.key("two")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"a\nb", b"a\r\nX-Header: 1", "schlüssel".encode(), b"a b", b"x" * (MAX_CREDENTIAL_BYTES + 1)],
)
def test_an_unusable_credential_is_left_out(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture):
    (tmp_path / "nanoclaw-gateway.bad").write_bytes(content)
    with pytest.raises(Refusal):
        load_credentials(["bad"], str(tmp_path)).key("bad")
    assert '"bad"' in caplog.text
    assert "X-Header" not in caplog.text


def test_a_credential_is_never_shown():
    credentials = Credentials({"name": "sk-secret"})
    assert "sk-secret" not in repr(credentials) + str(credentials) + f"{credentials}"
    assert credentials.redact(b"a sk-secret b") == b"a [name] b"
