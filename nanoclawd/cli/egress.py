"""``ncl egress test``: a sentence, not an object."""

import argparse
import shlex

from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path


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
        show.say(f"Try: ncl egress allow {found['group']} {shlex.quote(given.url)}")
    return outcome.OK
