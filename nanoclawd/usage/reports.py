"""What sessions report of their turns. The numbers are the container's word: bounded here, whatever they say."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.text import storable
from nanoclawd.errors import Refused
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.store.usage import Turn

MAX_TOKENS: Final = 100_000_000
"""Of each sort in one turn: a hundred times what a model can hold."""

MAX_COST_MICROS: Final = 1_000_000_000
MAX_TOOL_CALLS: Final = 100_000
MAX_SECONDS: Final = 86_400.0
KINDS: Final = frozenset({"credentials", "rate-limit", "overloaded", "network", "refused", "mcp", "configuration"})
_MODEL_CHARACTERS: Final = 200
_MESSAGE_CHARACTERS: Final = 500
_SUBJECT_CHARACTERS: Final = 100


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that troubles an agent; ``subject`` is what it is about, where that has a name."""

    kind: str
    subject: str
    message: str


def turn(session: SessionRef, row_id: str, day: str, content: Mapping[str, object]) -> Turn:
    """Read a report of what a turn took. What is no number counts as 0, what is too much as the bound."""
    cost = content.get("costMicros")
    return Turn(
        id=hashlib.sha256(f"{session.id}\0{row_id}".encode(errors="replace")).hexdigest()[:32],
        agent_group_id=session.agent_group_id,
        group=session.group,
        session_id=session.id,
        day=day,
        model=_line(content.get("model"), _MODEL_CHARACTERS) or "unknown",
        input_tokens=_whole(content.get("inputTokens"), MAX_TOKENS),
        output_tokens=_whole(content.get("outputTokens"), MAX_TOKENS),
        cache_read_tokens=_whole(content.get("cacheReadTokens"), MAX_TOKENS),
        cache_write_tokens=_whole(content.get("cacheWriteTokens"), MAX_TOKENS),
        cost_micros=None if cost is None else _whole(cost, MAX_COST_MICROS),
        tool_calls=_whole(content.get("toolCalls"), MAX_TOOL_CALLS),
        seconds=_number(content.get("seconds"), MAX_SECONDS),
    )


def trouble(content: Mapping[str, object]) -> Trouble:
    """Read a report of a trouble.

    Raises:
        Refused: it is of no kind that there is.
    """
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refused("a trouble of no known kind")
    subject = _line(content.get("subject"), _SUBJECT_CHARACTERS)
    return Trouble(kind, subject, _line(content.get("message"), _MESSAGE_CHARACTERS) or "no words about it")


def _whole(value: object, most: int) -> int:
    return int(_number(value, most))


def _number(value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(value, float) and not math.isfinite(value):
        return 0
    return min(max(value, 0), most)


def _line(value: object, limit: int) -> str:
    """Return a text on one line without controls; the words are the agent's."""
    if not isinstance(value, str):
        return ""
    plain = "".join(character if character.isprintable() else " " for character in storable(value[: 4 * limit]))
    return " ".join(plain.split())[:limit]
