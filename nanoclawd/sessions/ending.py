"""Why a container ended, in words that a person can act on."""

from dataclasses import dataclass
from enum import Enum

from nanoclawd.supervision.user_manager import UnitState

_PODMAN_COULD_NOT = 125
"""podman-run(1), exit status: the error is podman's own."""


class Ended(Enum):
    """Who ended a container."""

    BY_ITSELF = "by itself"
    BY_OPERATOR = "by the operator"
    BY_PERSON = "by a person of its chat"
    FOR_RESTART = "for a restart"
    FOR_ROOM = "to make room"
    FOR_TIME = "for its time"
    FOR_BOUND = "for a bound"
    FOR_DAMAGE = "for damage"

    @property
    def blameless(self) -> bool:
        """Whether the message that it worked on gets its next try for nothing."""
        return self in (Ended.BY_PERSON, Ended.FOR_RESTART, Ended.FOR_ROOM)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a person is told, and what the operator can run."""

    what: str
    hint: str

    def sentence(self) -> str:
        """Return both as one text."""
        return f"{self.what} The operator can run: {self.hint}"


def start_trouble(unit: UnitState, session_id: str, *, missing_image: str, ready_seconds: float) -> Trouble:
    """Say why a container was never ready.

    Args:
        unit: how it ended.
        session_id: whose container it is.
        missing_image: the command that builds its image where that is missing, else empty.
        ready_seconds: how long it had.
    """
    if missing_image:
        return Trouble("I can't start: the agent's container image is missing.", missing_image)
    logs = f"ncl sessions logs {session_id}"
    if unit.result == "timeout":
        return Trouble(f"I can't start: my container was not ready within {ready_seconds:g} s.", logs)
    if unit.exit_status == _PODMAN_COULD_NOT:
        return Trouble("I can't start: podman could not make my container.", f"ncl doctor; {logs}")
    return Trouble(f"I can't start: my container ended before it was ready ({describe(unit)}).", logs)


def describe(unit: UnitState) -> str:
    """Say how a unit ended, in systemd's words (systemd.exec(5), $SERVICE_RESULT)."""
    if unit.result == "success":
        return "it ended without an error"
    if unit.result == "watchdog":
        return "it hung and the watchdog ended it"
    if unit.result == "oom-kill":
        return "it ran out of memory"
    if unit.result == "exit-code":
        return f"exit status {unit.exit_status}"
    return unit.result


def tries_again(unit: UnitState) -> str:
    """Tell a person who has waited through a second try that there will be more."""
    return f"My container ended again while I worked on this ({describe(unit)}). I keep trying."


def given_up(tries: int, unit: UnitState, session_id: str, *, missing_image: str) -> str:
    """Tell a person that a message will not be answered.

    Args:
        tries: how many there were.
        unit: how the last one ended.
        session_id: whose container it was.
        missing_image: the command that builds its image where that is missing, else empty.
    """
    if missing_image:
        return (
            f"I could not answer this: after {tries} tries the agent's container image is still missing."
            f" The operator can run: {missing_image}"
        )
    return (
        f"I could not answer this: my container ended {tries} times while I worked on it; the last time"
        f" {describe(unit)}. The operator can run: ncl sessions logs {session_id}"
    )
