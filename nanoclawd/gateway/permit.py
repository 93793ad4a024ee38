"""A permission for one request, which holds only as long as the rules say so."""

import time

from nanoclawd.egress.rules import Asked, Decision, decide
from nanoclawd.gateway.policy import Agent, AgentDirectory
from nanoclawd.gateway.refusals import Refusal


class Permit:
    """What the rules say about a request: at its beginning, and before each part of it that goes on.

    Attributes:
        asked: what it is about.
        agent: whose request it is.
        decision: what the rules said last.
        session: whose connection it is, as far as that can be told.
    """

    def __init__(
        self, agents: AgentDirectory, host_uid: int, agent: Agent, asked: Asked, decision: Decision | None = None
    ) -> None:
        """Decide.

        Args:
            agents: tells what agents may do.
            host_uid: who asks.
            agent: who that is, found a moment ago.
            asked: for what.
            decision: what the rules say about it, where that is known.
        """
        self._agents = agents
        self._host_uid = host_uid
        self.asked = asked
        self.session = ""
        self.agent = agent
        self.decision = decision or self._decided()

    def holds(self) -> bool:
        """Tell whether it is allowed at this moment."""
        until = self.decision.until
        if self._agents.is_current and (until is None or time.time() < until):
            return self.decision.allowed
        try:
            self._decide_again()
        except Refusal:
            # The group has gone, or nobody knows any more what it may do.
            return False
        return self.decision.allowed

    def approve(self, approval: str, until: float | None) -> None:
        """Take note that somebody has allowed what the rules wanted to be asked about.

        Args:
            approval: its id.
            until: when that ends, in seconds since 1970; None: with this request.
        """
        if self.decision.asks:
            self.decision = self.decision.approved(approval, until)

    def _decide_again(self) -> None:
        before = self.decision
        self.agent = self._agents.find(self._host_uid)
        self.decision = self._decided()
        if not before.approval or not self.decision.asks:
            return
        # What was allowed was what this rule asked about, for so long.
        if before.rule == self.decision.rule and (before.approved_until is None or time.time() < before.approved_until):
            self.decision = self.decision.approved(before.approval, before.approved_until)

    def _decided(self) -> Decision:
        return decide(self._agents.rules_of(self.agent), self.agent.group, self.asked, time.time())
