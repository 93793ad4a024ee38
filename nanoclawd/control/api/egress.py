"""Behind io.nanoclaw.Egress: where agents may go."""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import Caller, EgressRule, EgressTest, EgressWish


class EgressBackend(Protocol):
    """Behind io.nanoclaw.Egress."""

    async def list(self, group: str | None, limit: int) -> Sequence[EgressRule]:
        """Return the rules of a group with those of all groups, or all rules, as they came."""

    async def put(self, caller: Caller, action: str, group: str, wish: EgressWish) -> tuple[EgressRule, int | None]:
        """Write a rule; return it, and the number of the one whose place it takes.

        Raises:
            NotFound: there is no such group.
            InvalidName: a part of the wish can't be read.
            Refused: it speaks of what can't be enforced.
            TooLarge: there are too many rules.
            Unavailable: it is written, and not published.
        """

    async def remove(self, caller: Caller, rule: int) -> EgressRule:
        """Take a rule away and return it.

        Raises:
            NotFound: there is none of this number.
        """

    async def about(self, group: str, host: str) -> str:
        """Return the one form of a host that a group's agent wants to reach, before anybody is asked.

        Raises:
            NotFound: there is no such group.
            InvalidName: it is no host, or not one that an agent may ask for.
            Refused: the rules say something about it already.
        """

    async def grant(self, caller: Caller, group: str, host: str, lasting: str) -> EgressRule:
        """Let a group's agent reach a host that it has asked for; ``lasting`` empty: for ever.

        Raises:
            Refused: the rules say something else by now.
        """

    async def test(self, group: str, url: str, method: str | None) -> EgressTest:
        """Say what would become of a request, without effect."""
