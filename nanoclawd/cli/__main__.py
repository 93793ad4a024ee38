# PYTHON_ARGCOMPLETE_OK
"""``ncl``. Imports only what ``--help`` needs; a command's module is imported when it runs."""

import os
import signal
import sys
from collections.abc import Sequence

from nanoclawd.cli import arguments
from nanoclawd.cli.outcome import ERROR, OK, CommandError

_INTERRUPTED = 128 + signal.SIGINT
_COMPLETING = "_ARGCOMPLETE"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = arguments.parser()
    if _COMPLETING in os.environ:
        from nanoclawd.cli import completion

        completion.complete(parser)
    given = arguments.parse(parser, sys.argv[1:] if words is None else words)
    try:
        run = arguments.handler(given.command.verb.run or "verbs:run")
        code: int = run(given)
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
        # A hint is a command to type, or a question back.
        show.complain(f"{error.hint[:1].upper()}{error.hint[1:]}" if error.hint.endswith("?") else f"Try: {error.hint}")
    return error.code or ERROR


if __name__ == "__main__":
    sys.exit(main())
