"""The runner's log: one line per event on stderr, with a rate limit of its own.

All sessions share one journal; a session that floods it would silence the others there. What tools and providers print
never comes here.
"""

import logging
import sys
import time
from collections.abc import Callable

MAX_LINES_PER_PERIOD = 200
PERIOD_SECONDS = 30.0
_MAX_LINE_CHARACTERS = 2000


class OneLineFormatter(logging.Formatter):
    """Keeps an event, with its traceback, on one bounded line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = super().format(record).replace("\n", " | ")
        shown = "".join(character if character.isprintable() else "?" for character in line[:_MAX_LINE_CHARACTERS])
        return shown if len(line) <= _MAX_LINE_CHARACTERS else shown + " …"


class RateLimitedHandler(logging.StreamHandler):  # type: ignore[type-arg]  # the class is not subscriptable at run time
    """Writes at most 200 lines in 30 seconds, then one line that says how many were suppressed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(sys.stderr)
        self._clock = clock
        self._period_start = clock()
        self._lines = 0
        self._suppressed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        now = self._clock()
        if now - self._period_start >= PERIOD_SECONDS:
            self._report_suppressed()
            self._period_start, self._lines, self._suppressed = now, 0, 0
        if self._lines >= MAX_LINES_PER_PERIOD:
            self._suppressed += 1
            return
        self._lines += 1
        super().emit(record)

    def close(self) -> None:
        """Say what was suppressed before the end."""
        self._report_suppressed()
        self._suppressed = 0
        super().close()

    def _report_suppressed(self) -> None:
        if self._suppressed == 0:
            return
        words = f"{self._suppressed} lines suppressed"
        super().emit(logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, None, None))


def set_up() -> None:
    """Send every logger's lines to stderr."""
    handler = RateLimitedHandler()
    handler.setFormatter(OneLineFormatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # HTTP clients log every request at INFO, with its address.
    for chatty in ("httpx", "httpcore", "openai"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
