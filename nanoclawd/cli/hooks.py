"""``ncl hooks``: what shows a secret, and what goes the way of a sender."""

import argparse
import json
from contextlib import closing
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

_HTTP_SECONDS = 30.0
_ACCEPTED = 202
_MAX_ANSWER = 65536
_SAMPLE = {"text": "This is a test of the hook, sent by: ncl hooks test"}


def create(given: argparse.Namespace) -> int:
    """Make a hook and print its secret."""
    wanted = ("name", "group", "to", "auth", "header", "rate")
    parameters = {name: value for name in wanted if (value := getattr(given, name)) is not None}
    with Client(socket_path(given.socket)) as client:
        reply = client.call("Hooks.Create", **parameters)
    _tell(reply, as_json=given.json)
    return outcome.OK


def rotate(given: argparse.Namespace) -> int:
    """Give a hook another secret and print it."""
    with Client(socket_path(given.socket)) as client:
        reply = client.call("Hooks.Rotate", hook=given.hook)
    _tell(reply, as_json=given.json)
    return outcome.OK


def test(given: argparse.Namespace) -> int:
    """Send a sample event.

    Raises:
        CommandError: nothing listens, or it was not accepted.
    """
    with Client(socket_path(given.socket)) as client:
        reply = client.call("Hooks.Test", hook=given.hook)
    hook = reply["hook"]
    status, answer = _post(hook["url"], reply["ticket"], reply.get("next"))
    if given.json:
        show.as_json({"status": status, "answer": answer})
    elif status == _ACCEPTED:
        show.say(f"accepted as {answer.get('accepted')}; {hook['group']} answers in {hook['channel']}:{hook['chat']}")
    if status != _ACCEPTED:
        said = answer.get("error") or "it was not accepted"
        raise CommandError(outcome.ERROR, f"{hook['url']}: {status}: {said}", "journalctl -u nanoclawd -n 20")
    return outcome.OK


def _post(url: str, ticket: str, next_command: str | None) -> tuple[int, dict[str, Any]]:
    import http.client  # only this command needs it
    from urllib.parse import urlsplit

    headers = {"Authorization": f"Bearer {ticket}", "Content-Type": "application/json"}
    try:
        found = urlsplit(url)
        connection = http.client.HTTPConnection(found.hostname or "", found.port, timeout=_HTTP_SECONDS)
        with closing(connection):
            connection.request("POST", f"{found.path}?event=test", json.dumps(_SAMPLE), headers)
            response = connection.getresponse()
            answer = json.loads(response.read(_MAX_ANSWER) or b"{}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise CommandError(
            outcome.UNREACHABLE,
            f"nothing answers at {url}: {error}",
            next_command or "systemctl status nanoclaw-hooks.socket nanoclawd-http.socket",
        ) from None
    return response.status, answer if isinstance(answer, dict) else {}


def _tell(reply: dict[str, Any], *, as_json: bool) -> None:
    hook, secret, following = reply["hook"], reply["secret"], reply.get("next")
    curl = _curl(hook, secret)
    if as_json:
        show.as_json({**reply, "curl": curl})
        return
    show.say(f"URL:    {hook['url']}\nSecret: {secret}\n")
    show.say("The secret is shown this once: ncl hooks rotate makes another one.")
    show.say(f"{hook['group']} answers in {hook['channel']}:{hook['chat']}. Try:\n\n{curl}\n")
    if following:
        show.say(f"Nothing listens for hooks yet. Next: {following}")


def _curl(hook: dict[str, Any], secret: str) -> str:
    """Return a command line that reaches the agent."""
    body = '{"text": "hello"}'
    if hook["auth"] == "bearer":
        value = f"Bearer {secret}" if hook["header"] == "authorization" else secret
        return f"curl --json '{body}' -H '{hook['header']}: {value}' {hook['url']}"
    signature = f"$(printf %s '{body}' | openssl dgst -sha256 -hmac {secret} -r | cut -d' ' -f1)"
    return f"curl --json '{body}' -H \"{hook['header']}: sha256={signature}\" {hook['url']}"
