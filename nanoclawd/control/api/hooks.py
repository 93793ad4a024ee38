"""Behind io.nanoclaw.Hooks: where other programs reach an agent."""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import Caller, Hook, HookSettings, HookWithSecret


class HooksBackend(Protocol):
    """Behind io.nanoclaw.Hooks. A hook is named by its name.

    Raises:
        NotFound: there is no such hook.
    """

    async def list(self, group: str | None, limit: int) -> Sequence[Hook]:
        """Return the hooks (of a group) by name."""

    async def get(self, hook: str) -> Hook:
        """Return one hook."""

    async def create(self, caller: Caller, name: str, group: str, settings: HookSettings) -> HookWithSecret:
        """Make a hook.

        Raises:
            AlreadyExists: there is one of this name.
            InvalidName: the name or a setting breaks its rule.
            Refused: the agent does not hear the chat in which it is to answer.
        """

    async def rotate(self, caller: Caller, hook: str) -> HookWithSecret:
        """Give a hook another secret."""

    async def enable(self, caller: Caller, hook: str) -> Hook:
        """Have a hook take messages."""

    async def disable(self, caller: Caller, hook: str) -> Hook:
        """Have a hook take no messages."""

    async def delete(self, caller: Caller, hook: str) -> None:
        """Delete a hook with its secret."""

    async def test(self, caller: Caller, hook: str) -> HookWithSecret:
        """Return a token that lets one request in within a minute."""
