"""What the rules say about tunnels, remembered until the daemon publishes others: agents go to few hosts, and often."""

import time
from dataclasses import dataclass
from typing import Final

from nanoclawd.egress.rules import Asked, Decision, decide
from nanoclawd.egress.targets import Target
from nanoclawd.gateway.door.inside import Door
from nanoclawd.gateway.policy import Agent, AgentDirectory

_MOST: Final = 4096


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of a tunnel.

    Attributes:
        is_inside: its requests are judged one by one, within it; ``decision`` is about the tunnel as a whole.
    """

    decision: Decision
    is_inside: bool


class Judging:
    """Judges tunnels."""

    def __init__(self, agents: AgentDirectory, door: Door | None) -> None:
        self._agents = agents
        self._door = door
        self._remembered: dict[tuple[str, Target], Judged] = {}
        self._edition = agents.edition

    def tunnel(self, agent: Agent, asked: Asked) -> Judged:
        """Judge a tunnel that an agent asks for, by what was published when the agent was found."""
        if self._edition != self._agents.edition or len(self._remembered) >= _MOST:
            self._remembered.clear()
            self._edition = self._agents.edition
        key = agent.group, asked.target
        found = self._remembered.get(key)
        if found is not None:
            return found
        rules, now = self._agents.rules_of(agent), time.time()
        is_inside = self._door is not None and self._door.is_for(agent, asked.target)
        found = Judged(decide(rules, agent.group, asked, now), is_inside)
        if all(rule.until is None for rule in rules):  # else the answer is another one a moment later
            self._remembered[key] = found
        return found
