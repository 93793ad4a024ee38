"""Chats (messaging groups) and their wirings to agent groups."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store.constraints import is_duplicate, is_missing_parent
from nanoclawd.store.names import new_id

_CHAT_COLUMNS = "id, channel_type, platform_id, name, is_group, unknown_sender_policy, created_at"
_WIRING_COLUMNS = (
    "id, messaging_group_id, agent_group_id, session_mode, priority, engage_mode, engage_pattern,"
    " sender_scope, ignored_message_policy, created_at"
)


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat on one platform, known by channel type and platform id."""

    id: str
    channel_type: str
    platform_id: str
    name: str | None
    is_group: bool
    unknown_sender_policy: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which agent hears a chat, and when."""

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
            f"INSERT INTO messaging_groups ({_CHAT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (chat_id, channel_type, platform_id, name, int(is_group), unknown_sender_policy, now_text()),
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
        raise NotFound(f"there is no chat {chat_id[:40]}")
    return _chat(row)


def by_address(connection: apsw.Connection, channel_type: str, platform_id: str) -> Chat | None:
    """Read a chat by where it is, or None."""
    row = connection.execute(
        f"SELECT {_CHAT_COLUMNS} FROM messaging_groups WHERE channel_type = ? AND platform_id = ?",
        (channel_type, platform_id),
    ).fetchone()
    return None if row is None else _chat(row)


def rename(connection: apsw.Connection, chat_id: str, name: str | None) -> Chat:
    """Change a chat's shown name.

    Raises:
        NotFound: there is none.
    """
    connection.execute("UPDATE messaging_groups SET name = ? WHERE id = ?", (name, chat_id))
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
) -> Wiring:
    """Wire a chat to an agent.

    Raises:
        AlreadyExists: they are wired already.
        NotFound: one of the two doesn't exist.
    """
    wiring_id = new_id("mga")
    try:
        connection.execute(
            "INSERT INTO messaging_group_agents (id, messaging_group_id, agent_group_id, session_mode, priority,"
            " engage_mode, engage_pattern, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                wiring_id,
                chat_id,
                agent_group_id,
                session_mode,
                priority,
                engage_mode,
                engage_pattern,
                now_text(),
            ),
        )
    except apsw.ConstraintError as error:
        if is_missing_parent(error):
            raise NotFound("the chat or the agent to wire doesn't exist") from error
        if not is_duplicate(error):
            raise
        raise AlreadyExists("this chat and this agent are wired already") from error
    return next(wiring for wiring in wirings_of_chat(connection, chat_id) if wiring.id == wiring_id)


def wirings_of_chat(connection: apsw.Connection, chat_id: str) -> list[Wiring]:
    """Read a chat's wirings, highest priority first, then oldest."""
    rows = connection.execute(
        f"SELECT {_WIRING_COLUMNS} FROM messaging_group_agents WHERE messaging_group_id = ?"
        " ORDER BY priority DESC, rowid",
        (chat_id,),
    )
    return [Wiring(*row) for row in rows]


def wirings_of_agent(connection: apsw.Connection, agent_group_id: str) -> list[Wiring]:
    """Read an agent's wirings, highest priority first, then oldest."""
    rows = connection.execute(
        f"SELECT {_WIRING_COLUMNS} FROM messaging_group_agents WHERE agent_group_id = ? ORDER BY priority DESC, rowid",
        (agent_group_id,),
    )
    return [Wiring(*row) for row in rows]


def group_of_wiring(connection: apsw.Connection, wiring: Wiring) -> str:
    """Return the folder of a wiring's agent group."""
    return str(connection.execute("SELECT folder FROM agent_groups WHERE id = ?", (wiring.agent_group_id,)).get)


def ensure_terminal(connection: apsw.Connection, platform_id: str, name: str, agent_group_id: str) -> Chat:
    """Return the terminal's chat with an agent, made and wired the first time (F-82: again makes nothing new)."""
    with writing(connection):
        chat = by_address(connection, "terminal", platform_id)
        if chat is None:
            chat = create(connection, "terminal", platform_id, name, unknown_sender_policy="public")
        if not any(wiring.agent_group_id == agent_group_id for wiring in wirings_of_chat(connection, chat.id)):
            wire(connection, chat.id, agent_group_id, engage_mode="pattern", engage_pattern=".")
    return chat


def _chat(row: tuple[object, ...]) -> Chat:
    chat_id, channel_type, platform_id, name, is_group, policy, created_at = row
    return Chat(
        id=str(chat_id),
        channel_type=str(channel_type),
        platform_id=str(platform_id),
        name=None if name is None else str(name),
        is_group=bool(is_group),
        unknown_sender_policy=str(policy),
        created_at=str(created_at),
    )
