"""Commands whose reply is no object of their own resource."""

import argparse

from nanoclawd.cli import forms, outcome, show
from nanoclawd.cli.catalogue.tasks import RUNS
from nanoclawd.cli.catalogue.usage import USAGE
from nanoclawd.cli.client import Client, socket_path

_HEAD = ("chat", "name", "group", "agents")


def conversations(given: argparse.Namespace) -> int:
    """Print the chats that a channel's account is in."""
    with Client(socket_path(given.socket)) as client:
        found = client.call("Channels.Conversations", channel=given.channel)["conversations"]
    if given.json:
        show.as_json(found)
        return outcome.OK
    show.table(
        _HEAD,
        [
            (
                f"{given.channel}:{one['chat']}",
                one.get("name"),
                "yes" if one["is_group"] else "no",
                ", ".join(one["groups"]),
            )
            for one in found
        ],
        f"channel {given.channel} names no chats",
    )
    return outcome.OK


def runs(given: argparse.Namespace) -> int:
    """Print what became of a task's runs."""
    parameters = {"task": given.task} | ({} if given.limit is None else {"limit": given.limit})
    with Client(socket_path(given.socket)) as client:
        found = client.call("Tasks.Runs", **parameters)["runs"]
    if given.json:
        show.as_json(found)
    else:
        forms.table(RUNS, found)
    return outcome.OK


def usage(given: argparse.Namespace) -> int:
    """Print what agents have taken."""
    wanted = ("group", "session", "days", "by", "limit")
    parameters = {name: value for name in wanted if (value := getattr(given, name)) is not None}
    with Client(socket_path(given.socket)) as client:
        found = client.call("Usage.List", **parameters)["usage"]
    if given.json:
        show.as_json(found)
    else:
        forms.table(USAGE, found)
    return outcome.OK


def claim(given: argparse.Namespace) -> int:
    """Make the caller the owner where there is none."""
    with Client(socket_path(given.socket)) as client:
        role = client.call("Roles.Claim").get("role")
        others = [] if role else client.call("Roles.List")["roles"]
    if given.json:
        show.as_json({"role": role})
    elif role:
        forms.details(role)
    else:
        owners = [one["user"] for one in others if one["role"] == "owner"]
        show.say(f"There is an owner already: {', '.join(owners)}")
    return outcome.OK
