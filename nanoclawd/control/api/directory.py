"""Behind io.nanoclaw.Chats, Wirings, Users, Roles, Members and Destinations: who may talk to whom.

What names an object takes any form that :mod:`nanoclawd.store.resolve` knows, and raises ``NotFound`` and
``InvalidName`` as that does.
"""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import (
    Caller,
    Chat,
    ChatSettings,
    Destination,
    Dm,
    Member,
    Role,
    User,
    Wiring,
    WiringSettings,
)


class ChatsBackend(Protocol):
    """Behind io.nanoclaw.Chats."""

    async def list(self, channel: str | None, group: str | None, limit: int) -> Sequence[Chat]:
        """Return the chats (of a channel, heard by a group) by channel and platform id."""

    async def get(self, chat: str) -> Chat:
        """Return one chat."""

    async def create(self, caller: Caller, channel: str, platform_id: str, settings: ChatSettings) -> Chat:
        """Make a chat known.

        Raises:
            AlreadyExists: it is.
            InvalidName: the policy is none, or the channel or the id can't be one.
        """

    async def update(self, caller: Caller, chat: str, settings: ChatSettings) -> Chat:
        """Change a chat; an empty name takes it away."""

    async def delete(self, caller: Caller, chat: str) -> None:
        """Delete a chat with its wirings."""

    async def undeny(self, caller: Caller, chat: str) -> Chat:
        """Forget that somebody refused to connect it.

        Raises:
            Refused: nobody did.
        """


class WiringsBackend(Protocol):
    """Behind io.nanoclaw.Wirings."""

    async def list(self, chat: str | None, group: str | None, limit: int) -> Sequence[Wiring]:
        """Return the wirings (of a chat, of a group) by chat and priority."""

    async def get(self, wiring: str) -> Wiring:
        """Return one wiring."""

    async def create(self, caller: Caller, chat: str, group: str, settings: WiringSettings) -> Wiring:
        """Have a group's agent hear a chat.

        Raises:
            AlreadyExists: it does.
            InvalidName: a setting is none that there is, or the pattern is no regular expression.
        """

    async def update(self, caller: Caller, wiring: str, settings: WiringSettings) -> Wiring:
        """Change a wiring. Raises as :meth:`create` does."""

    async def delete(self, caller: Caller, wiring: str) -> None:
        """Take a wiring away."""


class UsersBackend(Protocol):
    """Behind io.nanoclaw.Users."""

    async def list(self, limit: int) -> Sequence[User]:
        """Return the users by id."""

    async def get(self, user: str) -> User:
        """Return one user."""

    async def create(self, caller: Caller, user_id: str, display_name: str | None) -> User:
        """Make a user known.

        Raises:
            AlreadyExists: the user is.
            InvalidName: not PLATFORM:HANDLE.
        """

    async def update(self, caller: Caller, user: str, display_name: str) -> User:
        """Change the shown name; an empty one takes it away."""

    async def delete(self, caller: Caller, user: str) -> None:
        """Delete a user with all roles.

        Raises:
            Refused: the last owner.
        """

    async def undeny(self, caller: Caller, user: str, group: str | None) -> int:
        """Forget that a user was denied; return in how many groups."""

    async def dms(self, user: str | None, limit: int) -> Sequence[Dm]:
        """Return the known direct chats (of a user) by user and channel."""


class RolesBackend(Protocol):
    """Behind io.nanoclaw.Roles."""

    async def list(self, user: str | None, group: str | None, limit: int) -> Sequence[Role]:
        """Return the roles (of a user, that hold in a group) by user."""

    async def grant(self, caller: Caller, user: str, role: str, group: str | None) -> Role:
        """Give a role.

        Raises:
            AlreadyExists: the user has it.
            InvalidName: no such role, or an owner of one group.
        """

    async def revoke(self, caller: Caller, user: str, role: str, group: str | None) -> None:
        """Take a role away.

        Raises:
            Refused: the last owner's.
        """

    async def claim(self, caller: Caller) -> Role | None:
        """Make the caller the owner if there is none; None where there is one."""


class MembersBackend(Protocol):
    """Behind io.nanoclaw.Members."""

    async def list(self, group: str | None, user: str | None, limit: int) -> Sequence[Member]:
        """Return the members (of a group; a user's memberships) by group and user."""

    async def add(self, caller: Caller, group: str, user: str) -> Member:
        """Let a user talk to a group's agent.

        Raises:
            AlreadyExists: the user may.
        """

    async def remove(self, caller: Caller, group: str, user: str) -> None:
        """Take a membership away.

        Raises:
            NotFound: there is none.
        """


class DestinationsBackend(Protocol):
    """Behind io.nanoclaw.Destinations."""

    async def list(self, group: str | None, limit: int) -> Sequence[Destination]:
        """Return the destinations (of a group) by group and name."""

    async def add(
        self, caller: Caller, group: str, name: str | None, *, chat: str | None, agent: str | None
    ) -> Destination:
        """Allow a group's agent to write to a chat or to another agent; exactly one of the two is given.

        Raises:
            AlreadyExists: the name is taken, or the target is a destination already.
            InvalidName: the name can't be one.
            Refused: both targets, or none.
        """

    async def remove(self, caller: Caller, group: str, name: str) -> None:
        """Take a destination away.

        Raises:
            NotFound: there is none of that name.
        """
