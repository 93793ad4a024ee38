"""One answer of a model as it comes: its text, the tools that it wants called, what it took. All of it is bounded."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

from nanoclaw_runner.providers import base
from nanoclaw_runner.providers.openai_failures import FAILURES, BrokenOffError

MAX_ANSWER_CHARACTERS: Final = 1024 * 1024
"""A model that never ends is ended here; the row is cut at its own limit."""

MAX_CALLS: Final = 2000
"""Tool calls in one answer that are read at all."""

_MAX_NAME: Final = 200
_MICROS: Final = 1_000_000

PARTIAL_SECONDS: Final = 0.1
"""Between two looks at the text so far: putting it together for every word would be quadratic."""


@dataclass(slots=True)
class Call:
    """A tool call as the model wrote it."""

    id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """JSON, or what the model takes for it."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Answer:
    """What has come so far.

    Attributes:
        ended: the reason why the model stopped, in the API's words; ``cut`` where it was stopped here.
        usage: what it took, None: not reported.
    """

    parts: list[str] = field(default_factory=list)
    calls: dict[int, Call] = field(default_factory=dict)
    ended: str = ""
    model: str = ""
    usage: base.Usage | None = None
    length: int = 0

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(self.parts)

    def reset(self) -> None:
        """Forget what has come: it is asked for anew."""
        self.parts.clear()
        self.calls.clear()
        self.ended, self.usage, self.length = "", None, 0

    def wanted(self) -> list[Call]:
        """Return the tool calls in the model's order, each with an id of its own."""
        calls = [call for _, call in sorted(self.calls.items())]
        seen: set[str] = set()
        for number, call in enumerate(calls):
            if not call.id or call.id in seen:
                call.id = f"call_{number}"
            seen.add(call.id)
        return calls


async def read(stream: Any, answer: Answer) -> AsyncGenerator[base.Event]:
    """Read a stream into an answer, with a sign of life for each piece.

    Raises:
        BrokenOffError: it ended too soon or cannot be read; other failures are the library's own.
    """
    loop = asyncio.get_running_loop()
    shown_at = 0.0
    async with stream:
        async for chunk in _chunks(stream):
            grown = _take(chunk, answer)
            if not grown or loop.time() - shown_at < PARTIAL_SECONDS:
                yield base.Activity()
            else:
                shown_at = loop.time()
                yield base.Partial(answer.text)
            if answer.length > MAX_ANSWER_CHARACTERS or len(answer.calls) > MAX_CALLS:
                answer.ended = "cut"
                return
    if not answer.ended:
        raise BrokenOffError("its answer broke off")


async def _chunks(stream: Any) -> AsyncIterator[Any]:
    chunks = aiter(stream)
    while True:
        try:
            chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except FAILURES:
            raise
        except Exception as error:
            # Whatever an endpoint sends, the library meets it with whatever exception it comes to.
            raise BrokenOffError("what it sent cannot be read") from error
        yield chunk


def _take(chunk: Any, answer: Answer) -> bool:
    """Add a piece; tell whether the text has grown."""
    try:
        return _added(chunk, answer)
    except (AttributeError, TypeError, ValueError, LookupError) as error:
        # The library does not check what it passes on.
        raise BrokenOffError("what it sent cannot be read") from error


def _added(chunk: Any, answer: Answer) -> bool:
    if isinstance(chunk.model, str):
        answer.model = chunk.model[:_MAX_NAME]
    if chunk.usage is not None:
        answer.usage = _usage(chunk.usage, answer.model)
    if not chunk.choices:
        return False
    choice = chunk.choices[0]
    if choice.finish_reason is not None:
        answer.ended = str(choice.finish_reason)
    if choice.delta is None:
        return False
    for delta in choice.delta.tool_calls or ():
        _add_call(delta, answer)
    piece = choice.delta.content or getattr(choice.delta, "refusal", None)
    if not piece:
        return False
    piece = piece[: MAX_ANSWER_CHARACTERS - answer.length + 1]
    answer.parts.append(piece)
    answer.length += len(piece)
    return True


def _add_call(delta: Any, answer: Answer) -> None:
    index = delta.index
    if not isinstance(index, int):
        # Some endpoints send each call whole and count none.
        index = len(answer.calls)
    call = answer.calls.setdefault(index, Call())
    call.id = call.id or str(delta.id or "")[:_MAX_NAME]
    if delta.function is None:
        return
    if delta.function.name and not call.name:
        call.name = str(delta.function.name)[:_MAX_NAME]
    piece = delta.function.arguments or ""
    call.pieces.append(piece[: MAX_ANSWER_CHARACTERS - answer.length + 1])
    answer.length += len(piece)


def _usage(reported: Any, model: str) -> base.Usage:
    cached = _count(getattr(getattr(reported, "prompt_tokens_details", None), "cached_tokens", None))
    read = _count(reported.prompt_tokens)
    cost = getattr(reported, "cost", None)  # US dollars, from those who broker models
    return base.Usage(
        model,
        input_tokens=max(read - cached, 0),
        output_tokens=_count(reported.completion_tokens),
        cache_read_tokens=min(cached, read),
        cost_micros=round(cost * _MICROS) if isinstance(cost, int | float) and 0 <= cost < _MICROS else None,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
