"""Behind io.nanoclaw.Usage and io.nanoclaw.Peers: what agents take, and who of them may write to whom."""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import Caller, PeerLink, UsageBy, UsageSum


class UsageBackend(Protocol):
    """Behind io.nanoclaw.Usage."""

    async def list(
        self, by: UsageBy, group: str | None, session: str | None, days: int, limit: int
    ) -> Sequence[UsageSum]:
        """Return what was used in the last days.

        Raises:
            NotFound: there is no such group or session.
        """


class PeersBackend(Protocol):
    """Behind io.nanoclaw.Peers."""

    async def list(self, group: str | None, limit: int) -> Sequence[PeerLink]:
        """Return who may write to whom."""

    async def create(
        self, caller: Caller, group: str, name: str, instructions: str, key: str | None
    ) -> tuple[PeerLink, str]:
        """Make an agent that another one can write to; the words are for that one.

        Raises:
            AlreadyExists: it knows somebody by this name.
            TooLarge: the instructions are over their bound.
        """
