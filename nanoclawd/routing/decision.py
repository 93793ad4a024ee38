"""What the router decides about a message, and why: the answer to "why did my agent not reply?"."""

from dataclasses import dataclass
from enum import StrEnum

from nanoclawd.routing.event import InboundEvent
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.sessions import Session


class Outcome(StrEnum):
    """What a step did: let the message through, stopped it, or only noticed something."""

    PASS = "pass"  # noqa: S105  # no password
    STOP = "stop"
    NOTE = "note"


class Action(StrEnum):
    """What becomes of an event as a whole, or of it at one wiring."""

    ROUTE = "route"
    """The event: each wiring decides for itself."""
    ENGAGE = "engage"
    """Stored, and the agent is woken."""
    ACCUMULATE = "accumulate"
    """Stored as context for a later turn; nobody is woken."""
    COMMAND = "command"
    """Stored as a control row for the agent's runner."""
    STOP_TURN = "stop_turn"
    """The running turn is ended."""
    REPLY = "reply"
    """The appliance itself answers."""
    ASK = "ask"
    """Somebody who may is asked first."""
    DROP = "drop"
    """Nothing, and that is recorded."""
    IGNORE = "ignore"
    """Nothing at all, not even a record."""
    REGISTER = "register"
    """The chat is wired to the default agent, and the event then routed."""
    ANSWER = "answer"
    """It answers an open card."""
    NAME = "name"
    """It is the name that a registration waits for."""


class DropReason(StrEnum):
    """Why nobody heard a message. :mod:`nanoclawd.store.dropped` ranks them; the schema has the same words."""

    NO_AGENT_WIRED = "no_agent_wired"
    NO_AGENT_ENGAGED = "no_agent_engaged"
    PATTERN_TIMEOUT = "pattern_timeout"
    CHAT_STRICT = "chat_strict"
    CHAT_PENDING = "chat_pending"
    CHAT_DENIED = "chat_denied"
    NO_IDENTITY = "no_identity"
    SENDER_SCOPE = "sender_scope"
    UNKNOWN_SENDER_STRICT = "unknown_sender_strict"
    UNKNOWN_SENDER_PENDING = "unknown_sender_pending"
    SENDER_DENIED = "sender_denied"


@dataclass(frozen=True, slots=True)
class Step:
    """One look at the message.

    Attributes:
        name: which look: ``engage``, ``access``, ``scope``, ``command``…
        reason: a sentence for the operator.
        rule: what decided, as it can be found and changed: ``wiring mga-… engage_mode=mention-sticky``.
    """

    name: str
    outcome: Outcome
    reason: str
    rule: str = ""


class CommandClass(StrEnum):
    """Who may give a command, and who answers it."""

    OPEN = "open"
    KNOWN = "known"
    ADMIN = "admin"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the gate. ``name`` has no slash and is from a closed set; ``arguments`` is the person's text."""

    name: str
    arguments: str
    kind: CommandClass


@dataclass(frozen=True, slots=True)
class CardAnswer:
    """A text that answers an open card: ``kind`` is ``approval`` or ``question``."""

    kind: str
    card_id: str
    value: str


_DECIDES = {Action.ENGAGE: "engage", Action.ACCUMULATE: "policy"}


@dataclass(frozen=True, slots=True)
class WiringDecision:
    """What one agent makes of a message.

    Attributes:
        group: the agent group's folder.
        reason: a :class:`DropReason`, or empty.
        session_mode: the mode that holds here, which threads may have changed.
        thread_id: the session's thread.
        session: the session that is there already.
        makes_sticky: from now on the agent hears the rest of this thread.
        reply: the appliance's own words about it (a denial); empty where there are none.
    """

    wiring: Wiring
    group: str
    agent_group_id: str
    action: Action
    reason: str
    steps: tuple[Step, ...]
    session_mode: str
    thread_id: str | None
    session: Session | None
    makes_sticky: bool = False
    command: Command | None = None
    reply: str = ""

    @property
    def deciding(self) -> Step:
        """The step that decided: what stopped the message, or else what had it engage, kept or understood."""
        stopped = [step for step in self.steps if step.outcome is Outcome.STOP]
        if stopped:
            return stopped[-1]
        name = _DECIDES.get(self.action, "command")
        return next(step for step in self.steps if step.name == name)

    @property
    def stores(self) -> bool:
        """Whether a row comes of it."""
        return self.action in {Action.ENGAGE, Action.ACCUMULATE, Action.COMMAND}


@dataclass(frozen=True, slots=True)
class EventDecision:
    """What becomes of an event. ``wirings`` is empty where it did not come to them; ``reply`` asks a person back."""

    event: InboundEvent
    chat: Chat | None
    action: Action
    reason: str
    steps: tuple[Step, ...]
    wirings: tuple[WiringDecision, ...] = ()
    answer: CardAnswer | None = None
    reply: str = ""

    @property
    def deciding(self) -> Step:
        """The step that decided about the event as a whole: the last, as each goes on or ends it."""
        return self.steps[-1]
