"""Roles: owners, global admins, admins of one group; and what a person may do because of them (their standing)."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, Refused
from nanoclawd.store import users
from nanoclawd.store.constraints import is_duplicate, is_missing_parent
from nanoclawd.store.transaction import together

ROLES = frozenset({"owner", "admin"})
_SELECT = (
    "SELECT r.user_id, r.role, r.agent_group_id, g.folder, r.granted_by, r.granted_at"
    " FROM user_roles r LEFT JOIN agent_groups g ON g.id = r.agent_group_id"
)


@dataclass(frozen=True, slots=True)
class Grant:
    """One role of one person. ``agent_group_id`` and ``group`` (its folder) are None where it holds everywhere."""

    user_id: str
    role: str
    agent_group_id: str | None
    group: str | None
    granted_by: str | None
    granted_at: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a person at one moment; ``user_id`` is None for somebody without an identity."""

    user_id: str | None
    is_owner: bool = False
    is_global_admin: bool = False
    admin_of: frozenset[str] = frozenset()
    member_of: frozenset[str] = frozenset()
    denied_in: frozenset[str] = frozenset()

    def may_administer(self, agent_group_id: str | None) -> bool:
        """Tell whether they may decide about a group, or (None) about what concerns all (W-58)."""
        return self.is_owner or self.is_global_admin or (agent_group_id is not None and agent_group_id in self.admin_of)

    def may_access(self, agent_group_id: str) -> bool:
        """Tell whether they are known to a group: its members, and whoever may administer it."""
        return self.may_administer(agent_group_id) or agent_group_id in self.member_of

    def role_in(self, agent_group_id: str) -> str:
        """Say what they are to a group, in a word or two: the highest that holds."""
        if self.is_owner:
            return "owner"
        if self.is_global_admin:
            return "global admin"
        if agent_group_id in self.admin_of:
            return "admin"
        return "member" if agent_group_id in self.member_of else "stranger"


def grant(
    connection: apsw.Connection,
    user_id: str,
    role: str,
    agent_group_id: str | None = None,
    granted_by: str | None = None,
) -> Grant:
    """Give a role to a person, who is written if they weren't; it ends their being denied where it holds.

    Raises:
        InvalidName: no such role, a user id that can't be, or an owner of a single group.
        NotFound: there is no such group.
        AlreadyExists: they have it.
    """
    if role not in ROLES:
        raise InvalidName(f"{role[:40]!r} is no role: there are owner and admin")
    if role == "owner" and agent_group_id is not None:
        raise InvalidName("an owner owns everything; of a single group one can be admin")
    with together(connection):
        users.ensure(connection, user_id)
        try:
            connection.execute(
                "INSERT INTO user_roles (user_id, role, agent_group_id, granted_by, granted_at) VALUES (?, ?, ?, ?, ?)",
                (user_id, role, agent_group_id, granted_by, now_text()),
            )
        except apsw.ConstraintError as error:
            if is_missing_parent(error):
                raise NotFound(f"there is no group {agent_group_id!r}", hint="ncl groups list") from error
            if not is_duplicate(error):
                raise
            raise AlreadyExists(f"{user_id} has this role already", hint="ncl roles list") from error
        connection.execute(
            "DELETE FROM denied_senders WHERE user_id = ?1 AND (?2 IS NULL OR agent_group_id = ?2)",
            (user_id, agent_group_id),
        )
        return next(
            one for one in grants(connection, user_id) if (one.role, one.agent_group_id) == (role, agent_group_id)
        )


def revoke(connection: apsw.Connection, user_id: str, role: str, agent_group_id: str | None = None) -> None:
    """Take a role from a person.

    Raises:
        NotFound: they don't have it.
        Refused: the last owner: nobody could decide anything any more.
    """
    with together(connection):
        if role == "owner" and agent_group_id is None and _owners(connection) == [user_id]:
            raise Refused(f"{user_id} is the last owner", hint="ncl roles grant owner USER")
        connection.execute(
            "DELETE FROM user_roles WHERE user_id = ? AND role = ? AND ifnull(agent_group_id, '') = ?",
            (user_id, role, agent_group_id or ""),
        )
        if not connection.changes():
            raise NotFound(f"{user_id[:40]!r} doesn't have this role", hint="ncl roles list")


def grants(connection: apsw.Connection, user_id: str | None = None, agent_group_id: str | None = None) -> list[Grant]:
    """Read roles, oldest first: all, a person's, or those given for one group."""
    rows = connection.execute(
        f"{_SELECT} WHERE (?1 IS NULL OR r.user_id = ?1) AND (?2 IS NULL OR r.agent_group_id = ?2)"
        " ORDER BY r.granted_at, r.rowid",
        (user_id, agent_group_id),
    )
    return [Grant(*row) for row in rows]


def has_owner(connection: apsw.Connection) -> bool:
    """Tell whether the appliance has an owner."""
    return bool(_owners(connection))


def approvers(connection: apsw.Connection, agent_group_id: str | None) -> list[str]:
    """Return who may decide, in the order in which they are asked: the group's admins, global admins, owners.

    Within each, the longest in office first; nobody twice.
    """
    rows = connection.execute(
        "SELECT user_id FROM ("
        "SELECT user_id, 0 AS class, granted_at, rowid AS number FROM user_roles"
        " WHERE agent_group_id = ?1 AND role = 'admin'"
        " UNION ALL SELECT user_id, iif(role = 'admin', 1, 2), granted_at, rowid FROM user_roles"
        " WHERE agent_group_id IS NULL AND role IN ('admin', 'owner')"
        ") ORDER BY class, granted_at, number",
        (agent_group_id,),
    )
    return list(dict.fromkeys(str(row[0]) for row in rows))


def standing(connection: apsw.Connection, user_id: str | None) -> Standing:
    """Read everything about a person that a decision needs; a stranger has an empty standing."""
    if user_id is None:
        return Standing(None)
    roles = connection.execute("SELECT role, agent_group_id FROM user_roles WHERE user_id = ?", (user_id,)).fetchall()
    members = connection.execute("SELECT agent_group_id FROM agent_group_members WHERE user_id = ?", (user_id,))
    denied = connection.execute("SELECT agent_group_id FROM denied_senders WHERE user_id = ?", (user_id,))
    return Standing(
        user_id=user_id,
        is_owner=("owner", None) in roles,
        is_global_admin=("admin", None) in roles,
        admin_of=frozenset(str(group) for role, group in roles if role == "admin" and group is not None),
        member_of=frozenset(str(row[0]) for row in members.fetchall()),
        denied_in=frozenset(str(row[0]) for row in denied.fetchall()),
    )


def _owners(connection: apsw.Connection) -> list[str]:
    rows = connection.execute("SELECT user_id FROM user_roles WHERE agent_group_id IS NULL AND role = 'owner'")
    return [str(row[0]) for row in rows]
