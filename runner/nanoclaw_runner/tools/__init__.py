"""The tools that an agent can call, put together from the families beside this file."""

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.places import Places
from nanoclaw_runner.tools import clock
from nanoclaw_runner.tools.base import Toolbox


def toolbox(config: AgentConfig, places: Places, desk: Desk) -> Toolbox:
    """Return the tools of a configured agent."""
    del places, desk
    return Toolbox([*clock.tools(config)], max_calls=config.max_tool_calls)
