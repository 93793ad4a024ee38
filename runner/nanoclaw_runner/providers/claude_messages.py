"""What the Agent SDK's messages mean. They are known by their classes' names: the SDK is not imported here."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from nanoclaw_runner.providers import base
from nanoclaw_runner.providers.claude_said import Words, has_results
from nanoclaw_runner.providers.claude_words import Failure, waiting

_log = logging.getLogger(__name__)

MAX_ANSWER_CHARACTERS: Final = 1024 * 1024
_MICROS: Final = 1_000_000
_MILLIS: Final = 1000
_SYNTHETIC: Final = "<synthetic>"
_REFUSED_CREDENTIAL: Final = frozenset({401, 403})
"""The client asks again all the same; nothing will come of it before an operator has done something."""

type Counts = tuple[int, int, int, int, int]
"""Tokens read, written, read from the cache and written to it, and millionths of a dollar."""

NOTHING_COUNTED: Final[Counts] = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A turn of the client's is over.

    Attributes:
        covers: ids of the prompts that it took in; None: the client did not say.
        text: the answer.
        failure: why there is none.
    """

    covers: tuple[str, ...] | None
    text: str
    usage: base.Usage | None
    failure: Failure | None = None


@dataclass(slots=True)
class Reader:
    """Reads one connection's messages.

    Attributes:
        wait_until: until then (time.monotonic) the client waits to ask again: silence means nothing.
        compacted: what is said of the last time the conversation was made shorter.
        session_id: the conversation's name.
        last_entry: the transcript's newest entry that the model has written.
        counted: what the client has counted for the conversation so far; None: it goes on from what nobody knows.
    """

    wait_until: float = 0.0
    compacted: str = ""
    session_id: str | None = None
    last_entry: str | None = None
    counted: Counts | None = NOTHING_COUNTED
    _text: str = ""
    _model: str = ""
    _kind: str = ""
    _resets_at: int | None = None
    _concerned: frozenset[str] = frozenset()
    _words: Words = field(default_factory=Words)

    def read(self, message: Any) -> Iterator[base.Event | Outcome]:
        """Give the events that a message stands for: every message is at least a sign of life (F-38)."""
        match type(message).__name__:
            case "StreamEvent":
                yield from self._stream(message)
            case "AssistantMessage":
                yield from self._assistant(message)
            case "UserMessage":
                yield from self._user(message)
            case "ResultMessage":
                yield from self._result(message)
            case "RateLimitEvent":
                yield from self._rate_limit(message.rate_limit_info)
            case "ConversationResetMessage":
                self.counted = NOTHING_COUNTED
                yield base.Activity()
            case "TaskNotificationMessage":
                yield base.Progress(f"background work {message.status}: {message.summary}")
            case name if name.endswith("SystemMessage"):
                yield from self._system(message.subtype, message.data)
            case _:
                yield base.Activity()

    def _stream(self, message: Any) -> Iterator[base.Event]:
        self.wait_until = 0.0
        event = message.event
        if message.parent_tool_use_id is None:
            if event.get("type") == "message_start":
                self._text = ""
            delta = event.get("delta") or {}
            if delta.get("stop_reason"):
                self._words.end(str(delta["stop_reason"]))
            if event.get("type") == "content_block_delta" and delta.get("type") == "text_delta":
                self._text = (self._text + str(delta.get("text") or ""))[:MAX_ANSWER_CHARACTERS]
                yield base.Partial(self._text)
                return
        yield base.Activity()

    def _assistant(self, message: Any) -> Iterator[base.Event]:
        self.wait_until = 0.0
        if message.model != _SYNTHETIC:
            self._model = message.model
        if message.error:
            self._kind = str(message.error)
        own = message.parent_tool_use_id is None and message.model != _SYNTHETIC
        self.last_entry = message.uuid if own else self.last_entry
        yield from _beside(self._words.hear(message) if own else "")

    def _user(self, message: Any) -> Iterator[base.Event]:
        own = message.parent_tool_use_id is None and has_results(message.content)
        yield from _beside(self._words.take() if own else "")

    def _system(self, subtype: str, data: dict[str, Any]) -> Iterator[base.Event | Outcome]:
        if subtype == "init":
            yield from self._init(data)
        elif subtype == "api_retry":
            seconds = float(data.get("retry_delay_ms") or 0) / _MILLIS
            self.wait_until = time.monotonic() + seconds
            self._kind = str(data.get("error") or "")
            status = data.get("error_status")
            if status in _REFUSED_CREDENTIAL:
                yield Outcome(None, "", None, Failure("", status, self._kind))
                return
            attempt, attempts = int(data.get("attempt") or 1), int(data.get("max_retries") or 1)
            yield base.Progress(waiting(self._kind, status, seconds, attempt, attempts))
        elif subtype == "compact_boundary":
            # No answer (W-38): nothing was asked, and nobody is to be told to address it.
            self._words.take()
            before = (data.get("compact_metadata") or {}).get("pre_tokens")
            size = f" It had {before:,} tokens." if isinstance(before, int) else ""
            self.compacted = f"The conversation was made shorter: a summary stands for its beginning.{size}"
            yield base.Progress(self.compacted)
        elif subtype == "status" and data.get("status") == "compacting":
            yield base.Progress("making the conversation shorter")
        else:
            yield base.Activity()

    def _init(self, data: dict[str, Any]) -> Iterator[base.Event]:
        self.session_id = str(data["session_id"])
        yield base.Init(self.session_id)
        for server in data.get("mcp_servers") or []:
            name, status = str(server.get("name")), str(server.get("status"))
            if status == "connected":
                self._concerned -= {name}
                yield base.Works(name)
            elif status == "failed" and name not in self._concerned:
                self._concerned |= {name}
                yield base.Concern("mcp", name, f"the MCP server {name} could not be started: its tools are missing")

    def _rate_limit(self, info: Any) -> Iterator[base.Event]:
        if info.status != "rejected":
            yield base.Activity()
            return
        self._resets_at = info.resets_at
        self._kind = "rate_limit"
        yield base.Progress("the model's rate limit is reached")

    def _result(self, message: Any) -> Iterator[base.Event | Outcome]:
        covers = None if message.user_message_uuids is None else tuple(message.user_message_uuids)
        usage = self._usage(message)
        failed = message.is_error or message.subtype != "success"
        said, text = self._words.answer(message.result or "", failed=failed)
        said, text = said[:MAX_ANSWER_CHARACTERS], text[:MAX_ANSWER_CHARACTERS]
        if said:
            yield base.Said(said)
        kind, self._kind, self._text, self.wait_until = self._kind, "", "", 0.0
        if not failed:
            yield Outcome(covers, text, usage)
            return
        words = text or "; ".join(message.errors or []) or message.subtype
        yield Outcome(covers, "", usage, Failure(words, message.api_error_status, kind, self._resets_at))

    def _usage(self, message: Any) -> base.Usage | None:
        """Return what this turn took: the client counts on and on, over all models, also when it is started again."""
        models = (message.model_usage or {}).values()
        now: Counts = (
            _total(models, "inputTokens"),
            _total(models, "outputTokens"),
            _total(models, "cacheReadInputTokens"),
            _total(models, "cacheCreationInputTokens"),
            round(float(message.total_cost_usd or 0) * _MICROS),
        )
        before, self.counted = self.counted, now
        took = [new - old if new >= old else new for new, old in zip(now, before or now, strict=True)]
        turn = message.usage or {}
        if before is None or took[1] < int(turn.get("output_tokens") or 0):
            # It was ended before it could write down what it had counted, or nobody knows what that was.
            names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            took = [int(turn.get(name) or 0) for name in names] + [0]
        if not any(took):
            return None
        return base.Usage(self._model, took[0], took[1], took[2], took[3], took[4] or None)


def _beside(said: str) -> Iterator[base.Event]:
    yield base.Said(said[:MAX_ANSWER_CHARACTERS]) if said.strip() else base.Activity()


def _total(models: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(int(one.get(name) or 0) for one in models)
