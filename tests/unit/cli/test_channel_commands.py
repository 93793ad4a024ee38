"""``ncl channels`` and ``ncl credentials`` for programs and people; on a real terminal the system tests do it."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from varlink_stub import Stub

from memory_backend.process import Daemon
from nanoclawd.cli.__main__ import main

CHANNEL = {
    "name": "telegram", "type": "telegram", "platform": "telegram", "origin": "command", "state": "ok", "detail": "",
    "hint": None, "since": "2026-01-01T00:00:00.000Z", "next_try_at": None, "last_event_at": None, "last_error": None,
    "last_error_at": None, "backlog": 0, "set_aside": 0, "threads": True, "buttons": True, "edits": True,
    "reactions": True,
}  # fmt: skip
SETUP = {"type": "telegram", "secret": "bot token", "hint": "Ask @BotFather.", "questions": []}
QUESTION = {"option": "homeserver", "text": "homeserver", "hint": None, "default": None, "required": True}
TESTED = {"channel": CHANNEL, "account": "@kitchen_bot", "next_step": "ncl channels pair telegram"}


@pytest.fixture
def platform(stub: Stub) -> Stub:
    stub.replies |= {
        "Channels.List": {"channels": []},
        "Channels.Setup": {"setup": SETUP},
        "Channels.Show": {"channel": CHANNEL, "options": [], "events": []},
        "Channels.Test": TESTED,
        "Credentials.Put": {
            "credential": {"name": "nanoclawd.telegram", "consumer": "nanoclawd", "stored_at": None},
            "taken": "restarted",
        },
    }
    return stub


def given(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def called(stub: Stub) -> list[str]:
    assert not stub.faults
    return [name for name, _ in stub.calls]


def test_a_channel_is_added_with_its_secret_from_standard_input(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """It is written down, gets its secret, and only then connects; the last line says what to do."""
    given(monkeypatch, b"  4711:AAF-secret \n")
    assert main(["--socket", platform.path, "channels", "add", "telegram"]) == 0
    said = capsys.readouterr().out
    steps = ["List", "Setup", "Add", "Put", "Enable", "Test"]
    assert [name.partition(".")[2] for name in called(platform)] == steps
    sent: dict[str, Any] = dict(platform.calls)
    assert sent["Channels.Add"] == {"name": "telegram", "type": "telegram", "options": [], "disabled": True}
    assert sent["Credentials.Put"] == {"name": "nanoclawd.telegram", "value": "4711:AAF-secret"}
    assert "4711" not in said
    assert said.splitlines()[0] == "Ask @BotFather."
    assert said.splitlines()[-2:] == ["Channel telegram is up, as @kitchen_bot.", "Next: ncl channels pair telegram"]


def test_what_a_type_needs_and_nobody_gave_is_named(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    platform.replies["Channels.Setup"] = {"setup": {**SETUP, "questions": [QUESTION]}}
    given(monkeypatch, b"token")
    assert main(["--socket", platform.path, "channels", "add", "telegram", "work"]) == 2
    assert "the homeserver is missing\nTry: --option homeserver=VALUE" in capsys.readouterr().err
    assert "Channels.Add" not in called(platform)
    given(monkeypatch, b"token")
    line = ["channels", "add", "telegram", "work", "--option", "homeserver=https://x"]
    assert main(["--socket", platform.path, *line]) == 0
    assert dict(platform.calls)["Channels.Add"]["options"] == ["homeserver=https://x"]
    assert dict(platform.calls)["Credentials.Put"]["name"] == "nanoclawd.work"


@pytest.mark.parametrize("secret", [b"", b" \n", b"\xff\xfe", b"x" * 70_000], ids=["none", "blank", "binary", "long"])
def test_without_a_usable_secret_nothing_is_added(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], secret: bytes
):
    given(monkeypatch, secret)
    assert main(["--socket", platform.path, "channels", "add", "telegram"]) != 0
    assert called(platform)[-1] == "Channels.Remove"
    assert "Credentials.Put" not in called(platform)
    said = capsys.readouterr()
    assert "Nothing was added." in said.out
    assert "the bot token" in said.err or "there is no bot token" in said.err


def test_a_wrong_secret_is_told_with_the_platforms_words_and_the_next_command(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    failed = {**CHANNEL, "state": "failed", "detail": "the token was refused", "hint": "ncl channels login telegram"}
    platform.replies["Channels.Test"] = {"channel": failed, "account": None, "next_step": None}
    given(monkeypatch, b"wrong")
    assert main(["--socket", platform.path, "channels", "add", "telegram"]) == 1
    assert capsys.readouterr().err == (
        "ncl: channel telegram is failed: the token was refused\nTry: ncl channels login telegram\n"
    )
    assert main(["--socket", platform.path, "channels", "test", "telegram"]) == 1
    given(monkeypatch, b"right")
    platform.replies["Channels.Test"] = TESTED
    assert main(["--socket", platform.path, "channels", "login", "telegram"]) == 0
    assert called(platform)[-4:] == ["Channels.Show", "Channels.Setup", "Credentials.Put", "Channels.Test"]


def test_a_daemon_that_does_not_come_back_is_told(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    platform.replies["Credentials.Put"] = {**platform.replies["Credentials.Put"], "taken": "failed"}
    given(monkeypatch, b"secret")
    assert main(["--socket", platform.path, "channels", "add", "telegram"]) == 1
    assert "is stored, but nanoclawd could not be restarted" in capsys.readouterr().err
    assert called(platform)[-1] == "Credentials.Put"


def test_removing_takes_the_secret_along(platform: Stub, capsys: pytest.CaptureFixture[str]):
    stored = {"name": "nanoclawd.telegram", "consumer": "nanoclawd", "stored_at": None}
    platform.replies["Credentials.List"] = {"credentials": [stored]}
    assert main(["--socket", platform.path, "channels", "remove", "telegram"]) == 0
    assert dict(platform.calls)["Credentials.Delete"] == {"name": "nanoclawd.telegram"}
    assert capsys.readouterr().out == "removed: telegram, with its secret\n"
    platform.errors["Credentials.Delete"] = ("Credentials.Failed", {"message": "read-only", "hint": None})
    assert main(["--socket", platform.path, "channels", "remove", "telegram"]) == 1
    assert capsys.readouterr().err == "ncl: read-only\n"
    # Without one, and where the configuration file's channel of that name goes on with it, nothing is deleted.
    both = {"channel": {**CHANNEL, "origin": "both"}, "options": [], "events": []}
    for replies in ({"Credentials.List": {"credentials": [{**stored, "name": "other"}]}}, {"Channels.Show": both}):
        platform.replies |= {"Credentials.List": {"credentials": [stored]}, **replies}
        assert main(["--socket", platform.path, "channels", "remove", "telegram"]) == 0
        assert capsys.readouterr().out == "removed: telegram\n"


@pytest.mark.parametrize(
    ("taken", "words"),
    [("restarted", "was restarted"), ("restarting", "as soon as running answers"), ("stopped", "does not run")],
)
def test_a_credential_is_stored_and_what_became_of_its_service_said(
    platform: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], taken: str, words: str
):
    given(monkeypatch, b"sk-secret\n")
    platform.replies["Credentials.Put"] = {**platform.replies["Credentials.Put"], "taken": taken}
    assert main(["--socket", platform.path, "credentials", "put", "nanoclaw-gateway.openai"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("stored: nanoclaw-gateway.openai\nnanoclaw-gateway ")
    assert words in said
    assert "sk-" not in said
    assert platform.calls == [("Credentials.Put", {"name": "nanoclaw-gateway.openai", "value": "sk-secret"})]


def test_without_the_service_it_says_how_to_start_it(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("NANOCLAW_CREDENTIALS_SOCKET", "/nowhere/at/all.sock")
    assert main(["--socket", stub.path, "credentials"]) == 3
    assert "Try: sudo systemctl start nanoclaw-credentials.socket" in capsys.readouterr().err


def test_a_channels_life_by_ncl(daemon: Daemon):
    """W-68: shown, judged and cleared by commands alone."""
    added = daemon.ncl("channels", "add", "carrier", "home", "-o", "loft=barn", "--disabled", stdin=b"")
    assert added.returncode == 2, "its secret is missing"
    with_secret = daemon.ncl("channels", "update", "home", "-o", "loft=barn")
    assert (with_secret.returncode, b"there is no channel 'home'" in with_secret.stderr) == (1, True)
    assert daemon.json("channels", "types") == ["carrier"]
    shown = daemon.ncl("channels", "show", "telegram").stdout.decode()
    assert "poll=30" in shown
    assert "the token was refused" in shown
    assert "update-7" in shown
    assert "Forget them: ncl channels clear telegram" in shown
    refused = daemon.ncl("channels", "disable", "telegram")
    assert b"was not added by command: config.yaml:7: channels.telegram" in refused.stderr
    (listed,) = [one for one in daemon.json("channels") if one["name"] == "telegram"]
    assert (listed["origin"], listed["backlog"], listed["set_aside"]) == ("configuration", 2, 1)
    assert daemon.ncl("channels", "clear", "telegram").stdout == b"1 event forgotten\n"
    assert daemon.json("channels", "show", "telegram")["events"] == []
    assert json.loads(daemon.ncl("channels", "test", "telegram", "--json").stdout)["error"]["code"] == 1


def test_keys_are_exported_into_a_new_file_that_is_nobody_elses(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stub.replies["Channels.ExportKeys"] = {"part": "-----BEGIN MEGOLM SESSION DATA-----\n"}
    file = tmp_path / "keys.txt"
    given(monkeypatch, b"a passphrase\n")
    assert main(["--socket", stub.path, "channels", "keys", "export", "mx", str(file)]) == 0
    assert dict(stub.calls)["Channels.ExportKeys"] == {"channel": "mx", "passphrase": "a passphrase"}
    assert file.read_text() == "-----BEGIN MEGOLM SESSION DATA-----\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(file) in capsys.readouterr().out
    # It is not written over, and nobody is asked for it.
    given(monkeypatch, b"a passphrase\n")
    before = len(called(stub))
    assert main(["--socket", stub.path, "channels", "keys", "export", "mx", str(file)]) == 5
    assert len(called(stub)) == before
    assert "is there already" in capsys.readouterr().err


def test_keys_are_imported_from_a_file(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The daemon gets the file's bytes, and no path."""
    file = tmp_path / "element-keys.txt"
    file.write_text("the keys")
    stub.replies |= {"Chat.Upload": {"size": 8}, "Channels.ImportKeys": {"new": 12}}
    given(monkeypatch, b"a passphrase\n")
    assert main(["--socket", stub.path, "channels", "keys", "import", "mx", str(file)]) == 0
    sent: dict[str, Any] = dict(stub.calls)
    assert sent["Channels.ImportKeys"] == {
        "channel": "mx", "passphrase": "a passphrase", "upload": sent["Chat.Upload"]["upload"],
    }  # fmt: skip
    assert str(tmp_path) not in json.dumps(stub.calls)
    assert "12 keys are new" in capsys.readouterr().out


def test_a_passphrase_is_typed_twice_before_anything_is_encrypted_with_it(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    typed = iter(["one", "another"])
    given(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    assert main(["--socket", stub.path, "channels", "keys", "export", "mx", str(tmp_path / "keys.txt")]) == 2
    assert not called(stub)
    assert "another passphrase" in capsys.readouterr().err
