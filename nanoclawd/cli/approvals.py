"""``ncl approvals approve`` and ``reject``: which of an approval's options is meant."""

import argparse
from typing import Any

from nanoclawd.cli import outcome, show
from nanoclawd.cli.clean import clean_line
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError

_ALLOW = ("allow", "once", "10m")
"""Of several ways to allow something the one that allows least."""

_CONNECT = "connect:"
_DENY = "deny"
_DENY_FOR_GOOD = "deny-always"


def approve(given: argparse.Namespace) -> int:
    """Allow what is asked, where there is one way to."""
    with Client(socket_path(given.socket)) as client:
        approval = client.call("Approvals.Get", approval=given.approval)["approval"]
        values = [option["value"] for option in approval["options"]]
        ways = [value for value in _ALLOW if value in values] or [one for one in values if one.startswith(_CONNECT)]
        if len(ways) != 1:
            raise _several(approval)
        return _decide(client, given, approval["id"], ways[0])


def reject(given: argparse.Namespace) -> int:
    """Refuse what is asked."""
    meant = _DENY_FOR_GOOD if given.for_good else _DENY
    with Client(socket_path(given.socket)) as client:
        approval = client.call("Approvals.Get", approval=given.approval)["approval"]
        if meant not in [option["value"] for option in approval["options"]]:
            raise _several(approval)
        return _decide(client, given, approval["id"], meant)


def _decide(client: Client, given: argparse.Namespace, approval: str, option: str) -> int:
    reply = client.call("Approvals.Decide", approval=approval, option=option)
    if given.json:
        show.as_json(reply)
    else:
        show.say(reply["message"])
    return outcome.OK


def _several(approval: dict[str, Any]) -> CommandError:
    """Name the options, since none of them is plainly meant."""
    if not approval["options"]:
        # It has been decided, or waits for something else than a decision.
        return CommandError(
            outcome.REFUSED, f"{approval['id']} has nothing to decide now", f"ncl approvals get {approval['id']}"
        )
    lines = [f"{number}. {clean_line(option['label'])}" for number, option in enumerate(approval["options"], start=1)]
    return CommandError(
        outcome.REFUSED,
        "\n".join(["say which of these is meant:", *lines]),
        f"ncl approvals decide {approval['id']} NUMBER",
    )
