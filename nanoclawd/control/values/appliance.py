"""What io.nanoclaw.Appliance carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nanoclawd.control.values.sessions import SessionState
from nanoclawd.doctor.finding import Finding


class ComponentState(StrEnum):
    """How a part beside the daemon is."""

    OK = "ok"
    IDLE = "idle"
    STARTING = "starting"
    DEGRADED = "degraded"
    FAILED = "failed"
    DISABLED = "disabled"
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
    """A part beside the daemon: gateway, model, user-manager, ``channel <name>``."""

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
