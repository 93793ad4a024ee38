"""``ncl hooks``: the secret is shown once and with what to type next; a test goes the way of a sender."""

import asyncio
import json
import socket

import pytest

from nanoclawd.channels.http_listener import HttpListener
from nanoclawd.channels.http_routes import Reply, Request
from nanoclawd.cli import hooks
from nanoclawd.cli.outcome import CommandError

HOOK = {
    "name": "ci",
    "group": "main",
    "channel": "loop",
    "chat": "room",
    "auth": "bearer",
    "header": "authorization",
    "url": "http://127.0.0.1:8642/hooks/ci",
}


def told(capsys: pytest.CaptureFixture[str], **more: object) -> str:
    hooks._tell({"hook": {**HOOK, **more}, "secret": "s3cret", "next": None}, as_json=False)
    return capsys.readouterr().out


def test_a_line_that_works_is_printed_with_the_secret(capsys: pytest.CaptureFixture[str]):
    out = told(capsys)
    assert "Secret: s3cret" in out
    assert "-H 'authorization: Bearer s3cret' http://127.0.0.1:8642/hooks/ci" in out
    assert "-H 'x-gitlab-token: s3cret'" in told(capsys, header="x-gitlab-token")
    assert "openssl dgst -sha256 -hmac s3cret" in told(capsys, auth="hmac-sha256", header="x-hub-signature-256")


def test_what_to_type_next_is_said_where_nothing_listens(capsys: pytest.CaptureFixture[str]):
    hooks._tell({"hook": HOOK, "secret": "x", "next": "sudo systemctl enable --now a.socket"}, as_json=False)
    assert "Next: sudo systemctl enable --now a.socket" in capsys.readouterr().out
    hooks._tell({"hook": HOOK, "secret": "x", "next": None}, as_json=True)
    assert json.loads(capsys.readouterr().out)["secret"] == "x"


def test_a_test_that_reaches_nobody_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(CommandError) as found:
        hooks._post(f"http://127.0.0.1:{port}/hooks/ci", "ticket", "sudo systemctl enable --now a.socket")
    assert found.value.hint == "sudo systemctl enable --now a.socket"
    for url in ("", "http://\x1b[31m/", "http://127.0.0.1:x/hooks"):
        with pytest.raises(CommandError):
            hooks._post(url, "ticket", None)


async def test_a_test_is_a_sender_s_request_with_a_ticket():
    seen: list[Request] = []

    async def handle(request: Request) -> Reply:
        seen.append(request)
        return Reply(202, {"accepted": "one"})

    listener = HttpListener()
    listener.register("/hooks", handle)
    passed = socket.create_server(("127.0.0.1", 0))
    port = passed.getsockname()[1]
    listener.open([passed])
    answer = await asyncio.to_thread(hooks._post, f"http://127.0.0.1:{port}/hooks/ci", "ticket", None)
    await listener.close()
    assert answer == (202, {"accepted": "one"})
    (request,) = seen
    assert (request.path, request.query, request.headers["authorization"]) == ("ci", {"event": "test"}, "Bearer ticket")
