"""Chats that their platform has replaced by others: a group that became a supergroup, a room that was upgraded."""

from typing import Final

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import AlreadyExists
from nanoclawd.store import chats

_ADDRESSED: Final = ("pending_questions", "host_messages", "tasks")
"""Tables that say where something goes by address."""


def every(connection: apsw.Connection) -> dict[tuple[str, str], str]:
    """Read the new platform ids by channel and old platform id."""
    rows = connection.execute("SELECT channel_type, platform_id, new_platform_id FROM moved_chats")
    return {(str(channel), str(old)): str(new) for channel, old, new in rows}


def move(connection: apsw.Connection, channel: str, old: str, new: str) -> bool:
    """Give a chat its new platform id, with everything that is addressed to it; False where that is done already.

    Raises:
        AlreadyExists: an agent has been wired to the new chat already: two chats do not become one.
    """
    with writing(connection):
        if every(connection).get((channel, old)) == new:
            return False
        chat, successor = chats.by_address(connection, channel, old), chats.by_address(connection, channel, new)
        if chat is not None and successor is not None:
            if chats.wirings_of_chat(connection, successor.id):
                raise AlreadyExists(f"chat {new} on {channel} has agents of its own", hint="ncl chats list")
            # It was written down when somebody spoke there before the move was told.
            connection.execute("DELETE FROM messaging_groups WHERE id = ?", (successor.id,))
        # A platform that moves a chat back and forth leads nobody in a circle.
        connection.execute("DELETE FROM moved_chats WHERE channel_type = ? AND platform_id = ?", (channel, new))
        connection.execute(
            "UPDATE moved_chats SET new_platform_id = ? WHERE channel_type = ? AND new_platform_id = ?",
            (new, channel, old),
        )
        connection.execute("INSERT OR REPLACE INTO moved_chats VALUES (?, ?, ?, ?)", (channel, old, new, now_text()))
        for table in _ADDRESSED:
            connection.execute(
                f"UPDATE {table} SET platform_id = ?3 WHERE channel_type = ?1 AND platform_id = ?2", (channel, old, new)
            )
        connection.execute(
            "UPDATE messaging_groups SET platform_id = ?3, moves = moves + 1"
            " WHERE channel_type = ?1 AND platform_id = ?2",
            (channel, old, new),
        )
    return True
