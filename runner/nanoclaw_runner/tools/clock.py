"""What time it is."""

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.tools.base import Tool


class Nothing(msgspec.Struct, frozen=True):
    """No arguments."""


def tools(config: AgentConfig) -> list[Tool[Any]]:
    """Return the tools of this family."""

    async def current_time(_arguments: Nothing) -> str:
        return datetime.now(zone(config.timezone)).isoformat(timespec="seconds")

    return [Tool("current_time", "The present time in the owner's zone.", Nothing, current_time)]


def zone(name: str) -> tzinfo:
    """Return a time zone, UTC where there is none of the name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
