"""``ncl`` inside a container: the operator's own command, which asks the runner instead of the daemon."""

import os

from nanoclaw_runner.contract.places import CONTROL_SOCKET

_SOCKET_VARIABLE = "NANOCLAW_CONTROL_SOCKET"


def main() -> int:
    """Run the command line; return its exit code."""
    os.environ.setdefault(_SOCKET_VARIABLE, str(CONTROL_SOCKET))
    # Published beside this package; to the host's own parts nothing in here has a way.
    from nanoclawd.cli.__main__ import main as ncl

    return ncl()
