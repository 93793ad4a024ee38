"""What the appliance says to /help, /whoami, /status and /stop. Pure: texts of facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nanoclawd.routing.decision import Command
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.facts import Facts, WiredAgent
from nanoclawd.sessions.state import Phase, Snapshot

_ADMIN_HELP = (
    "`/clear` forgets this conversation, `/compact` shortens what is remembered of it, `/context` and `/cost` say how"
    " much that is, `/files` lists what was made."
)
_PHASES = {
    Phase.ASLEEP: "asleep, and woken by the next message",
    Phase.WAITING: "waiting for a place",
    Phase.WAKING: "starting",
    Phase.AWAKE: "at work",
    Phase.STOPPING: "stopping",
    Phase.QUARANTINED: "out of order, until an administrator resets it",
}


@dataclass(frozen=True, slots=True)
class State:
    """A session at the moment, and how many messages wait for its answer."""

    snapshot: Snapshot
    waiting: int


_ASLEEP = State(Snapshot(), 0)


def reply(
    command: Command,
    event: InboundEvent,
    facts: Facts,
    agents: Sequence[WiredAgent],
    states: Mapping[str, State],
    *,
    stopped: Sequence[str] = (),
) -> str:
    """Return the appliance's answer to a command of everybody's.

    Args:
        command: one that the appliance answers.
        event: where it was given, and by whom.
        facts: what is known about that.
        agents: those to whom it was said, and who hear the sender.
        states: sessions that do not sleep, by their ids.
        stopped: the folders of the agents whose running turn was ended just now.
    """
    match command.name:
        case "help":
            return _help(event, facts, agents)
        case "whoami":
            return _whoami(event, facts, agents)
        case "status":
            return "\n".join(_status(agent, states) for agent in agents)
        case _:
            return f"Stopped: {', '.join(stopped)}." if stopped else "Nothing is running that could be stopped."


def _help(event: InboundEvent, facts: Facts, agents: Sequence[WiredAgent]) -> str:
    lines = [f"{_called(agent)} {_hears(agent, event)}" for agent in agents]
    lines += ["", "`/status` says what is going on, `/whoami` who you are here, `/help` this."]
    if any(_may_stop(agent, event, facts) for agent in agents):
        lines.append("`/stop` ends what the agent is doing.")
    if any(facts.standing.may_administer(agent.wiring.agent_group_id) for agent in agents):
        lines.append(_ADMIN_HELP)
    return "\n".join(lines)


def _may_stop(agent: WiredAgent, event: InboundEvent, facts: Facts) -> bool:
    alone = not event.is_group and agent.session_mode != "agent-shared"
    return alone or facts.standing.may_access(agent.wiring.agent_group_id)


def _called(agent: WiredAgent) -> str:
    name = agent.name if agent.name == agent.group else f"{agent.name} ({agent.group})"
    return f"{name} is an agent."


def _hears(agent: WiredAgent, event: InboundEvent) -> str:
    wiring = agent.wiring
    if wiring.engage_mode == "pattern":
        if wiring.engage_pattern == ".":
            return "It hears everything that is written here."
        return f"It hears what matches `{wiring.engage_pattern}`."
    if not event.is_group:
        return "It hears everything that you write here."
    if wiring.engage_mode == "mention-sticky" and agent.thread_id is not None:
        return "It hears what mentions it, and from then on the whole thread."
    return "It hears what mentions it."


def _whoami(event: InboundEvent, facts: Facts, agents: Sequence[WiredAgent]) -> str:
    user_id = facts.standing.user_id
    if user_id is None:
        return "I can't tell who you are: this channel does not say."
    # Shown to others: without what turns the direction of text around.
    name = "".join(char for char in event.sender.name if char.isprintable()).strip()
    name = f"{name} " if name else ""
    lines = [f"You are {name}(`{user_id}`)."]
    lines += [f"To {agent.group} you are: {facts.standing.role_in(agent.wiring.agent_group_id)}." for agent in agents]
    return "\n".join(lines)


def _status(agent: WiredAgent, states: Mapping[str, State]) -> str:
    if agent.session is None:
        return f"{agent.group}: no conversation here yet."
    state = states.get(agent.session.id, _ASLEEP)
    snapshot = state.snapshot
    text = _PHASES[snapshot.phase]
    if snapshot.phase is Phase.AWAKE and not state.waiting:
        text = "awake, with nothing to do"
    if snapshot.place is not None:
        text += f", number {snapshot.place} in the queue"
    if snapshot.reason:
        text += f" ({snapshot.reason})"
    if state.waiting:
        text += f"; {state.waiting} {'message waits' if state.waiting == 1 else 'messages wait'} for an answer"
    return f"{agent.group}: {text}."
