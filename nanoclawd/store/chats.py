"""Chats (messaging groups) and their wirings to agent groups."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store import destinations
from nanoclawd.store.constraints import is_duplicate, is_missing_parent
from nanoclawd.store.names import new_id, shown_name
from nanoclawd.store.transaction import together

_CHAT_COLUMNS = (
    "id, channel_type, platform_id, name, is_group, unknown_sender_policy, created_at, denied_at, denied_by, moves"
)
_WIRINGS = (
    "SELECT w.id, w.messaging_group_id, w.agent_group_id, w.session_mode, w.priority, w.engage_mode, w.engage_pattern,"
    " w.sender_scope, w.ignored_message_policy, w.created_at, g.folder, m.channel_type, m.platform_id"
    " FROM messaging_group_agents w JOIN agent_groups g ON g.id = w.agent_group_id"
    " JOIN messaging_groups m ON m.id = w.messaging_group_id"
)


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat, known by its channel and the platform's id of it.

    Attributes:
        channel_type: the channel's name in the configuration.
        denied_at: when somebody with the right to it refused to connect this chat for good.
        moves: how often the platform has replaced it by another.
    """

    id: str
    channel_type: str
    platform_id: str
    name: str | None
    is_group: bool
    unknown_sender_policy: str
    created_at: str
    denied_at: str | None = None
    denied_by: str | None = None
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which agent hears a chat, and when. The last three are the group's folder and the chat's address."""

    id: str
    messaging_group_id: str
    agent_group_id: str
    session_mode: str
    priority: int
    engage_mode: str
    engage_pattern: str | None
    sender_scope: str
    ignored_message_policy: str
    created_at: str
    group: str = ""
    channel_type: str = ""
    platform_id: str = ""


def create(
    connection: apsw.Connection,
    channel_type: str,
    platform_id: str,
    name: str | None = None,
    is_group: bool = False,
    unknown_sender_policy: str = "strict",
) -> Chat:
    """Create a chat.

    Raises:
        AlreadyExists: this channel has this platform id already.
    """
    chat_id = new_id("mg")
    try:
        connection.execute(
            "INSERT INTO messaging_groups (id, channel_type, platform_id, name, is_group, unknown_sender_policy,"
            " created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (chat_id, channel_type, platform_id, shown_name(name), int(is_group), unknown_sender_policy, now_text()),
        )
    except apsw.ConstraintError as error:
        if not is_duplicate(error):
            raise
        raise AlreadyExists(f"there is a chat {platform_id} on {channel_type} already") from error
    return by_id(connection, chat_id)


def by_id(connection: apsw.Connection, chat_id: str) -> Chat:
    """Read a chat by its id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(f"SELECT {_CHAT_COLUMNS} FROM messaging_groups WHERE id = ?", (chat_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no chat {chat_id[:40]!r}", hint="ncl chats list")
    return _chat(row)


def by_address(connection: apsw.Connection, channel_type: str, platform_id: str) -> Chat | None:
    """Read a chat by where it is, or None."""
    row = connection.execute(
        f"SELECT {_CHAT_COLUMNS} FROM messaging_groups WHERE channel_type = ? AND platform_id = ?",
        (channel_type, platform_id),
    ).fetchone()
    return None if row is None else _chat(row)


def every(connection: apsw.Connection, channel: str | None = None) -> list[Chat]:
    """Read all chats, or a channel's, oldest first."""
    rows = connection.execute(
        f"SELECT {_CHAT_COLUMNS} FROM messaging_groups WHERE ?1 IS NULL OR channel_type = ?1 ORDER BY rowid", (channel,)
    )
    return [_chat(row) for row in rows]


def update(
    connection: apsw.Connection,
    chat_id: str,
    name: str | None = None,
    is_group: bool | None = None,
    unknown_sender_policy: str | None = None,
) -> Chat:
    """Change what is given of a chat; None leaves a column as it is.

    Raises:
        NotFound: there is none.
    """
    connection.execute(
        "UPDATE messaging_groups SET name = coalesce(?, name), is_group = coalesce(?, is_group),"
        " unknown_sender_policy = coalesce(?, unknown_sender_policy) WHERE id = ?",
        (shown_name(name), None if is_group is None else int(is_group), unknown_sender_policy, chat_id),
    )
    return by_id(connection, chat_id)


def deny(connection: apsw.Connection, chat_id: str, denied_by: str | None) -> Chat:
    """Note that nobody is to be asked about a chat again.

    Raises:
        NotFound: there is none.
    """
    connection.execute(
        "UPDATE messaging_groups SET denied_at = ?, denied_by = ? WHERE id = ?", (now_text(), denied_by, chat_id)
    )
    return by_id(connection, chat_id)


def undeny(connection: apsw.Connection, chat_id: str) -> Chat:
    """Forget that a chat was refused.

    Raises:
        NotFound: there is none.
    """
    connection.execute("UPDATE messaging_groups SET denied_at = NULL, denied_by = NULL WHERE id = ?", (chat_id,))
    return by_id(connection, chat_id)


def rename(connection: apsw.Connection, chat_id: str, name: str | None) -> Chat:
    """Change a chat's shown name.

    Raises:
        NotFound: there is none.
    """
    connection.execute("UPDATE messaging_groups SET name = ? WHERE id = ?", (shown_name(name), chat_id))
    return by_id(connection, chat_id)


def delete(connection: apsw.Connection, chat_id: str) -> None:
    """Delete a chat and its wirings; its sessions stay readable without it."""
    connection.execute("DELETE FROM messaging_groups WHERE id = ?", (chat_id,))


def wire(
    connection: apsw.Connection,
    chat_id: str,
    agent_group_id: str,
    session_mode: str = "shared",
    priority: int = 0,
    engage_mode: str = "mention",
    engage_pattern: str | None = None,
    sender_scope: str = "all",
    ignored_message_policy: str = "drop",
) -> Wiring:
    """Wire a chat to an agent, which may write there from now on: its destination is made with it (W-31).

    Raises:
        AlreadyExists: they are wired already.
        NotFound: one of the two doesn't exist.
    """
    wiring_id = new_id("mga")
    with together(connection):
        try:
            connection.execute(
                "INSERT INTO messaging_group_agents (id, messaging_group_id, agent_group_id, session_mode, priority,"
                " engage_mode, engage_pattern, sender_scope, ignored_message_policy, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    wiring_id,
                    chat_id,
                    agent_group_id,
                    session_mode,
                    priority,
                    engage_mode,
                    engage_pattern,
                    sender_scope,
                    ignored_message_policy,
                    now_text(),
                ),
            )
        except apsw.ConstraintError as error:
            if is_missing_parent(error):
                raise NotFound("the chat or the agent to wire doesn't exist") from error
            if not is_duplicate(error):
                raise
            raise AlreadyExists("this chat and this agent are wired already", hint="ncl wirings list") from error
        destinations.ensure_channel(connection, agent_group_id, chat_id, wiring_id)
        return wiring_by_id(connection, wiring_id)


def wiring_by_id(connection: apsw.Connection, wiring_id: str) -> Wiring:
    """Read a wiring by its id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(f"{_WIRINGS} WHERE w.id = ?", (wiring_id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no wiring {wiring_id[:40]!r}", hint="ncl wirings list")
    return Wiring(*row)


def wirings_of_chat(connection: apsw.Connection, chat_id: str) -> list[Wiring]:
    """Read a chat's wirings, highest priority first, then oldest."""
    rows = connection.execute(
        f"{_WIRINGS} WHERE w.messaging_group_id = ? ORDER BY w.priority DESC, w.rowid", (chat_id,)
    )
    return [Wiring(*row) for row in rows]


def wirings_of_agent(connection: apsw.Connection, agent_group_id: str) -> list[Wiring]:
    """Read an agent's wirings, highest priority first, then oldest."""
    rows = connection.execute(
        f"{_WIRINGS} WHERE w.agent_group_id = ? ORDER BY w.priority DESC, w.rowid", (agent_group_id,)
    )
    return [Wiring(*row) for row in rows]


def every_wiring(connection: apsw.Connection) -> list[Wiring]:
    """Read all wirings, oldest first."""
    return [Wiring(*row) for row in connection.execute(f"{_WIRINGS} ORDER BY w.rowid")]


def update_wiring(connection: apsw.Connection, wiring: Wiring) -> Wiring:
    """Write a wiring's changeable columns: all but its two ends.

    Raises:
        NotFound: it has gone.
    """
    connection.execute(
        "UPDATE messaging_group_agents SET session_mode = ?, priority = ?, engage_mode = ?, engage_pattern = ?,"
        " sender_scope = ?, ignored_message_policy = ? WHERE id = ?",
        (
            wiring.session_mode,
            wiring.priority,
            wiring.engage_mode,
            wiring.engage_pattern,
            wiring.sender_scope,
            wiring.ignored_message_policy,
            wiring.id,
        ),
    )
    return wiring_by_id(connection, wiring.id)


def unwire(connection: apsw.Connection, wiring_id: str) -> None:
    """End a wiring. The destination that it made goes with it, one that was there before or is needed by more stays.

    Raises:
        NotFound: there is none.
    """
    connection.execute("DELETE FROM messaging_group_agents WHERE id = ?", (wiring_id,))
    if not connection.changes():
        raise NotFound(f"there is no wiring {wiring_id[:40]!r}", hint="ncl wirings list")


def ensure_terminal(connection: apsw.Connection, platform_id: str, name: str, agent_group_id: str) -> Chat:
    """Return the terminal's chat with an agent, made and wired the first time (F-82: again makes nothing new)."""
    chat = by_address(connection, "terminal", platform_id)
    if chat is not None and any(one.agent_group_id == agent_group_id for one in wirings_of_chat(connection, chat.id)):
        return chat
    with together(connection):
        if chat is None:
            chat = create(connection, "terminal", platform_id, name, unknown_sender_policy="public")
        wire(connection, chat.id, agent_group_id, engage_mode="pattern", engage_pattern=".")
    return chat


def _chat(row: tuple[object, ...]) -> Chat:
    chat_id, channel_type, platform_id, name, is_group, policy, created_at, denied_at, denied_by, moves = row
    return Chat(
        id=str(chat_id),
        channel_type=str(channel_type),
        platform_id=str(platform_id),
        name=None if name is None else str(name),
        is_group=bool(is_group),
        unknown_sender_policy=str(policy),
        created_at=str(created_at),
        denied_at=None if denied_at is None else str(denied_at),
        denied_by=None if denied_by is None else str(denied_by),
        moves=int(str(moves)),
    )
