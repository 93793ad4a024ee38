"""``ncl channels pair`` and ``ncl telegram pair``: a code on the terminal, until a person has sent it."""

import argparse
import sys
from typing import Any

from nanoclawd.cli import forms, outcome, show
from nanoclawd.cli.catalogue.channels import TELEGRAM
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

_TELEGRAM = "telegram"
_MAX_ROUNDS = 30
"""More than a code is valid for."""


def pair(given: argparse.Namespace) -> int:
    """Begin a pairing and wait for its end."""
    return _pair(given, given.channel)


def list_telegram(given: argparse.Namespace) -> int:
    """Print the channels of Telegram."""
    with Client(socket_path(given.socket)) as client:
        found = [one for one in client.call("Channels.List")["channels"] if one["type"] == _TELEGRAM]
    if given.json:
        show.as_json(found)
    else:
        forms.table(TELEGRAM, found)
    return outcome.OK


def pair_telegram(given: argparse.Namespace) -> int:
    """Do so for the only channel of Telegram, where none is named."""
    return _pair(given, given.channel or _only_telegram(given))


def _pair(given: argparse.Namespace, channel: str) -> int:
    wanted = {"group": given.group, "role": given.role}
    with Client(socket_path(given.socket)) as client:
        parameters = {name: value for name, value in wanted.items() if value is not None}
        pairing = client.call("Channels.Pair", channel=channel, **parameters)["pairing"]
        if not given.json:
            _invite(pairing)
        for _ in range(_MAX_ROUNDS):
            if pairing["state"] != "waiting":
                break
            # Each answer comes as soon as there is something to say, or after 25 seconds.
            pairing = client.call("Channels.AwaitPairing", pairing=pairing["id"])["pairing"]
    if given.json:
        show.as_json(pairing)
    elif pairing["state"] == "paired":
        _tell(pairing)
    if pairing["state"] != "paired":
        reason = clean_line(pairing.get("reason") or "it takes too long")
        raise CommandError(outcome.ERROR, f"nobody was paired: {reason}", f"ncl channels pair {clean_line(channel)}")
    return outcome.OK


def _invite(pairing: dict[str, Any]) -> None:
    code, link, account = (clean_line(pairing.get(name) or "") for name in ("code", "link", "account"))
    if link:
        _draw(link)
        show.say(f"Open {link}\nand press the button there, or send this code to {account or 'the account'}:\n")
    else:
        show.say(f"Send this code to {account or 'the account'}, in a direct chat:\n")
    show.say(f"    {code}\n")
    show.say("It is valid for ten minutes. Waiting …")
    sys.stdout.flush()


def _draw(link: str) -> None:
    """Draw an address as a QR code, where somebody can see it."""
    if not sys.stdout.isatty():
        return
    import segno  # only for this command

    segno.make(link, error="l").terminal(border=2, compact=True)


def _tell(pairing: dict[str, Any]) -> None:
    who = clean_line(pairing.get("name") or pairing["user"])
    show.say(f"Paired: {who} ({clean_line(pairing['user'])}) is {clean_line(pairing['role'])}.")
    if pairing.get("group"):
        show.say(f"{clean_line(pairing['group'])} answers there. Say something to it.")
    else:
        show.say("There is no agent yet that could answer.\nNext: ncl groups create NAME")


def _only_telegram(given: argparse.Namespace) -> str:
    with Client(socket_path(given.socket)) as client:
        names = [one["name"] for one in client.call("Channels.List")["channels"] if one["type"] == _TELEGRAM]
    if len(names) == 1:
        return str(names[0])
    if not names:
        raise CommandError(outcome.ERROR, "there is no channel of Telegram", "ncl channels add telegram")
    raise CommandError(outcome.ERROR, f"there are several: {', '.join(names)}", "ncl telegram pair NAME")
