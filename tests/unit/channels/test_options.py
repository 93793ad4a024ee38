"""A channel's options: what is wrong is named by its key."""

from typing import Annotated

import msgspec
import pytest

from nanoclawd.channels.adapter import InvalidOption
from nanoclawd.channels.options import read_options


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rate: float = 1.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5222
    limits: Limits = Limits()
    admins: tuple[str, ...] = ()


def test_what_is_right_is_read_with_its_defaults():
    found = read_options(Options, {"server": "example.org", "limits": {"rate": 2}, "admins": ["ada"]})
    assert found == Options("example.org", 5222, Limits(2.0), ("ada",))


@pytest.mark.parametrize(
    ("options", "key", "problem"),
    [
        ({}, "server", "is missing"),
        ({"server": 7}, "server", "expected `str`, got `int`"),
        ({"server": "x", "port": 0}, "port", "expected `int` >= 1"),
        ({"server": "x", "prot": 1}, "prot", "unknown key; known here: server, port, limits, admins"),
        ({"server": "x", "limits": {"rat": 1}}, "limits.rat", "unknown key"),
        ({"server": "x", "limits": {"rate": "fast"}}, "limits.rate", "expected `float`, got `str`"),
        ({"server": "x", "limits": 3}, "limits", "expected `object`, got `int`"),
        ({"server": "x", "admins": ["ada", 17]}, "admins[1]", "expected `str`, got `int`"),
        ({"server": "x", "\x1b[2J": 1}, "\\x1b[2J", "unknown key; known here: server, port, limits, admins"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(options: dict[str, object], key: str, problem: str):
    with pytest.raises(InvalidOption) as caught:
        read_options(Options, options)
    assert (caught.value.option, caught.value.message) == (key, problem)
