"""Values of secrets as systemd hands them over: what is unusable is told without a word of it, and left out. F-119."""

import json
import logging
from pathlib import Path

import pytest

from nanoclawd.egress.secrets import CREDENTIAL_PREFIX
from nanoclawd.gateway.door import vault

CANARY = "canary-0123456789"
PLACES = [{"host": "api.test"}]


def stored(directory: Path, name: str, content: bytes) -> None:
    (directory / f"{CREDENTIAL_PREFIX}{name}").write_bytes(content)


def test_what_was_entered_is_there_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored(tmp_path, "key", json.dumps({"value": CANARY, "places": PLACES}).encode())
    (tmp_path / "nanoclaw-gateway.anthropic").write_text("another kind of credential")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = vault.load()
    sealed = found.get("key")
    assert sealed is not None
    assert (sealed.value, sealed.places[0].host, sealed.places[0].port) == (CANARY, "api.test", 443)
    assert found.get("anthropic") is None
    assert CANARY not in f"{found!r} {sealed!r}"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert vault.load().get("key") is None


@pytest.mark.parametrize(
    "content",
    [
        *(CANARY.encode(), b"\xff", b"", b"[" * 50_000, json.dumps({"value": CANARY}).encode()),
        *(
            json.dumps({"value": value, "places": PLACES}).encode()
            for value in (f"{CANARY}\n", f" {CANARY}", f"{CANARY}\r\nX: 1", f"{CANARY}\x00", f"{CANARY}\t", "")
        ),
        json.dumps({"value": CANARY, "places": PLACES, "more": 1}).encode(),
        json.dumps({"value": CANARY * 5000, "places": PLACES}).encode(),
    ],
    ids=range(13),
)
def test_what_is_unusable_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes):
    stored(tmp_path, "bad", content)
    stored(tmp_path, "good", json.dumps({"value": "v", "places": PLACES}).encode())
    found = vault.load(str(tmp_path))
    assert found.get("bad") is None
    assert found.get("good") is not None
    (told,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the secret bad " in told.getMessage()
    assert CANARY not in caplog.text
