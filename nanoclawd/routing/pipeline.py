"""The decision: small steps, each with its reason and the rule behind it. Pure: reads no clock, no database.

An event: interceptors (a name, an answer to a card) → thread rule → chat → wirings.
At each wiring: engage → access → scope → command → session.
"""

from dataclasses import replace

from nanoclawd.routing import access, answers, commands, engage
from nanoclawd.routing.answers import AskBack, OpenCard
from nanoclawd.routing.decision import (
    Action,
    Command,
    DropReason,
    EventDecision,
    Outcome,
    Step,
    WiringDecision,
)
from nanoclawd.routing.engage import Patterns
from nanoclawd.routing.event import Hook, InboundEvent
from nanoclawd.routing.facts import Facts, WiredAgent
from nanoclawd.store.chats import Chat


def decide(event: InboundEvent, facts: Facts, patterns: Patterns) -> EventDecision:
    """Decide what becomes of an event. Takes time where patterns have to be matched: :func:`takes_time` tells."""
    intercepted = _intercepted(event, facts) if event.is_speech else None
    if intercepted is not None:
        return intercepted
    steps = [_thread_rule(event, facts)]
    if facts.chat is None or not facts.agents:
        return _unheard(event, facts, tuple(steps))
    chat = facts.chat
    names = ", ".join(agent.group for agent in facts.agents)
    steps.append(Step("wirings", Outcome.PASS, f"heard by {names}", f"chat {chat.id}"))
    if event.change is not None:
        decided = tuple(_change(facts, chat, agent) for agent in facts.agents)
    elif event.hook is not None:
        decided = tuple(_hooked(event.hook, agent) for agent in facts.agents)
    else:
        command = commands.parse(event.text)
        decided = tuple(_at_wiring(event, facts, chat, agent, command, patterns) for agent in facts.agents)
    return EventDecision(event, chat, Action.ROUTE, "", tuple(steps), decided)


def takes_time(event: InboundEvent, facts: Facts) -> bool:
    """Tell whether deciding may take more than a moment, so that it is not done in the event loop."""
    return len(event.text) > _LONG_TEXT or any(engage.needs_matching(agent.wiring) for agent in facts.agents)


_LONG_TEXT = 4096


def _intercepted(event: InboundEvent, facts: Facts) -> EventDecision | None:
    if facts.answered_before:
        step = Step("answer", Outcome.STOP, "it is told again, and was an answer the first time", "host message")
        return EventDecision(event, facts.chat, Action.ANSWER, "", (step,))
    if facts.name_for is not None and event.text.strip() and commands.parse(event.text) is None:
        step = Step(
            "name", Outcome.STOP, "the sender was asked for a name, and this is it", f"approval {facts.name_for}"
        )
        return EventDecision(event, facts.chat, Action.NAME, "", (step,))
    found = answers.find(event.text, [card for card in facts.cards if _may_answer(card, facts)])
    if found is None:
        return None
    if isinstance(found, AskBack):
        step = Step(
            "answer", Outcome.STOP, "several open cards could be meant; the sender is asked which", "open cards"
        )
        return EventDecision(event, facts.chat, Action.REPLY, "", (step,), reply=found.words)
    step = Step("answer", Outcome.STOP, "it answers an open card", f"{found.kind} {found.card_id}")
    return EventDecision(event, facts.chat, Action.ANSWER, "", (step,), answer=found)


def _may_answer(card: OpenCard, facts: Facts) -> bool:
    if card.agent_group_id is None or (facts.chat is not None and facts.chat.unknown_sender_policy == "public"):
        return True
    return facts.standing.may_access(card.agent_group_id)


def _thread_rule(event: InboundEvent, facts: Facts) -> Step:
    channel = event.address.channel_type
    if facts.threads:
        reason = "no thread" if facts.thread_id is None else f"thread {facts.thread_id}"
        return Step("thread", Outcome.NOTE, reason, f"channel {channel} has threads")
    reason = "no thread" if event.address.thread_id is None else "the thread does not count"
    return Step("thread", Outcome.NOTE, reason, f"channel {channel} has no threads")


def _unheard(event: InboundEvent, facts: Facts, steps: tuple[Step, ...]) -> EventDecision:
    """Decide about a chat that no agent hears."""
    chat, policy = facts.chat, facts.access.unknown_chats
    known = "an unknown chat" if chat is None else "a chat that no agent is wired to"
    rule = f"access unknown_chats={policy}"

    def end(action: Action, reason: str, why: str, rule: str) -> EventDecision:
        outcome = Outcome.PASS if action is Action.REGISTER else Outcome.STOP
        return EventDecision(event, chat, action, reason, (*steps, Step("chat", outcome, f"{known}: {why}", rule)))

    if not event.is_speech:
        return end(Action.IGNORE, "", "no agent is there to be told of a change or by a program", "no wiring")
    if not event.is_addressed:
        return end(Action.IGNORE, "", "nobody spoke to the account, so nothing is written down", "no wiring")
    if chat is not None and chat.denied_at is not None:
        return end(
            Action.DROP, DropReason.CHAT_DENIED, "somebody has refused to connect it", f"chat {chat.id} denied_at"
        )
    if policy == "strict":
        return end(Action.DROP, DropReason.CHAT_STRICT, "nobody is asked about such chats", rule)
    if policy == "request_approval":
        return end(Action.ASK, DropReason.CHAT_PENDING, "somebody is asked which agent it is to have", rule)
    if facts.default_group is None:
        return end(
            Action.DROP, DropReason.NO_AGENT_WIRED, "there is no default agent to wire it to", "access default_group"
        )
    return end(Action.REGISTER, "", f"it is wired to {facts.default_group}", rule)


def _at_wiring(
    event: InboundEvent, facts: Facts, chat: Chat, agent: WiredAgent, command: Command | None, patterns: Patterns
) -> WiringDecision:
    """Decide what one agent makes of an event. Whom a gate refuses leaves nothing, also as context (F-161)."""
    wiring, standing = agent.wiring, facts.standing
    engaged = engage.evaluate(wiring, event, is_sticky=agent.is_sticky, patterns=patterns)
    if not engaged.engages:
        if wiring.ignored_message_policy != "accumulate":
            return _end(agent, Action.DROP, engaged.reason, [engaged.step])
        return _as_context(facts, chat, agent, command, replace(engaged.step, outcome=Outcome.NOTE), engaged.reason)
    steps = [engaged.step]
    for verdict in (
        access.sender_access(chat, standing, wiring.agent_group_id, agent.group),
        access.sender_scope(wiring, standing, agent.group),
    ):
        step = verdict.step
        steps.append(replace(step, reason=f"{step.reason}; somebody is asked") if verdict.asks else step)
        if not verdict.passes:
            return _end(agent, Action.ASK if verdict.asks else Action.DROP, verdict.reason, steps)
    if command is None:
        steps.append(_session_step(agent))
        sticks = wiring.engage_mode == "mention-sticky" and event.is_mention and event.is_group
        return _end(agent, Action.ENGAGE, "", steps, makes_sticky=sticks and facts.thread_id is not None)
    # A session of all of an agent's chats is nobody's own, in whichever of them something is said.
    with_others = event.is_group or agent.session_mode == "agent-shared"
    gate = commands.check(command, standing, wiring.agent_group_id, agent.group, with_others=with_others)
    steps.append(gate.step)
    return _end(agent, gate.action, "", steps, command=command, reply=gate.reply)


def _change(facts: Facts, chat: Chat, agent: WiredAgent) -> WiringDecision:
    """Decide whether an agent learns of a change: where it has a conversation, from those whom it hears.

    Whether it has the message that was changed, its session knows.
    """
    wiring, standing = agent.wiring, facts.standing
    if agent.session is None:
        step = Step("change", Outcome.STOP, "no conversation has the message that was changed", "no session")
        return _end(agent, Action.DROP, "", [step])
    steps = []
    for verdict in (
        access.sender_access(chat, standing, wiring.agent_group_id, agent.group),
        access.sender_scope(wiring, standing, agent.group),
    ):
        steps.append(verdict.step)
        if not verdict.passes:
            return _end(agent, Action.DROP, "", steps)
    steps.append(Step("change", Outcome.PASS, "told to who has the message; nobody is woken", f"wiring {wiring.id}"))
    return _end(agent, Action.ACCUMULATE, "", steps)


def _hooked(hook: Hook, agent: WiredAgent) -> WiringDecision:
    """Decide whether an agent gets what a program has sent. The hook's secret stands for a sender."""
    rule = f"hook {hook.source}"
    if hook.group not in {"", agent.group}:
        return _end(agent, Action.DROP, "", [Step("hook", Outcome.STOP, f"the hook is for {hook.group}", rule)])
    return _end(
        agent, Action.ENGAGE, "", [Step("hook", Outcome.PASS, "the hook is for it", rule), _session_step(agent)]
    )


def _as_context(
    facts: Facts, chat: Chat, agent: WiredAgent, command: Command | None, not_engaged: Step, reason: str
) -> WiringDecision:
    """Decide whether what an agent does not engage on is kept as context for it."""
    wiring, standing = agent.wiring, facts.standing
    steps = [not_engaged]
    for verdict in (
        access.sender_access(chat, standing, wiring.agent_group_id, agent.group),
        access.sender_scope(wiring, standing, agent.group),
    ):
        step = verdict.step
        steps.append(step if verdict.passes else replace(step, reason=f"{step.reason}: not kept as context"))
        if not verdict.passes:
            return _end(agent, Action.DROP, reason, steps)
    if command is not None:
        steps.append(Step("command", Outcome.STOP, "a command is never context", f"command /{command.name}"))
        return _end(agent, Action.DROP, reason, steps)
    rule = f"wiring {wiring.id} ignored_message_policy={wiring.ignored_message_policy}"
    steps.append(Step("policy", Outcome.PASS, "kept as context for a later turn; nobody is woken", rule))
    steps.append(_session_step(agent))
    return _end(agent, Action.ACCUMULATE, "", steps)


def _session_step(agent: WiredAgent) -> Step:
    where = "a new session" if agent.session is None else f"session {agent.session.id}"
    place = {
        "agent-shared": f"one for all chats of {agent.group}",
        "shared": "one for the chat",
        "per-thread": "one for each thread",
    }[agent.session_mode]
    rule = f"wiring {agent.wiring.id} session_mode={agent.wiring.session_mode}"
    if agent.session_mode != agent.wiring.session_mode:
        rule += "; in groups threads are conversations of their own"
    return Step("session", Outcome.NOTE, f"{where} ({place})", rule)


def _end(
    agent: WiredAgent,
    action: Action,
    reason: str,
    steps: list[Step],
    *,
    makes_sticky: bool = False,
    command: Command | None = None,
    reply: str = "",
) -> WiringDecision:
    return WiringDecision(
        wiring=agent.wiring,
        group=agent.group,
        agent_group_id=agent.wiring.agent_group_id,
        action=action,
        reason=reason,
        steps=tuple(steps),
        session_mode=agent.session_mode,
        thread_id=agent.thread_id,
        session=agent.session,
        makes_sticky=makes_sticky,
        command=command,
        reply=reply,
    )
