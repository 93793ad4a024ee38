"""Users: people as the channels vouch for them. An id is ``<platform>:<the platform's own id>``, never a name (W-59).

A user is written when something is said about them (a role, a membership, a denial, a direct chat), not because they
wrote somewhere (W-18).
"""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.store.names import shown_name
from nanoclawd.store.transaction import together

MAX_ID_CHARACTERS = 512
USER_ID_RULE = (
    "a user's id is <platform>:<handle>, as telegram:12345, of at most 512 characters and without invisible ones"
)


@dataclass(frozen=True, slots=True)
class User:
    """One person on one platform."""

    id: str
    display_name: str | None
    created_at: str


def check_id(user_id: str) -> str:
    """Return a user's id when it keeps the rule.

    Raises:
        InvalidName: it doesn't; the error says the rule.
    """
    platform, _, handle = user_id.partition(":")
    # Nobody could tell two ids apart of which one has an odd space or a private character more.
    if not platform or not handle or len(user_id) > MAX_ID_CHARACTERS or not user_id.isprintable():
        raise InvalidName(f"{user_id[:40]!r} can't be a user's id: {USER_ID_RULE}")
    return user_id


def ensure(connection: apsw.Connection, user_id: str, display_name: str | None = None) -> User:
    """Return a user, written where there is none or where a new name is given; otherwise nothing is written.

    Raises:
        InvalidName: the id breaks the rule.
    """
    name = shown_name(display_name)
    row = connection.execute("SELECT id, display_name, created_at FROM users WHERE id = ?", (check_id(user_id),))
    found = row.fetchone()
    if found is not None and name in (None, found[1]):
        return User(*found)
    connection.execute(
        "INSERT INTO users (id, display_name, created_at) VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET display_name = excluded.display_name",
        (user_id, name, now_text()),
    )
    return by_id(connection, user_id)


def by_id(connection: apsw.Connection, user_id: str) -> User:
    """Read a user.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute("SELECT id, display_name, created_at FROM users WHERE id = ?", (user_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no user {user_id[:40]!r}", hint="ncl users list")
    return User(*row)


def every(connection: apsw.Connection) -> list[User]:
    """Read all users, oldest first."""
    return [User(*row) for row in connection.execute("SELECT id, display_name, created_at FROM users ORDER BY rowid")]


def rename(connection: apsw.Connection, user_id: str, display_name: str | None) -> User:
    """Change a user's shown name, or forget it.

    Raises:
        NotFound: there is none.
    """
    connection.execute("UPDATE users SET display_name = ? WHERE id = ?", (shown_name(display_name), user_id))
    return by_id(connection, user_id)


def delete(connection: apsw.Connection, user_id: str) -> None:
    """Delete a user with their roles, memberships, denials and direct chats.

    Raises:
        NotFound: there is none.
        Refused: the last owner: nobody could decide anything any more.
    """
    with together(connection):
        by_id(connection, user_id)
        owners = connection.execute("SELECT user_id FROM user_roles WHERE agent_group_id IS NULL AND role = 'owner'")
        if [row[0] for row in owners] == [user_id]:
            raise Refused(f"{user_id} is the last owner", hint="ncl roles grant owner USER")
        connection.execute("DELETE FROM users WHERE id = ?", (user_id,))
