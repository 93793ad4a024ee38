"""Logging of the host's services: structured records in the journal, or plain lines where there is no journal.

Modules log through the standard library. What a record is about goes with it as journal fields::

    log.warning("the reply could not be delivered", extra=about(session="k3v9…", event=Event.DELIVERY_FAILED))

so that ``journalctl NANOCLAW_SESSION=k3v9…`` shows one conversation, whoever logged.
"""

import asyncio
import enum
import logging
import os
import re
import sys
import threading
from types import TracebackType
from typing import Any

from systemd import journal

LEVEL_VARIABLE = "NANOCLAW_LOG_LEVEL"
"""In the environment; stronger than the configuration file."""

MAX_FIELD_CHARACTERS = 256
"""Longer field values are cut: ids are short, and whatever is longer was chosen by somebody else."""

MAX_LINE_CHARACTERS = 8192
"""Longer messages are cut; a stack below one is not."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
}
_FIELDS = {
    "NANOCLAW_GROUP": "group",
    "NANOCLAW_SESSION": "session",
    "NANOCLAW_CHANNEL": "channel",
    "NANOCLAW_MESSAGE": "message",
}
_RAW_FIELDS = frozenset({"CODE_ARGS", "EXCEPTION_INFO", "EXCEPTION_TEXT"})
# Control characters, lone surrogates (the journal takes UTF-8 only), line separators, the marks that reorder text, and
# tags, which nobody sees.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)

log = logging.getLogger(__name__)


class Event(enum.Enum):
    """What an operator acts on. The journal catalog (units/nanoclawd.catalog) explains each under the same id."""

    DAEMON_STARTED = "d1f27b35ec86424f8c4723f63b39d4ec"
    SESSION_START_FAILED = "534efa07c18f4610b0e7ef9bbe08b2a7"
    SESSION_QUARANTINED = "6f9a1245aa3a49379700464e4471aec5"
    BOUND_BROKEN = "da797a177b3a4163a2499f19ec62ce75"
    DELIVERY_FAILED = "48407887c4af4d4581e187f025223bd9"
    IMAGE_MISSING = "d7c66c09e2f140d591d1a09b76886054"
    GATEWAY_REFUSED = "56f27543e9224a12b377456dbe464915"
    CHANNEL_DOWN = "23cf33d80c164b88910aaee9634a7a7c"
    DISK_LOW = "31ab82edf5024999a02b974c7f317e74"


def about(
    *,
    group: str | None = None,
    session: str | None = None,
    channel: str | None = None,
    message: str | None = None,
    event: Event | None = None,
) -> dict[str, str]:
    """Return the ``extra=`` of a log call: what the record is about, as journal fields."""
    values = {
        "NANOCLAW_GROUP": group,
        "NANOCLAW_SESSION": session,
        "NANOCLAW_CHANNEL": channel,
        "NANOCLAW_MESSAGE": message,
        "MESSAGE_ID": event.value if event else None,
    }
    return {name: printable(value)[:MAX_FIELD_CHARACTERS] for name, value in values.items() if value is not None}


def printable(text: str) -> str:
    r"""Return the text on one line: control characters as ``\n`` or ``\x1b``, so that no chat forges a log line."""
    return _UNPRINTABLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


class OneLineFormatter(logging.Formatter):
    """One line per record; a stack follows it indented, hence no line of a stack looks like a record of its own."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__("%(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._plain = plain

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text; on plain streams with time, level and fields, which the journal keeps apart."""
        line = printable(record.getMessage())[:MAX_LINE_CHARACTERS]
        if self._plain:
            pairs = "".join(
                f" {key}={record.__dict__[name]}" for name, key in _FIELDS.items() if name in record.__dict__
            )
            line = f"{self.formatTime(record, self.datefmt)} {record.levelname.lower()} {line}{pairs}"
        if record.exc_info:
            # Not cached in record.exc_text: that one is unescaped, and the journal handler would send it along.
            stack = self.formatException(record.exc_info)
            line += "".join(f"\n    {printable(part)}" for part in stack.split("\n"))
        return line


def _send(message: str, **fields: Any) -> None:
    """Send a record without the raw arguments that the handler adds on its own, which nobody escaped or bounded."""
    kept = {name: value for name, value in fields.items() if name.isupper() and name not in _RAW_FIELDS}
    journal.send(message, **kept)


def connected_to_journal() -> bool:
    """Tell whether standard error is the journal (systemd.exec(5), JOURNAL_STREAM), not a terminal or a pipe."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    if not (device.isdecimal() and inode.isdecimal()):
        return False
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (found.st_dev, found.st_ino) == (int(device), int(inode))


def configure(identifier: str, configured_level: str = "info") -> None:
    """Send the root logger's records to the journal, or as plain lines to standard error; replaces what was set up.

    Args:
        identifier: shown by ``journalctl`` and selected by its ``-t``.
        configured_level: from the configuration file; the environment's NANOCLAW_LOG_LEVEL wins. An unknown name
            behaves as ``info``.
    """
    to_journal = connected_to_journal()
    handler: logging.Handler
    if to_journal:
        handler = journal.JournalHandler(sender_function=_send, SYSLOG_IDENTIFIER=identifier)
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter(plain=not to_journal))
    name = os.environ.get(LEVEL_VARIABLE) or configured_level
    level = _LEVELS.get(name.strip().lower())
    logging.basicConfig(level=level or logging.INFO, handlers=[handler], force=True)
    if level is None:
        log.warning("unknown log level %s, using info; known are %s", name, ", ".join(_LEVELS))


def install_crash_policy(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """An exception that nobody catches ends the process with status 1; one in an unawaited task does not.

    Half a daemon is worse than a restart, which costs no conversation; a forgotten task's failure harms only itself.
    """
    sys.excepthook = _on_uncaught
    threading.excepthook = _on_thread_death
    if loop is not None:
        loop.set_exception_handler(_on_loop_error)


def _on_uncaught(kind: type[BaseException], error: BaseException, stack: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, stack)
        return
    log.critical("uncaught %s: %s", kind.__name__, error, exc_info=(kind, error, stack))


def _on_thread_death(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    thread = args.thread.name if args.thread else "a thread"
    log.critical("uncaught %s in %s: %s", args.exc_type.__name__, thread, error, exc_info=error)
    logging.shutdown()
    # Only this ends the process from another thread; whatever is durable is in a database by now.
    os._exit(1)


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.error("%s", context.get("message") or "error in the event loop", exc_info=error)
