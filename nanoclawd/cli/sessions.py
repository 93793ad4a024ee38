"""``ncl sessions``, without its logs."""

import argparse
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path

_FIELDS = ("id", "group", "channel", "chat", "state", "status", "reason", "place", "pending", "unit", "created_at")


def list_all(given: argparse.Namespace) -> int:
    """Print sessions."""
    found = _call(given, "List", group=given.group)["sessions"]
    if given.json:
        show.as_json(found)
        return outcome.OK
    show.table(
        ("id", "group", "chat", "state", "active", "pending", "doing"),
        [
            (
                one["id"],
                one["group"],
                f"{one['channel']}:{one['chat']}",
                one["state"],
                show.ago(one.get("last_active")),
                one["pending"],
                one.get("status") or one.get("reason"),
            )
            for one in found
        ],
        "no sessions yet; a chat makes one: ncl chat",
    )
    return outcome.OK


def get(given: argparse.Namespace) -> int:
    """Print one session."""
    return _print(given, _call(given, "Get", id=given.id)["session"])


def stop(given: argparse.Namespace) -> int:
    """End a session's container."""
    return _print(given, _call(given, "Stop", id=given.id)["session"])


def reset(given: argparse.Namespace) -> int:
    """Release a quarantined session."""
    found = _call(given, "Reset", id=given.id)
    if given.json:
        show.as_json(found)
        return outcome.OK
    if found.get("moved_to"):
        show.say(f"the damaged database is kept at {found['moved_to']}")
    return _print(given, found["session"])


def _call(given: argparse.Namespace, method: str, **parameters: object) -> dict[str, Any]:
    with Client(socket_path(given.socket)) as client:
        return client.call(f"Sessions.{method}", **parameters)


def _print(given: argparse.Namespace, session: dict[str, Any]) -> int:
    if given.json:
        show.as_json(session)
        return outcome.OK
    for name in _FIELDS:
        if session.get(name) is not None:
            show.say(f"{name.replace('_', ' ')}: {clean_line(str(session[name]))}")
    show.say(f"last active: {show.ago(session.get('last_active'))}")
    return outcome.OK
