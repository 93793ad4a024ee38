"""Which chat reaches a person directly, on each channel."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import NotFound
from nanoclawd.store.constraints import is_missing_parent

_SELECT = (
    "SELECT d.user_id, d.channel, d.messaging_group_id, m.platform_id, d.resolved_at FROM user_dms d"
    " JOIN messaging_groups m ON m.id = d.messaging_group_id"
)


@dataclass(frozen=True, slots=True)
class UserDm:
    """A person's direct chat on a channel (the channel's name in the configuration)."""

    user_id: str
    channel: str
    messaging_group_id: str
    platform_id: str
    resolved_at: str


def remember(connection: apsw.Connection, user_id: str, channel: str, messaging_group_id: str) -> UserDm:
    """Note a person's direct chat on a channel in place of the one before.

    Raises:
        NotFound: there is no such user or chat.
    """
    try:
        connection.execute(
            "INSERT INTO user_dms (user_id, channel, messaging_group_id, resolved_at) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET messaging_group_id = excluded.messaging_group_id,"
            " resolved_at = excluded.resolved_at",
            (user_id, channel, messaging_group_id, now_text()),
        )
    except apsw.ConstraintError as error:
        if not is_missing_parent(error):
            raise
        raise NotFound("the user or the chat doesn't exist") from error
    return _some(connection, "WHERE d.user_id = ? AND d.channel = ?", (user_id, channel))[0]


def find(connection: apsw.Connection, user_id: str, channel: str) -> UserDm | None:
    """Read a person's direct chat on a channel, or None; one that was deleted, or has become a group's, is none."""
    found = _some(connection, "WHERE d.user_id = ? AND d.channel = ? AND m.is_group = 0", (user_id, channel))
    return found[0] if found else None


def every(connection: apsw.Connection, user_id: str | None = None) -> list[UserDm]:
    """Read the direct chats of all or of one."""
    return _some(connection, "WHERE ?1 IS NULL OR d.user_id = ?1 ORDER BY d.user_id, d.channel", (user_id,))


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str | None, ...]) -> list[UserDm]:
    return [UserDm(*row) for row in connection.execute(f"{_SELECT} {tail}", bindings)]
