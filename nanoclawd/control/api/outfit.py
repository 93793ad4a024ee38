"""Behind io.nanoclaw.Packages, Mcp, Skills and Mounts: what agent groups are given.

``group`` takes any form that :mod:`nanoclawd.store.resolve` knows, and raises ``NotFound`` and ``InvalidName`` as that
does.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from nanoclawd.control.values import Caller, McpServer, Mount, Package, Skill


class PackagesBackend(Protocol):
    """Behind io.nanoclaw.Packages. Packages are given as names by manager.

    Raises:
        InvalidName: a name breaks its rule.
        TooLarge: there are too many.
    """

    async def list(self, group: str | None, limit: int) -> Sequence[Package]:
        """Return the packages (of a group) by group, in the order in which they were added."""

    async def add(self, caller: Caller, group: str, packages: Mapping[str, tuple[str, ...]]) -> Sequence[Package]:
        """Note packages for the next build; return all of the group's."""

    async def remove(self, caller: Caller, group: str, packages: Mapping[str, tuple[str, ...]]) -> Sequence[Package]:
        """Take packages away; return those that are left."""

    async def install(
        self, caller: Caller, group: str, packages: Mapping[str, tuple[str, ...]]
    ) -> tuple[Sequence[Package], int]:
        """Build the group's image with more packages, and restart its running sessions; return both.

        Raises:
            NanoclawError: the image could not be built; nothing has changed.
        """


class McpBackend(Protocol):
    """Behind io.nanoclaw.Mcp.

    Raises:
        InvalidName: a part of a server is not right.
        TooLarge: it is too much.
    """

    async def list(self, group: str | None, limit: int) -> Sequence[McpServer]:
        """Return the servers (of a group) by group and name."""

    def check(self, server: McpServer) -> None:
        """Tell what is plainly wrong with a server, before anybody is asked to allow it. Does not wait.

        Raises:
            NotFound: there is no such endpoint.
            Refused: the endpoint is no MCP server's, or has no such path.
        """

    async def add(self, caller: Caller, server: McpServer) -> McpServer:
        """Add a server.

        Raises:
            AlreadyExists: the group has one of the name.
        """

    async def remove(self, caller: Caller, group: str, name: str) -> None:
        """Take a server away."""

    async def install(self, caller: Caller, server: McpServer) -> tuple[McpServer, int]:
        """Add a server or replace it, and restart the group's running sessions; return both."""


class SkillsBackend(Protocol):
    """Behind io.nanoclaw.Skills."""

    async def list(self, group: str | None, limit: int) -> Sequence[Skill]:
        """Return the shared skills (that a group has) by name."""


class MountsBackend(Protocol):
    """Behind io.nanoclaw.Mounts."""

    async def list(self, group: str | None, limit: int) -> Sequence[Mount]:
        """Return the directories (of a group) by group and name."""

    async def add(self, caller: Caller, group: str, path: str, name: str | None, *, writable: bool) -> Mount:
        """Give a group a directory of the machine.

        Raises:
            AlreadyExists: the group has one of the name.
            Refused: it may not be given.
        """

    async def remove(self, caller: Caller, group: str, name: str) -> None:
        """Take a directory away."""
