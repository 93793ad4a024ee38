"""The tools that an agent can call, put together from the families beside this file."""

from typing import Any

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.places import Places
from nanoclaw_runner.tools import clock, core, interactive, peers, scheduling, self_change
from nanoclaw_runner.tools.base import Tool, Toolbox


def toolbox(config: AgentConfig, places: Places, desk: Desk) -> Toolbox:
    """Return the tools of a configured agent."""
    tools: list[Tool[Any]] = [
        *clock.tools(config),
        *core.tools(places, desk),
        *interactive.tools(config, desk),
        *scheduling.tools(config, desk),
    ]
    if config.may_ask_host:
        # What has the appliance changed is not even shown to an agent that may not ask for it (W-26).
        tools += [*self_change.tools(desk), *peers.tools(desk)]
    return Toolbox(tools, max_calls=config.max_tool_calls)
