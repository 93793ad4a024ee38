"""The conversation with an OpenAI-compatible model, kept in the agent's home: one line of JSON per exchange.

A line is written in one piece, so a crash leaves either the whole exchange or a last line that is passed over. What was
summarised has one line, the file's first.
"""

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

_log = logging.getLogger(__name__)

MAX_STEP_CHARACTERS: Final = 4096
"""Of one tool's result or arguments: the agent has seen it whole, and can ask again."""

MAX_STEPS_CHARACTERS: Final = 48 * 1024
"""Of all steps of an exchange."""

_READ_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its answer.

    Attributes:
        reference: the message that was answered; a turn that is repeated after a crash has the same one.
        steps: what was between them, as messages of the API: the tools' calls and their results.
        tokens_read: what the endpoint counted, as far as it did.
        tokens_written: the same for the answer.
    """

    reference: str
    user: str
    assistant: str
    tokens_read: int = 0
    tokens_written: int = 0
    steps: tuple[dict[str, Any], ...] = ()

    @property
    def size(self) -> int:
        """Bytes of text."""
        texts = (self.user, self.assistant, json.dumps(self.steps) if self.steps else "")
        return sum(len(text.encode(errors="replace")) for text in texts)


@dataclass(frozen=True, slots=True)
class Past:
    """What is kept of a conversation.

    Attributes:
        summary: of what was before the exchanges.
        exchanges: oldest first.
    """

    summary: str = ""
    exchanges: tuple[Exchange, ...] = ()


class History:
    """One conversation's file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def past(self, *, without: Iterable[str] = ()) -> Past:
        """Return what is kept: every exchange that is whole; of those with one reference the last.

        Args:
            without: references of the messages being answered now, should they have been answered before a crash.
        """
        passed_over = set(without)
        summary = ""
        found: dict[str, Exchange] = {}
        for line in self._lines():
            read = _read(line)
            if isinstance(read, str):
                summary = read
            elif read is not None and read.reference not in passed_over:
                found.pop(read.reference, None)
                found[read.reference] = read
        return Past(summary, tuple(found.values()))

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange; that it cannot be kept is logged and no reason to withhold the answer."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append(replace(exchange, steps=bounded(exchange.steps)))
        except OSError as error:
            _log.warning("the conversation cannot be kept: %s", error)

    def rewrite(self, past: Past) -> None:
        """Keep this and nothing else.

        Raises:
            OSError: the file cannot be written; it is as it was.
        """
        new = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("wb") as file:
            if past.summary:
                file.write(_json({"summary": past.summary}))
            file.writelines(_line(exchange) for exchange in past.exchanges)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def _append(self, exchange: Exchange) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o660)
        try:
            size = os.fstat(descriptor).st_size
            # A line that a crash cut short must not swallow this one.
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (b"\n" if torn else b"") + _line(exchange))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _lines(self) -> list[bytes]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as error:
            _log.warning("the conversation cannot be read: %s", error)
            return []
        with os.fdopen(descriptor, "rb") as file:
            # Should it ever be longer, it is the newest that counts.
            file.seek(max(os.fstat(descriptor).st_size - _READ_BYTES, 0))
            return file.read(_READ_BYTES).splitlines()


def bounded(steps: Iterable[dict[str, Any]], most: int = MAX_STEPS_CHARACTERS) -> tuple[dict[str, Any], ...]:
    """Return steps in which long texts are shortened, each and all together; none is left out.

    A call without its result, or a result without its call, would be refused by the endpoint.
    """
    kept = list(steps)
    share = max(most // max(len(kept), 1), 64)
    return tuple(_shortened(step, min(share, MAX_STEP_CHARACTERS)) for step in kept)


def shortened(text: str, most: int) -> str:
    """Return a text's beginning and end, with a mark between them that says so."""
    if len(text) <= most:
        return text
    half = max(most // 2, 1)
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters are left out here …]\n{text[-half:]}"


def _shortened(step: dict[str, Any], most: int) -> dict[str, Any]:
    step = dict(step)
    if isinstance(step.get("content"), str):
        step["content"] = shortened(step["content"], most)
    if isinstance(step.get("tool_calls"), list):
        step["tool_calls"] = [_shortened_call(call, most) for call in step["tool_calls"]]
    return step


def _shortened_call(call: dict[str, Any], most: int) -> dict[str, Any]:
    function = dict(call["function"])
    if len(function["arguments"]) > most:
        # Endpoints read it as JSON, so it stays JSON.
        function["arguments"] = json.dumps({"shortened": shortened(function["arguments"], most)})
    return {**call, "function": function}


def _line(exchange: Exchange) -> bytes:
    fields: dict[str, Any] = {
        "reference": exchange.reference,
        "user": exchange.user,
        "assistant": exchange.assistant,
        "tokens_read": exchange.tokens_read,
        "tokens_written": exchange.tokens_written,
    }
    if exchange.steps:
        fields["steps"] = exchange.steps
    return _json(fields)


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _read(line: bytes) -> Exchange | str | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("summary"), str):
        return str(found["summary"])
    reference, user, assistant = (found.get(key) for key in ("reference", "user", "assistant"))
    if not (isinstance(reference, str) and isinstance(user, str) and isinstance(assistant, str)):
        return None
    read, written = (_count(found, key) for key in ("tokens_read", "tokens_written"))
    return Exchange(reference, user, assistant, read, written, _steps(found.get("steps")))


def _steps(found: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(found, list) or not all(isinstance(step, dict) and "role" in step for step in found):
        return ()
    return tuple(found)


def _count(found: dict[str, object], key: str) -> int:
    value = found.get(key)
    return value if isinstance(value, int) else 0
