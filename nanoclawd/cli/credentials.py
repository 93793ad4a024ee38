"""``ncl credentials``, and what else stores secrets: the client of nanoclaw-credentials.service."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from nanoclawd.cli import forms, outcome, show
from nanoclawd.cli.catalogue import RESOURCES
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

SOCKET_VARIABLE = "NANOCLAW_CREDENTIALS_SOCKET"
MAX_SECRET_BYTES = 64 * 1024
"""The service's own bound; what is longer is not even read."""

_SOCKET_NAME = "credentials.sock"
_SECONDS = 180.0
"""The daemon is restarted meanwhile."""
_TAKEN = {
    "restarted": "{consumer} was restarted for it; conversations go on.",
    "restarting": "{consumer} is restarted for it as soon as running answers have ended.",
    "stopped": "{consumer} does not run; it has this from its next start on.",
}


def list_all(given: argparse.Namespace) -> int:
    """Print the names of what is stored."""
    found = call(given, "List")["credentials"]
    if given.json:
        show.as_json(found)
    else:
        forms.table(RESOURCES["credentials"], found)
    return outcome.OK


def put(given: argparse.Namespace) -> int:
    """Ask for a secret and store it."""
    reply = store(given, given.name, ask_secret("secret"))
    if given.json:
        show.as_json(reply)
    else:
        show.say(f"stored: {given.name}\n{taken(reply, given.name)}")
    return outcome.OK


def delete(given: argparse.Namespace) -> int:
    """Remove a secret."""
    reply = call(given, "Delete", name=given.name)
    if given.json:
        show.as_json({"deleted": {"name": given.name}, **reply})
    else:
        show.say(f"deleted: {given.name}\n{taken(reply, given.name)}")
    return outcome.OK


def store(given: argparse.Namespace, name: str, secret: str) -> dict[str, Any]:
    """Store a secret and have its service take it.

    Raises:
        CommandError: it was refused, or the service does not start with it.
    """
    reply = call(given, "Put", name=name, value=secret)
    if reply["taken"] == "failed":
        raise CommandError(
            outcome.ERROR,
            f"{name} is stored, but {reply['credential']['consumer']} could not be restarted",
            "ncl doctor",
        )
    return reply


def taken(reply: dict[str, Any], name: str) -> str:
    """Return what became of the service that a credential is for."""
    known = _TAKEN.get(reply["taken"], "{consumer} could not be restarted. Try: ncl doctor")
    return known.format(consumer=name.partition(".")[0])


def call(given: argparse.Namespace, method: str, **parameters: object) -> dict[str, Any]:
    """Call a method of io.nanoclaw.Credentials.

    Raises:
        CommandError: as for every call.
    """
    path = _path(given)
    try:
        try:
            return _once(path, method, parameters)
        except CommandError as error:
            if error.code != outcome.UNREACHABLE:
                raise
            # It ends when it is idle, perhaps at this moment; the next one is started by this connection.
            return _once(path, method, parameters)
    except CommandError as error:
        if error.code != outcome.UNREACHABLE:
            raise
        raise CommandError(
            outcome.UNREACHABLE,
            "the service that stores secrets cannot be reached",
            "sudo systemctl start nanoclaw-credentials.socket",
        ) from None


def _once(path: str, method: str, parameters: dict[str, object]) -> dict[str, Any]:
    with Client(path, _SECONDS) as client:
        return client.call(f"Credentials.{method}", **parameters)


def ask_secret(what: str, *, twice: bool = False) -> str:
    """Return a secret: typed without echo, or all of standard input where that is no terminal.

    Args:
        what: it is called so.
        twice: it is a new one: a mistyped one would be of no use.

    Raises:
        CommandError: there is none, it is no text, or not the same both times.
    """
    if sys.stdin.isatty():
        import getpass  # 5 ms, which no other command needs

        text = getpass.getpass(clean_line(f"{what[:1].upper()}{what[1:]} (it is not shown): ") + " ")
        if twice and getpass.getpass("Again: ") != text:
            raise CommandError(outcome.USAGE, f"this was another {what}: nothing was done")
    else:
        try:
            text = sys.stdin.buffer.read(MAX_SECRET_BYTES + 2).decode()
        except UnicodeDecodeError:
            raise CommandError(outcome.REFUSED, f"the {what} is no text in UTF-8") from None
    text = text.strip()
    if not text:
        raise CommandError(outcome.USAGE, f"there is no {what}: nothing was given")
    if len(text.encode(errors="surrogateescape")) > MAX_SECRET_BYTES:
        raise CommandError(outcome.REFUSED, f"the {what} is over {MAX_SECRET_BYTES // 1024} KiB")
    return text


def _path(given: argparse.Namespace) -> str:
    """Return where the service listens: beside the control socket, unless the environment says otherwise."""
    return os.environ.get(SOCKET_VARIABLE) or str(Path(socket_path(given.socket)).with_name(_SOCKET_NAME))
