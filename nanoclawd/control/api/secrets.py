"""Behind io.nanoclaw.Secrets: which secret goes where. The values are never here."""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import Caller, SecretBinding, SecretSettings, SecretTrial


class SecretsBackend(Protocol):
    """Behind io.nanoclaw.Secrets."""

    async def list(self, caller: Caller, group: str | None, limit: int) -> Sequence[SecretBinding]:
        """Return the bindings of a group with those of all groups, or all; an agent learns what it needs to use them.

        Raises:
            NotFound: there is no such group.
        """

    async def get(self, name: str) -> SecretBinding:
        """Return one binding.

        Raises:
            NotFound: there is none of this name.
        """

    async def check(self, settings: SecretSettings) -> tuple[SecretBinding, bool]:
        """Return what :meth:`bind` would, without effect."""

    async def bind(self, caller: Caller, settings: SecretSettings) -> tuple[SecretBinding, bool]:
        """Write a binding; return it, and whether it took the place of one.

        Raises:
            NotFound: there is no such group.
            InvalidName: a part of it can't be read.
            TooLarge: there are too many.
            Unavailable: it is written, and not published.
        """

    async def renewed(self, caller: Caller, name: str) -> SecretBinding:
        """Note that a secret has another value.

        Raises:
            NotFound: there is none of this name.
        """

    async def remove(self, caller: Caller, name: str) -> SecretBinding:
        """Take a binding away and return it.

        Raises:
            NotFound: there is none of this name.
        """

    async def test(self, name: str, url: str | None, group: str | None) -> Sequence[SecretTrial]:
        """Say what would become of requests, without effect."""
