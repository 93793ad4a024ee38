"""Dropped messages: counted per chat and sender, with the most specific reason ever met (W-19)."""

from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.store.names import shown_name
from nanoclawd.store.transaction import together

KEPT = 10_000
"""Rows that are kept; the longest unseen go first, so that strangers can't fill the disk."""

SPECIFICITY: dict[str, int] = {
    "no_agent_wired": 0,
    "no_agent_engaged": 1,
    "pattern_timeout": 2,
    "chat_strict": 3,
    "chat_pending": 3,
    "no_identity": 4,
    "sender_scope": 5,
    "unknown_sender_strict": 6,
    "unknown_sender_pending": 6,
    # Somebody decided so.
    "chat_denied": 7,
    "sender_denied": 7,
}
"""How much a reason says: the higher, the more."""

_COLUMNS = (
    "d.channel_type, d.platform_id, d.user_id, d.sender_name, d.reason, d.agent_group_id, g.folder, d.message_count,"
    " d.first_seen, d.last_seen"
)
_KEY = "channel_type = ? AND platform_id = ? AND user_id = ?"


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a sender wrote in a chat that no agent heard. ``user_id`` is empty where the channel named nobody.

    ``agent_group_id`` and ``group`` (its folder) say whose gate gave the reason, where one did.
    """

    channel_type: str
    platform_id: str
    user_id: str
    sender_name: str | None
    reason: str
    agent_group_id: str | None
    group: str | None
    message_count: int
    first_seen: str
    last_seen: str


def most_specific(reasons: Iterable[str]) -> str:
    """Return the reason that says most; of equal ones the first.

    Raises:
        ValueError: there is none.
    """
    return max(reasons, key=SPECIFICITY.__getitem__)


def record(
    connection: apsw.Connection,
    channel_type: str,
    platform_id: str,
    user_id: str | None,
    sender_name: str | None,
    reason: str,
    agent_group_id: str | None = None,
    count: int = 1,
) -> None:
    """Count events that no agent heard. Its reason replaces the one before only if it says as much or more."""
    key = (channel_type, platform_id, user_id or "")
    name, now = shown_name(sender_name), now_text()
    with together(connection):
        known = connection.execute(f"SELECT reason FROM dropped_messages WHERE {_KEY}", key).fetchone()
        if known is None:
            connection.execute(
                "INSERT INTO dropped_messages (channel_type, platform_id, user_id, sender_name, reason,"
                " agent_group_id, message_count, first_seen, last_seen)"
                " VALUES (?, ?, ?, ?, ?, (SELECT id FROM agent_groups WHERE id = ?), ?, ?, ?)",
                (*key, name, reason, agent_group_id, count, now, now),
            )
            _keep_newest(connection)
            return
        connection.execute(
            "UPDATE dropped_messages SET message_count = message_count + ?, last_seen = ?,"
            f" sender_name = coalesce(?, sender_name) WHERE {_KEY}",
            (count, now, name, *key),
        )
        if SPECIFICITY[reason] >= SPECIFICITY[str(known[0])]:
            connection.execute(
                "UPDATE dropped_messages SET reason = ?, agent_group_id = (SELECT id FROM agent_groups WHERE id = ?)"
                f" WHERE {_KEY}",
                (reason, agent_group_id, *key),
            )


def every(
    connection: apsw.Connection,
    channel_type: str | None = None,
    platform_id: str | None = None,
    user_id: str | None = None,
    reason: str | None = None,
    limit: int = 100,
) -> list[Dropped]:
    """Read what was dropped, the newest first; each filter that is given must fit."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM dropped_messages d LEFT JOIN agent_groups g ON g.id = d.agent_group_id"
        " WHERE (?1 IS NULL OR d.channel_type = ?1) AND (?2 IS NULL OR d.platform_id = ?2)"
        " AND (?3 IS NULL OR d.user_id = ?3) AND (?4 IS NULL OR d.reason = ?4)"
        " ORDER BY d.last_seen DESC LIMIT ?5",
        (channel_type, platform_id, user_id, reason, limit),
    )
    return [Dropped(*row) for row in rows]


def _keep_newest(connection: apsw.Connection) -> None:
    surplus = connection.execute("SELECT count(*) FROM dropped_messages").get - KEPT
    if surplus > 0:
        connection.execute(
            "DELETE FROM dropped_messages WHERE (channel_type, platform_id, user_id) IN"
            " (SELECT channel_type, platform_id, user_id FROM dropped_messages ORDER BY last_seen LIMIT ?)",
            (surplus,),
        )
