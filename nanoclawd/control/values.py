"""The values that the control socket carries.

The dataclasses are the wire format too: a field here is the field of the same name in ``interfaces/*.varlink``, and a
test compares the two. Times are ISO-8601 text (:mod:`nanoclaw_runner.contract.clock`), sizes bytes, durations seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nanoclawd.doctor.finding import Finding


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a control connection, as the kernel says (SO_PEERCRED)."""

    uid: int
    gid: int
    pid: int
    user_name: str


class SessionState(StrEnum):
    """Where a session is in its life; see io.nanoclaw.Sessions."""

    ASLEEP = "asleep"
    WAITING = "waiting"
    WAKING = "waking"
    AWAKE = "awake"
    STOPPING = "stopping"
    QUARANTINED = "quarantined"


class ComponentState(StrEnum):
    """How a part beside the daemon is."""

    OK = "ok"
    IDLE = "idle"
    STARTING = "starting"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class BusySession:
    """A session that is not asleep. ``place`` in the queue counts from 1."""

    id: str
    group: str
    state: SessionState
    since: str
    status: str | None = None
    reason: str | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the number of awake sessions. None: not bounded, or not known on this machine."""

    max_awake: int
    awake: int
    waiting: int
    memory_budget: int | None
    memory_used: int | None
    min_free_disk: int
    free_disk: int | None


@dataclass(frozen=True, slots=True)
class Component:
    """A part beside the daemon: gateway, model, image-agent, image-model, user-manager."""

    name: str
    state: ComponentState
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ApplianceStatus:
    """How the appliance is now. ``uptime`` is in seconds."""

    version: str
    pid: int
    started_at: str
    uptime: float
    groups: int
    sessions: int
    busy: Sequence[BusySession]
    limits: Limits
    components: Sequence[Component]
    problems: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Group:
    """An agent group with the settings in force, defaults filled in."""

    name: str
    provider: str
    model: str
    instructions: str
    created_at: str
    sessions: int = 0
    awake: int = 0


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """A group's own settings. None: not given (create: the default; update: as it was). Empty: back to the default."""

    provider: str | None = None
    model: str | None = None
    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session as an operator sees it."""

    id: str
    group: str
    channel: str
    chat: str
    state: SessionState
    unit: str
    created_at: str
    last_active: str | None = None
    status: str | None = None
    reason: str | None = None
    place: int | None = None
    pending: int = 0


class ImageState(StrEnum):
    """Whether an image can be used."""

    PRESENT = "present"
    MISSING = "missing"
    BUILDING = "building"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Image:
    """A container image, built on this machine."""

    name: str
    reference: str
    state: ImageState
    size: int | None = None
    built_at: str | None = None
    detail: str | None = None


class BuildEvent(StrEnum):
    """What a piece of build progress is."""

    STAGE = "stage"
    LINE = "line"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """One piece of progress: stage ``stage`` of ``stages`` over all images that were asked for."""

    event: BuildEvent
    image: str
    stage: int
    stages: int
    text: str = ""


class EventType(StrEnum):
    """What a chat event is; see io.nanoclaw.Chat. ``attached`` is the control layer's own."""

    ATTACHED = "attached"
    MESSAGE = "message"
    NOTICE = "notice"
    PARTIAL = "partial"
    STATUS = "status"
    WAITING = "waiting"
    TURN = "turn"


class TurnState(StrEnum):
    """How far a message has come. ``completed`` only once its answers were delivered."""

    ACCEPTED = "accepted"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """Something that a chat screen shows.

    Attributes:
        type: what it is.
        id: of a message or notice: its id, the same each time it is shown.
        in_reply_to: id of the person's message that this is about.
        text: the words; empty for a turn.
        timestamp: when it came to be.
        state: of a turn: how it ended.
        place: of a waiting message: its session's place in the queue, from 1.
    """

    type: EventType
    id: str | None = None
    in_reply_to: str | None = None
    text: str = ""
    timestamp: str = ""
    state: TurnState | None = None
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """An accepted message."""

    message_id: str
    state: TurnState = TurnState.ACCEPTED
