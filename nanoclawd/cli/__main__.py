"""``ncl``. Imports only what ``--help`` needs; a command's module is imported when it runs."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

from nanoclawd.cli import arguments
from nanoclawd.cli.outcome import ERROR, OK, CommandError

_INTERRUPTED = 128 + signal.SIGINT


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    given = arguments.parser().parse_args(words)
    run = cast("Callable[[Any], int]", arguments.handler(given.run))
    try:
        code = run(given)
        sys.stdout.flush()
        return code
    except CommandError as error:
        return _fail(error, as_json=given.json)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _fail(error: CommandError, *, as_json: bool) -> int:
    from nanoclawd.cli import show

    if as_json:
        show.as_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
        return error.code or ERROR
    show.complain(f"ncl: {error.message}")
    if error.hint:
        show.complain(f"Try: {error.hint}")
    return error.code or ERROR


if __name__ == "__main__":
    sys.exit(main())
