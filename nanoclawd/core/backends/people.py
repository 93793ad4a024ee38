"""Behind io.nanoclaw.Users, Roles and Members."""

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence

import apsw

from nanoclawd.control.values import Caller, Dm, Member, Role, User
from nanoclawd.core.backends.words import check_word, user_id_of
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.journal import about
from nanoclawd.store import members, resolve, roles, user_dms, users
from nanoclawd.store.database import Database
from nanoclawd.store.transaction import together

log = logging.getLogger(__name__)

type Reach = Callable[[], object]
"""Others may decide now than before: post to them what waits for somebody who may."""


class UsersBackend:
    """People as operators handle them."""

    def __init__(self, database: Database, reach: Reach) -> None:
        self._database = database
        self._reach = reach

    async def list(self, limit: int) -> Sequence[User]:
        """Return the users by id."""
        return await self._database.run(_list_users, limit)

    async def get(self, user: str) -> User:
        """Return one user."""
        return await self._database.run(_get_user, user)

    async def create(self, caller: Caller, user_id: str, display_name: str | None) -> User:
        """Make a user known."""
        made = await self._database.run(_create_user, user_id, display_name)
        log.info("%s made user %s", caller.user_id, made.id)
        return made

    async def update(self, caller: Caller, user: str, display_name: str) -> User:
        """Change a user's shown name."""
        changed = await self._database.run(_update_user, user, display_name)
        log.info("%s named user %s %s", caller.user_id, changed.id, changed.display_name or "nothing")
        return changed

    async def delete(self, caller: Caller, user: str) -> None:
        """Delete a user with all roles."""
        log.info("%s deleted user %s", caller.user_id, await self._database.run(_delete_user, user))
        self._reach()

    async def undeny(self, caller: Caller, user: str, group: str | None) -> int:
        """Forget that a user was denied."""
        user_id, removed = await self._database.run(_undeny, user, group)
        log.info("%s forgot that %s was denied in %s", caller.user_id, user_id, group or "any group")
        return removed

    async def dms(self, user: str | None, limit: int) -> Sequence[Dm]:
        """Return the known direct chats by user and channel."""
        return await self._database.run(_dms, user, limit)


def _list_users(connection: apsw.Connection, limit: int) -> list[User]:
    return _views(connection, sorted(users.every(connection), key=lambda user: user.id)[:limit])


def _get_user(connection: apsw.Connection, text: str) -> User:
    return _views(connection, [resolve.user(connection, text)])[0]


def _create_user(connection: apsw.Connection, user_id: str, display_name: str | None) -> User:
    with together(connection):
        try:
            known = users.by_id(connection, users.check_id(user_id))
        except NotFound:
            return _views(connection, [users.ensure(connection, user_id, display_name)])[0]
        raise AlreadyExists(f"there is a user {known.id} already", hint=f"ncl users get {known.id}")


def _update_user(connection: apsw.Connection, text: str, display_name: str) -> User:
    return _views(connection, [users.rename(connection, resolve.user(connection, text).id, display_name or None)])[0]


def _delete_user(connection: apsw.Connection, text: str) -> str:
    user_id = resolve.user(connection, text).id
    users.delete(connection, user_id)
    return user_id


def _undeny(connection: apsw.Connection, text: str, group: str | None) -> tuple[str, int]:
    user_id = resolve.user(connection, text).id
    group_id = None if group is None else resolve.group(connection, group).id
    return user_id, members.undeny(connection, user_id, group_id)


def _dms(connection: apsw.Connection, text: str | None, limit: int) -> list[Dm]:
    user_id = None if text is None else resolve.user(connection, text).id
    rows = user_dms.every(connection, user_id)[:limit]
    return [Dm(row.user_id, row.channel, row.platform_id, row.resolved_at) for row in rows]


def _views(connection: apsw.Connection, found: Sequence[users.User]) -> list[User]:
    """Return users with what they are; one read of each table, however many users."""
    only = found[0].id if len(found) == 1 else None
    granted: defaultdict[str, list[str]] = defaultdict(list)
    joined: defaultdict[str, list[str]] = defaultdict(list)
    denied: defaultdict[str, list[str]] = defaultdict(list)
    for grant in roles.grants(connection, only):
        granted[grant.user_id].append(_role_words(grant))
    for member in members.every(connection, None, only):
        joined[member.user_id].append(member.group)
    for denial in members.denials(connection):
        denied[denial.user_id].append(denial.group)
    return [
        User(
            id=user.id,
            display_name=user.display_name,
            roles=granted[user.id],
            member_of=joined[user.id],
            denied_in=denied[user.id],
            created_at=user.created_at,
        )
        for user in found
    ]


def _role_words(grant: roles.Grant) -> str:
    return grant.role if grant.group is None else f"{grant.role} of {grant.group}"


class RolesBackend:
    """Roles as operators handle them."""

    def __init__(self, database: Database, reach: Reach) -> None:
        self._database = database
        self._reach = reach

    async def list(self, user: str | None, group: str | None, limit: int) -> Sequence[Role]:
        """Return the roles by user."""
        return await self._database.run(_list_roles, user, group, limit)

    async def grant(self, caller: Caller, user: str, role: str, group: str | None) -> Role:
        """Give a role."""
        check_word("role", role, sorted(roles.ROLES))
        granted = await self._database.run(_grant, caller.user_id, user, role, group)
        self._tell(caller, "gave %s the role %s", granted.user, granted.role, granted.group)
        self._reach()
        return granted

    async def revoke(self, caller: Caller, user: str, role: str, group: str | None) -> None:
        """Take a role away."""
        check_word("role", role, sorted(roles.ROLES))
        user_id, folder = await self._database.run(_revoke, user, role, group)
        self._tell(caller, "took from %s the role %s", user_id, role, folder)
        self._reach()

    async def claim(self, caller: Caller) -> Role | None:
        """Make the caller the owner if there is none."""
        granted = await self._database.run(_claim, caller.user_id)
        if granted is not None:
            log.info("%s is the owner now", caller.user_id)
            self._reach()
        return granted

    def _tell(self, caller: Caller, what: str, user_id: str, role: str, group: str | None) -> None:
        words = f"%s {what}%s"
        log.info(words, caller.user_id, user_id, role, f" of {group}" if group else "", extra=about(group=group))


def _list_roles(connection: apsw.Connection, user: str | None, group: str | None, limit: int) -> list[Role]:
    user_id = None if user is None else resolve.user(connection, user).id
    group_id = None if group is None else resolve.group(connection, group).id
    found = [_role(row) for row in roles.grants(connection, user_id, group_id)]
    return sorted(found, key=lambda role: (role.user, role.role, role.group or ""))[:limit]


def _grant(connection: apsw.Connection, by: str, user: str, role: str, group: str | None) -> Role:
    with together(connection):
        group_id = None if group is None else resolve.group(connection, group).id
        return _role(roles.grant(connection, user_id_of(connection, user), role, group_id, by))


def _revoke(connection: apsw.Connection, user: str, role: str, group: str | None) -> tuple[str, str | None]:
    with together(connection):
        found = None if group is None else resolve.group(connection, group)
        user_id = resolve.user(connection, user).id
        roles.revoke(connection, user_id, role, None if found is None else found.id)
        return user_id, None if found is None else found.folder


def _claim(connection: apsw.Connection, user_id: str) -> Role | None:
    with together(connection):
        if roles.has_owner(connection):
            return None
        return _role(roles.grant(connection, user_id, "owner", None, user_id))


def _role(row: roles.Grant) -> Role:
    return Role(row.user_id, row.role, row.group, row.granted_by, row.granted_at)


class MembersBackend:
    """Memberships as operators handle them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, group: str | None, user: str | None, limit: int) -> Sequence[Member]:
        """Return the members by group and user."""
        return await self._database.run(_list_members, group, user, limit)

    async def add(self, caller: Caller, group: str, user: str) -> Member:
        """Let a user talk to a group's agent."""
        added = await self._database.run(_add_member, caller.user_id, group, user)
        log.info("%s made %s a member of %s", caller.user_id, added.user, added.group, extra=about(group=added.group))
        return added

    async def remove(self, caller: Caller, group: str, user: str) -> None:
        """Take a membership away."""
        user_id, folder = await self._database.run(_remove_member, group, user)
        log.info("%s took %s out of %s", caller.user_id, user_id, folder, extra=about(group=folder))


def _list_members(connection: apsw.Connection, group: str | None, user: str | None, limit: int) -> list[Member]:
    group_id = None if group is None else resolve.group(connection, group).id
    user_id = None if user is None else resolve.user(connection, user).id
    found = [_member(row) for row in members.every(connection, group_id, user_id)]
    return sorted(found, key=lambda member: (member.group, member.user))[:limit]


def _add_member(connection: apsw.Connection, by: str, group: str, user: str) -> Member:
    with together(connection):
        group_id = resolve.group(connection, group).id
        return _member(members.add(connection, user_id_of(connection, user), group_id, by))


def _remove_member(connection: apsw.Connection, group: str, user: str) -> tuple[str, str]:
    with together(connection):
        found, user_id = resolve.group(connection, group), resolve.user(connection, user).id
        members.remove(connection, user_id, found.id)
        return user_id, found.folder


def _member(row: members.Member) -> Member:
    return Member(row.user_id, row.group, row.added_by, row.added_at)
