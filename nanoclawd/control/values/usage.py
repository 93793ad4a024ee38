"""What io.nanoclaw.Usage carries."""

from dataclasses import dataclass
from enum import StrEnum


class UsageBy(StrEnum):
    """What usage is added up by."""

    DAY = "day"
    GROUP = "group"
    SESSION = "session"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class UsageSum:
    """What was used together. See the interface for the fields."""

    key: str
    turns: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: float | None
    tool_calls: int
    seconds: float
