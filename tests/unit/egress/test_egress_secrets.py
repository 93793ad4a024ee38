"""Where secrets go (F-119): only to the places that they are bound to, in requests of the groups that have them."""

import msgspec
import pytest

from nanoclawd.egress.secrets import OAuth, Place, Sealed, Secret, for_host
from nanoclawd.egress.targets import Target

API = Place("api.example.org", path="/v1/")
FORGE = Secret("forge", (API, Place("*.files.example.org")), groups=("main",))
HOME = Secret("home", (Place("home.lan", 8123, scheme="http"),), style="header", parameter="X-Key")


def names(group: str, scheme: str, host: str, port: int) -> list[str]:
    """Return the secrets that fit."""
    return [one.name for one in for_host((FORGE, HOME), group, scheme, Target(host, port))]  # type: ignore[arg-type]


def test_a_secret_goes_to_its_hosts_alone() -> None:
    assert names("main", "https", "api.example.org", 443) == ["forge"]
    assert names("main", "https", "a.files.example.org", 443) == ["forge"]
    assert not names("main", "https", "files.example.org", 443)
    assert not names("main", "https", "api.example.org.evil.example", 443)
    assert not names("main", "https", "api.example.org", 8443)


def test_a_secret_is_never_sent_in_the_clear_unless_it_was_bound_so() -> None:
    assert not names("main", "http", "api.example.org", 443)
    assert names("other", "http", "home.lan", 8123) == ["home"]
    assert not names("other", "https", "home.lan", 8123)


def test_another_groups_secret_is_none() -> None:
    assert not names("other", "https", "api.example.org", 443)


@pytest.mark.parametrize("path", ["/v1/a", "/v1/a?b=/../c", "/%761/a"])
def test_a_path_is_a_prefix(path: str) -> None:
    assert API.fits_path(path)


@pytest.mark.parametrize("path", ["/", "/v2/a", "/v1/../v2", "/v1/%2e%2e/v2", "/v1%2fa", "//v1/a", "/V1/a"])
def test_a_path_that_can_be_read_in_two_ways_is_another_one(path: str) -> None:
    assert not API.fits_path(path)


def test_no_secret_is_in_what_a_log_shows() -> None:
    sealed = Sealed("s3cret-value", (API,), OAuth("https://id.example.org/token", "us", "0ther-secret"))
    assert "s3cret" not in repr(sealed)
    assert "0ther" not in repr(sealed)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a/b", "a" * 41, "a\n"])
def test_a_name_is_a_files_name(name: str) -> None:
    content = msgspec.json.encode({"name": name, "places": [{"host": "a.example"}]})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(content, type=Secret)
