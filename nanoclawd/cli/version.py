"""``ncl version``."""

import argparse

from nanoclawd import __version__
from nanoclawd.cli import outcome, show
from nanoclawd.cli.client import Client, socket_path
from nanoclawd.cli.outcome import CommandError


def version(given: argparse.Namespace) -> int:
    """Print our version, and the daemon's where it can be asked."""
    daemon: str | None = None
    try:
        with Client(socket_path(given.socket)) as client:
            daemon = client.call("Appliance.Status")["version"]
    except CommandError:
        pass  # the daemon's version is an extra here; every other command says why it cannot be reached
    if given.json:
        show.as_json({"ncl": __version__, "nanoclawd": daemon})
        return outcome.OK
    show.say(f"ncl {__version__}\nnanoclawd {daemon or 'not reachable'}")
    return outcome.OK
