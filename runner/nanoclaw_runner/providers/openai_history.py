"""The conversation with an OpenAI-compatible model, kept in the agent's home: one line of JSON per exchange.

A line is written in one piece, so a crash leaves either the whole exchange or a last line that is passed over.
"""

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

MAX_PROMPT_BYTES = 24 * 1024
"""Of the past, so much goes into a prompt: about 6,000 tokens, which small local models hold."""

MAX_FILE_BYTES = 1024 * 1024
"""A longer file is written anew with what still counts."""

_READ_BYTES = 2 * MAX_FILE_BYTES


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer.

    Attributes:
        reference: the message that was answered; a turn that is repeated after a crash has the same one.
        tokens_read: what the endpoint counted, as far as it did.
        tokens_written: the same for the answer.
    """

    reference: str
    user: str
    assistant: str
    tokens_read: int = 0
    tokens_written: int = 0

    @property
    def size(self) -> int:
        """Bytes of text."""
        return len(self.user.encode(errors="replace")) + len(self.assistant.encode(errors="replace"))


class History:
    """One conversation's file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def recent(self, *, without: Iterable[str] = ()) -> list[Exchange]:
        """Return the newest exchanges that fit into a prompt, oldest first.

        Args:
            without: references of the messages being answered now, should they have been answered before a crash.
        """
        passed_over = set(without)
        kept: list[Exchange] = []
        room = MAX_PROMPT_BYTES
        for exchange in reversed(self.every()):
            if exchange.reference in passed_over:
                continue
            room -= exchange.size
            if room < 0:
                break
            kept.append(exchange)
        kept.reverse()
        return kept

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange; that it cannot be kept is logged and no reason to withhold the answer."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._append(exchange) > MAX_FILE_BYTES:
                self._rewrite(self.recent())
        except OSError as error:
            _log.warning("the conversation cannot be kept: %s", error)

    def keep_last(self, count: int) -> None:
        """Forget all but the newest exchanges.

        Raises:
            OSError: the file cannot be written; it is as it was.
        """
        self._rewrite(self.every()[-count:])

    def _append(self, exchange: Exchange) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o660)
        try:
            size = os.fstat(descriptor).st_size
            # A line that a crash cut short must not swallow this one.
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (b"\n" if torn else b"") + _line(exchange))
            os.fsync(descriptor)
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def _rewrite(self, exchanges: Iterable[Exchange]) -> None:
        new = self._path.with_suffix(".new")
        with new.open("wb") as file:
            file.writelines(_line(exchange) for exchange in exchanges)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def every(self) -> list[Exchange]:
        """Return every exchange that is whole; of those with one reference the last."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as error:
            _log.warning("the conversation cannot be read: %s", error)
            return []
        with os.fdopen(descriptor, "rb") as file:
            lines = file.read(_READ_BYTES).splitlines()
        found: dict[str, Exchange] = {}
        for line in lines:
            exchange = _exchange(line)
            if exchange is not None:
                found.pop(exchange.reference, None)
                found[exchange.reference] = exchange
        return list(found.values())


def _line(exchange: Exchange) -> bytes:
    return json.dumps(asdict(exchange)).encode() + b"\n"


def _exchange(line: bytes) -> Exchange | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    reference, user, assistant = (found.get(key) for key in ("reference", "user", "assistant"))
    if not (isinstance(reference, str) and isinstance(user, str) and isinstance(assistant, str)):
        return None
    return Exchange(reference, user, assistant, _count(found, "tokens_read"), _count(found, "tokens_written"))


def _count(found: dict[str, object], key: str) -> int:
    value = found.get(key)
    return value if isinstance(value, int) else 0
