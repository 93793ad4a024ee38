"""Who is heard: the chat's policy for unknown senders, and the wiring's scope."""

from dataclasses import dataclass

from nanoclawd.routing.decision import DropReason, Outcome, Step
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.roles import Standing


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says. ``asks``: somebody who may is asked whether this person may."""

    passes: bool
    step: Step
    reason: str = ""
    asks: bool = False


def sender_access(chat: Chat, standing: Standing, agent_group_id: str, group: str) -> Verdict:
    """Decide by the chat's policy whether a sender reaches an agent at all."""
    policy = chat.unknown_sender_policy
    rule = f"chat {chat.id} unknown_sender_policy={policy}"
    if policy == "public":
        return _pass("access", "everybody may write here", rule)
    if standing.may_access(agent_group_id):
        return _pass("access", f"the sender is {standing.role_in(agent_group_id)} of {group}", rule)
    if standing.user_id is None:
        return _stop("access", "the channel does not say who the sender is", rule, DropReason.NO_IDENTITY)
    if agent_group_id in standing.denied_in:
        denial = f"denied sender {standing.user_id} in {group}"
        return _stop("access", "somebody has refused this sender for good", denial, DropReason.SENDER_DENIED)
    if policy == "strict":
        reason = f"the sender is no member of {group}"
        return _stop("access", reason, rule, DropReason.UNKNOWN_SENDER_STRICT)
    step = Step("access", Outcome.STOP, f"the sender is no member of {group}", rule)
    return Verdict(passes=False, step=step, reason=DropReason.UNKNOWN_SENDER_PENDING, asks=True)


def sender_scope(wiring: Wiring, standing: Standing, group: str) -> Verdict:
    """Decide by the wiring's scope; it binds in public chats too (F-156)."""
    rule = f"wiring {wiring.id} sender_scope={wiring.sender_scope}"
    if wiring.sender_scope == "all":
        return _pass("scope", f"{group} hears everybody who may write here", rule)
    if standing.may_access(wiring.agent_group_id):
        return _pass("scope", f"the sender is {standing.role_in(wiring.agent_group_id)} of {group}", rule)
    if standing.user_id is None:
        return _stop("scope", "the channel does not say who the sender is", rule, DropReason.NO_IDENTITY)
    return _stop("scope", f"the sender is no member of {group}", rule, DropReason.SENDER_SCOPE)


def _pass(name: str, reason: str, rule: str) -> Verdict:
    return Verdict(passes=True, step=Step(name, Outcome.PASS, reason, rule))


def _stop(name: str, reason: str, rule: str, code: str) -> Verdict:
    return Verdict(passes=False, step=Step(name, Outcome.STOP, reason, rule), reason=code)
