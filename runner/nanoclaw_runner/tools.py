"""The tools that an agent can call, by name."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nanoclaw_runner.contract.agent_config import AgentConfig


class ToolError(Exception):
    """The call failed; the message is for the agent."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes:
        description: what it does, for the model.
        run: takes the call's arguments and returns its text.
    """

    description: str
    run: Callable[[Mapping[str, object]], Awaitable[str]]


class Toolbox:
    """The tools of one agent."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = dict(tools)

    async def call(self, name: str, arguments: Mapping[str, object]) -> str:
        """Call a tool and return its text.

        Raises:
            ToolError: there is no such tool, or it refused.
        """
        tool = self._tools.get(name)
        if tool is None:
            raise ToolError(f"unknown tool: {name}")
        return await tool.run(arguments)


def toolbox(config: AgentConfig) -> Toolbox:
    """Return the tools of a configured agent."""

    async def current_time(_arguments: Mapping[str, object]) -> str:
        return datetime.now(_zone(config.timezone)).isoformat(timespec="seconds")

    return Toolbox({"current_time": Tool(description="The present time in the owner's zone.", run=current_time)})


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
