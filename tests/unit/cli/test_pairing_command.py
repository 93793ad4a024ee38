"""``ncl channels pair`` and ``ncl telegram pair``: code, link and QR code, and what came of it (F-177)."""

import json
import sys

import pytest
from varlink_stub import Stub

from nanoclawd.cli.__main__ import main

WAITING = {
    "id": "0123456789abcdef", "channel": "telegram", "code": "ABCDE-FGHIJ", "account": "@kitchen_bot",
    "link": "https://t.me/kitchen_bot?start=ABCDE-FGHIJ", "expires_at": "2026-01-01T00:10:00.000Z", "state": "waiting",
    "reason": None, "user": None, "name": None, "role": None, "group": None,
}  # fmt: skip
PAIRED = WAITING | {"state": "paired", "user": "telegram:1", "name": "Ann", "role": "the owner", "group": "main"}
ENDED = WAITING | {"state": "ended", "reason": "5 wrong codes were sent"}


@pytest.fixture
def platform(stub: Stub) -> Stub:
    stub.replies |= {
        "Channels.List": {
            "channels": [{"name": "telegram", "type": "telegram"}, {"name": "terminal", "type": "terminal"}]
        },
        "Channels.Pair": {"pairing": WAITING},
        "Channels.AwaitPairing": {"pairing": PAIRED},
    }
    return stub


def run(platform: Stub, command: list[str]) -> int:
    code = main(["--socket", platform.path, *command])
    assert not platform.faults
    return code


@pytest.mark.parametrize(
    "command", [["channels", "pair", "telegram"], ["telegram", "pair"], ["telegram", "pair", "telegram"]]
)
def test_what_is_shown_is_enough(platform: Stub, command: list[str], capsys: pytest.CaptureFixture[str]):
    assert run(platform, command) == 0
    shown = capsys.readouterr().out
    for words in ("https://t.me/kitchen_bot?start=ABCDE-FGHIJ", "@kitchen_bot", "    ABCDE-FGHIJ\n", "ten minutes"):
        assert words in shown
    assert "Paired: Ann (telegram:1) is the owner.\nmain answers there." in shown
    assert "\N{LOWER HALF BLOCK}" not in shown, "no drawing where nobody sees it"


def test_a_terminal_is_drawn_a_code(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(platform, ["channels", "pair", "telegram"]) == 0
    assert "\N{LOWER HALF BLOCK}" in capsys.readouterr().out


def test_options_are_passed_on(platform: Stub, capsys: pytest.CaptureFixture[str]):
    assert run(platform, ["channels", "pair", "telegram", "--group", "main", "--role", "admin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["user"] == "telegram:1"
    assert ("Channels.Pair", {"channel": "telegram", "group": "main", "role": "admin"}) in platform.calls


def test_nobody_came(platform: Stub, capsys: pytest.CaptureFixture[str]):
    platform.replies["Channels.AwaitPairing"] = {"pairing": ENDED}
    assert run(platform, ["channels", "pair", "telegram"]) == 1
    assert "5 wrong codes were sent" in capsys.readouterr().err


def test_a_platform_without_links(platform: Stub, capsys: pytest.CaptureFixture[str]):
    platform.replies["Channels.Pair"] = {"pairing": WAITING | {"link": None, "account": None}}
    platform.replies["Channels.AwaitPairing"] = {"pairing": PAIRED | {"group": None, "name": None}}
    assert run(platform, ["channels", "pair", "telegram"]) == 0
    shown = capsys.readouterr().out
    assert "Send this code to the account, in a direct chat" in shown
    assert "ncl groups create" in shown


@pytest.mark.parametrize("names", [[], ["telegram-work", "telegram-home"]])
def test_without_a_name_there_must_be_one(platform: Stub, names: list[str], capsys: pytest.CaptureFixture[str]):
    platform.replies["Channels.List"] = {"channels": [{"name": name, "type": "telegram"} for name in names]}
    assert run(platform, ["telegram", "pair"]) != 0
    assert "ncl " in capsys.readouterr().err
