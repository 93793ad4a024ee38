"""``ncl`` inside a container: the operator's own command, which asks the runner instead of the daemon."""

import os
import sys

from nanoclaw_runner.contract.places import CONTROL_SOCKET

_SOCKET_VARIABLE = "NANOCLAW_CONTROL_SOCKET"
_USAGE = 2


def main() -> int:
    """Run the command line; return its exit code."""
    os.environ.setdefault(_SOCKET_VARIABLE, str(CONTROL_SOCKET))
    # Published beside this package, with what it needs for this; the host's own checks need more.
    from nanoclawd.cli.__main__ import main as ncl

    try:
        return ncl()
    except ModuleNotFoundError as error:
        sys.stderr.write(f"ncl: this command is the operator's, it does not work inside a session ({error})\n")
        return _USAGE


if __name__ == "__main__":
    sys.exit(main())
