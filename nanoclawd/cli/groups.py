"""``ncl groups``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError


def list_all(given: argparse.Namespace) -> int:
    """Print all groups."""
    found = _call(given, "List")["groups"]
    if given.json:
        show.as_json(found)
        return outcome.OK
    show.table(
        ("name", "provider", "model", "sessions", "awake"),
        [(one["name"], one["provider"], one["model"], one["sessions"], one["awake"]) for one in found],
        "no groups yet; try: ncl setup",
    )
    return outcome.OK


def get(given: argparse.Namespace) -> int:
    """Print one group."""
    return _print(given, _call(given, "Get", name=given.name)["group"])


def create(given: argparse.Namespace) -> int:
    """Create a group."""
    return _print(given, _call(given, "Create", name=given.name, **_settings(given))["group"])


def update(given: argparse.Namespace) -> int:
    """Change a group."""
    settings = _settings(given)
    if all(value is None for value in settings.values()):
        raise CommandError(outcome.USAGE, "nothing to change", f"ncl groups update {given.name} --model ENDPOINT/MODEL")
    return _print(given, _call(given, "Update", name=given.name, **settings)["group"])


def delete(given: argparse.Namespace) -> int:
    """Delete a group."""
    _call(given, "Delete", name=given.name, force=given.force or None)
    if given.json:
        show.as_json({"deleted": given.name})
    return outcome.OK


def restart(given: argparse.Namespace) -> int:
    """Restart a group's running sessions."""
    restarted = _call(given, "Restart", name=given.name)["restarted"]
    if given.json:
        show.as_json({"restarted": restarted})
    else:
        show.say(f"{restarted} running sessions restarted")
    return outcome.OK


def _call(given: argparse.Namespace, method: str, **parameters: object) -> dict[str, Any]:
    with Client(socket_path(given.socket)) as client:
        return client.call(f"Groups.{method}", **parameters)


def _settings(given: argparse.Namespace) -> dict[str, object]:
    return {
        "provider": given.provider,
        "model": given.model,
        "instructions": None if given.instructions is None else _text(given.instructions),
    }


def _text(argument: str) -> str:
    """Return an argument, or what the file after its ``@`` holds; ``@-`` is standard input."""
    if not argument.startswith("@"):
        return argument
    try:
        return sys.stdin.read() if argument == "@-" else Path(argument[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(outcome.USAGE, f"{argument[1:]}: {error}") from None


def _print(given: argparse.Namespace, group: dict[str, Any]) -> int:
    if given.json:
        show.as_json(group)
        return outcome.OK
    for name in ("name", "provider", "model", "created_at", "sessions", "awake", "instructions"):
        show.say(f"{name.replace('_', ' ')}: {group.get(name)}")
    return outcome.OK
