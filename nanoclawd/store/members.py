"""Members of agent groups, and those who are denied: nobody is asked about them again."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store import users
from nanoclawd.store.constraints import is_duplicate, is_missing_parent
from nanoclawd.store.transaction import together


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who may talk to a group without a role in it."""

    user_id: str
    agent_group_id: str
    group: str
    added_by: str | None
    added_at: str


@dataclass(frozen=True, slots=True)
class Denial:
    """Somebody whom an approver has refused for good."""

    user_id: str
    agent_group_id: str
    group: str
    denied_by: str | None
    denied_at: str


def add(connection: apsw.Connection, user_id: str, agent_group_id: str, added_by: str | None = None) -> Member:
    """Make a person a member, written if they weren't; it ends their being denied.

    Raises:
        InvalidName: the user's id can't be one.
        NotFound: there is no such group.
        AlreadyExists: they are a member.
    """
    with together(connection):
        users.ensure(connection, user_id)
        try:
            connection.execute(
                "INSERT INTO agent_group_members (user_id, agent_group_id, added_by, added_at) VALUES (?, ?, ?, ?)",
                (user_id, agent_group_id, added_by, now_text()),
            )
        except apsw.ConstraintError as error:
            if is_missing_parent(error):
                raise NotFound(f"there is no group {agent_group_id[:40]!r}", hint="ncl groups list") from error
            if not is_duplicate(error):
                raise
            raise AlreadyExists(f"{user_id} is a member already", hint="ncl members list") from error
        undeny(connection, user_id, agent_group_id)
        return every(connection, agent_group_id, user_id)[0]


def remove(connection: apsw.Connection, user_id: str, agent_group_id: str) -> None:
    """End a membership.

    Raises:
        NotFound: they are no member.
    """
    connection.execute(
        "DELETE FROM agent_group_members WHERE user_id = ? AND agent_group_id = ?", (user_id, agent_group_id)
    )
    if not connection.changes():
        raise NotFound(f"{user_id[:40]!r} is no member of this group", hint="ncl members list")


def every(connection: apsw.Connection, agent_group_id: str | None = None, user_id: str | None = None) -> list[Member]:
    """Read memberships, oldest first: all, a group's, a person's."""
    rows = connection.execute(
        "SELECT p.user_id, p.agent_group_id, g.folder, p.added_by, p.added_at FROM agent_group_members p"
        " JOIN agent_groups g ON g.id = p.agent_group_id"
        " WHERE (?1 IS NULL OR p.agent_group_id = ?1) AND (?2 IS NULL OR p.user_id = ?2)"
        " ORDER BY p.added_at, p.user_id, g.number",
        (agent_group_id, user_id),
    )
    return [Member(*row) for row in rows]


def deny(connection: apsw.Connection, user_id: str, agent_group_id: str, denied_by: str | None = None) -> Denial:
    """Note that nobody is to be asked about a person again; again only changes who said so.

    Raises:
        InvalidName: the user's id can't be one.
        NotFound: there is no such group.
    """
    with together(connection):
        users.ensure(connection, user_id)
        try:
            connection.execute(
                "INSERT INTO denied_senders (user_id, agent_group_id, denied_by, denied_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET denied_by = excluded.denied_by, denied_at = excluded.denied_at",
                (user_id, agent_group_id, denied_by, now_text()),
            )
        except apsw.ConstraintError as error:
            if not is_missing_parent(error):
                raise
            raise NotFound(f"there is no group {agent_group_id[:40]!r}", hint="ncl groups list") from error
        return next(
            one for one in denials(connection) if (one.user_id, one.agent_group_id) == (user_id, agent_group_id)
        )


def undeny(connection: apsw.Connection, user_id: str, agent_group_id: str | None = None) -> int:
    """Forget denials of a person, in one group or in all, and return how many there were."""
    connection.execute(
        "DELETE FROM denied_senders WHERE user_id = ?1 AND (?2 IS NULL OR agent_group_id = ?2)",
        (user_id, agent_group_id),
    )
    return int(connection.changes())


def denials(connection: apsw.Connection) -> list[Denial]:
    """Read all denials, oldest first."""
    rows = connection.execute(
        "SELECT d.user_id, d.agent_group_id, g.folder, d.denied_by, d.denied_at FROM denied_senders d"
        " JOIN agent_groups g ON g.id = d.agent_group_id ORDER BY d.denied_at, d.user_id, g.number"
    )
    return [Denial(*row) for row in rows]
