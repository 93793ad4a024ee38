"""What a provider works with."""

from collections.abc import Callable
from dataclasses import dataclass

from nanoclaw_runner.contract.agent_config import AgentConfig
from nanoclaw_runner.desk import Desk
from nanoclaw_runner.places import Places
from nanoclaw_runner.tools.base import Toolbox
from nanoclaw_runner.way_out import WayOut


@dataclass(frozen=True, slots=True)
class Workshop:
    """Given to each provider when it is made.

    Attributes:
        desk: where rows are written while the agent works.
        tools: the runner's own tools, to be offered to the model as they are.
        instructions: the system prompt as it is now: who the agent is, where it may write to, what it remembers.
        way_out: what the agent's programs need to get out.
    """

    config: AgentConfig
    places: Places
    desk: Desk
    tools: Toolbox
    instructions: Callable[[], str]
    way_out: WayOut
