"""``ncl egress test``: a sentence, not an object."""

import argparse

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path

_USUAL = frozenset({80, 443})


def test(given: argparse.Namespace) -> int:
    """Print what would become of a request."""
    parameters = {"group": given.group, "url": given.url} | ({} if given.method is None else {"method": given.method})
    with Client(socket_path(given.socket)) as client:
        found = client.call("Egress.Test", **parameters)["test"]
    if given.json:
        show.as_json(found)
        return outcome.OK
    what = f"{found['method']} {found['path']}" if found.get("method") else "a tunnel"
    said = "allowed" if found["allowed"] else "held until somebody has decided" if found["asks"] else "denied"
    show.say(f"{found['group']}: {what} to {found['host']} port {found['port']} is {said}: {found['reason']}")
    if found["note"]:
        show.say(found["note"])
    if not found["allowed"] and not found["asks"]:
        show.say(f"Try: ncl egress allow {found['group']} {_authority(found['host'], found['port'])}")
    return outcome.OK


def _authority(host: str, port: int) -> str:
    """Return a host as a rule names it: the address that was tried may have a query, which no rule has."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port in _USUAL else f"{shown}:{port}"
