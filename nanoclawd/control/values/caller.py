"""Who calls."""

from dataclasses import dataclass
from typing import Protocol


class Caller(Protocol):
    """Somebody who may change things. ``user_id`` is what rows and the journal remember of who it was."""

    @property
    def user_id(self) -> str:
        """``terminal:<unix name>`` of an operator, ``agent:<group>`` of an agent."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a control connection, as the kernel says (SO_PEERCRED, SO_PEERGROUPS)."""

    uid: int
    gid: int
    pid: int
    user_name: str
    groups: frozenset[int] = frozenset()

    @property
    def user_id(self) -> str:
        """The user of this terminal."""
        return f"terminal:{self.user_name}"
