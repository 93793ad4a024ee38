"""What the runner reports to the host beside an answer: rows that ride in the answer's own transaction."""

import json
from collections.abc import Sequence

from nanoclaw_runner.contract.text import storable
from nanoclaw_runner.providers.base import Trouble, Usage
from nanoclaw_runner.store.outbox import Reply

_MAX_WORDS = 1000
_MAX_SUBJECT = 200


def usage(turn: str, reported: Sequence[Usage], *, tool_calls: int, seconds: float) -> Reply:
    """Return the report of what an answer took.

    Args:
        turn: id of the message that was answered.
        reported: by the provider, one or more.
        tool_calls: how many there were.
        seconds: how long the answer took.
    """
    costs = [one.cost_micros for one in reported if one.cost_micros is not None]
    return _report(
        {
            "action": "usage",
            "turn": turn,
            "model": _short(reported[-1].model, _MAX_SUBJECT),
            "inputTokens": sum(one.input_tokens for one in reported),
            "outputTokens": sum(one.output_tokens for one in reported),
            "cacheReadTokens": sum(one.cache_read_tokens for one in reported),
            "cacheWriteTokens": sum(one.cache_write_tokens for one in reported),
            "costMicros": sum(costs) if costs else None,
            "toolCalls": tool_calls,
            "seconds": round(seconds, 3),
        }
    )


def trouble(kind: Trouble, message: str, subject: str = "") -> Reply:
    """Return the report of something that the operator has to know of."""
    return _report(
        {
            "action": "trouble",
            "kind": kind,
            "message": _short(message, _MAX_WORDS),
            "subject": _short(subject, _MAX_SUBJECT),
        }
    )


def over(kind: str, subject: str = "") -> Reply:
    """Return the report that such a trouble is over."""
    return _report({"action": "over", "kind": kind, "subject": subject})


def _report(content: dict[str, object]) -> Reply:
    return Reply(content=json.dumps(content, ensure_ascii=False), kind="system")


def _short(text: str, limit: int) -> str:
    return storable(" ".join(text.split()))[:limit]
