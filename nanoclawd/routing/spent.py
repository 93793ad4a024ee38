"""An agent that has used up its day takes no message: whoever writes to it is told why, at once."""

from dataclasses import replace

from nanoclawd.routing.decision import Action, EventDecision, Outcome, Step, WiringDecision
from nanoclawd.routing.ports import Refusal

_ASKS = {Action.ENGAGE, Action.COMMAND}


def spared(decision: EventDecision, refusal: Refusal) -> EventDecision:
    """Return a decision in which agents that take nothing now are not asked; what is only kept for later still is."""
    if not any(one.action in _ASKS for one in decision.wirings):
        return decision
    return replace(decision, wirings=tuple(_spared(one, refusal) for one in decision.wirings))


def _spared(one: WiringDecision, refusal: Refusal) -> WiringDecision:
    words = refusal(one.agent_group_id, one.group) if one.action in _ASKS else None
    if words is None:
        return one
    step = Step("limit", Outcome.STOP, words, f"group {one.group} daily limits")
    return replace(one, action=Action.REPLY, reply=words, steps=(*one.steps, step))
