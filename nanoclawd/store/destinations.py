"""Destinations: an agent's address book, and at the same time what it may write to beside its session's own chat."""

import itertools
from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store import names
from nanoclawd.store.transaction import together

MAX_NAME_CHARACTERS = 64
_COLUMNS = (
    "d.agent_group_id, d.local_name, d.messaging_group_id, d.target_group_id, m.channel_type, m.platform_id,"
    " t.folder, coalesce(m.name, t.name), d.created_at"
)
_FROM = (
    "FROM agent_destinations d LEFT JOIN messaging_groups m ON m.id = d.messaging_group_id"
    " LEFT JOIN agent_groups t ON t.id = d.target_group_id"
)


@dataclass(frozen=True, slots=True)
class Destination:
    """One entry: a chat (``channel_type`` and ``platform_id`` are set) or another agent (``target_group`` is)."""

    agent_group_id: str
    local_name: str
    target_type: str
    messaging_group_id: str | None
    target_group_id: str | None
    channel_type: str | None
    platform_id: str | None
    target_group: str | None
    display_name: str
    created_at: str


def normalised(name: str) -> str:
    """Return a name as destinations are called: a-z, 0-9 and single dashes, 64 characters at most."""
    return names.normalised(name, MAX_NAME_CHARACTERS)


def add_channel(
    connection: apsw.Connection,
    agent_group_id: str,
    chat_id: str,
    name: str | None = None,
) -> Destination:
    """Let an agent write to a chat, under a name given or made of the chat's.

    Raises:
        NotFound: there is no such agent or chat.
        AlreadyExists: the name is taken, or the chat is in the book already.
    """
    with together(connection):
        chat = connection.execute(
            "SELECT coalesce(name, channel_type || '-' || substr(id, 1, 8)) FROM messaging_groups WHERE id = ?",
            (chat_id,),
        ).fetchone()
        if chat is None:
            raise NotFound(f"there is no chat {chat_id[:40]!r}", hint="ncl chats list")
        return _add(connection, agent_group_id, name, str(chat[0]), chat_id=chat_id)


def add_agent(
    connection: apsw.Connection, agent_group_id: str, target_group_id: str, name: str | None = None
) -> Destination:
    """Let an agent write to another agent, under a name given or the other's folder.

    Raises:
        NotFound: one of the two doesn't exist.
        AlreadyExists: the name is taken, or the other is in the book already.
    """
    with together(connection):
        other = connection.execute("SELECT folder FROM agent_groups WHERE id = ?", (target_group_id,)).fetchone()
        if other is None:
            raise NotFound(f"there is no group {target_group_id[:40]!r}", hint="ncl groups list")
        return _add(connection, agent_group_id, name, str(other[0]), target_group_id=target_group_id)


def ensure_channel(
    connection: apsw.Connection, agent_group_id: str, chat_id: str, wiring_id: str | None = None
) -> Destination:
    """Return an agent's entry for a chat, made where there is none.

    Args:
        connection: the central database.
        agent_group_id: whose book.
        chat_id: which chat.
        wiring_id: the wiring that needs it: an entry made for it goes when it goes. Without one, an entry that a
            wiring made stays from now on.

    Raises:
        NotFound: there is no such agent or chat.
    """
    with together(connection):
        found = _some(connection, "WHERE d.agent_group_id = ? AND d.messaging_group_id = ?", (agent_group_id, chat_id))
        made = found[0] if found else add_channel(connection, agent_group_id, chat_id)
        if wiring_id is None or not found:
            connection.execute(
                "UPDATE agent_destinations SET wiring_id = ?1"
                " WHERE agent_group_id = ?2 AND local_name = ?3 AND wiring_id IS NOT ?1",
                (wiring_id, agent_group_id, made.local_name),
            )
        return made


def remove(connection: apsw.Connection, agent_group_id: str, local_name: str) -> None:
    """Take an entry out of an agent's book: it may not write there any more.

    Raises:
        NotFound: there is none of this name.
    """
    connection.execute(
        "DELETE FROM agent_destinations WHERE agent_group_id = ? AND local_name = ?", (agent_group_id, local_name)
    )
    if not connection.changes():
        raise NotFound(f"this agent has no destination {local_name[:40]!r}", hint="ncl destinations list")


def of_group(connection: apsw.Connection, agent_group_id: str) -> list[Destination]:
    """Read an agent's book, by name."""
    return _some(connection, "WHERE d.agent_group_id = ? ORDER BY d.local_name", (agent_group_id,))


def every(connection: apsw.Connection) -> list[Destination]:
    """Read the books of all agents."""
    return _some(connection, "ORDER BY d.agent_group_id, d.local_name", ())


def may_write_to(connection: apsw.Connection, agent_group_id: str, channel_type: str, platform_id: str) -> bool:
    """Tell whether an agent's book has this chat."""
    row = connection.execute(
        "SELECT 1 FROM messaging_groups m JOIN agent_destinations d ON d.messaging_group_id = m.id"
        " WHERE m.channel_type = ? AND m.platform_id = ? AND d.agent_group_id = ?",
        (channel_type, platform_id, agent_group_id),
    ).fetchone()
    return row is not None


def may_write_to_agent(connection: apsw.Connection, agent_group_id: str, folder: str) -> bool:
    """Tell whether an agent's book has another agent; itself it never has."""
    row = connection.execute(
        "SELECT 1 FROM agent_groups g JOIN agent_destinations d ON d.target_group_id = g.id"
        " WHERE g.folder = ?1 AND d.agent_group_id = ?2 AND g.id <> ?2",
        (folder, agent_group_id),
    ).fetchone()
    return row is not None


def _add(
    connection: apsw.Connection,
    agent_group_id: str,
    given: str | None,
    from_target: str,
    chat_id: str | None = None,
    target_group_id: str | None = None,
) -> Destination:
    if not connection.execute("SELECT 1 FROM agent_groups WHERE id = ?", (agent_group_id,)).fetchone():
        raise NotFound(f"there is no group {agent_group_id[:40]!r}", hint="ncl groups list")
    known = connection.execute(
        "SELECT local_name FROM agent_destinations WHERE agent_group_id = ?"
        " AND (messaging_group_id = ? OR target_group_id = ?)",
        (agent_group_id, chat_id, target_group_id),
    ).fetchone()
    if known is not None:
        raise AlreadyExists(f"this agent knows it already, as {known[0]}", hint="ncl destinations list")
    name = _free_name(connection, agent_group_id, from_target) if given is None else normalised(given)
    if given is not None and _taken(connection, agent_group_id, name):
        raise AlreadyExists(f"this agent has a destination {name} already", hint="ncl destinations list")
    connection.execute(
        "INSERT INTO agent_destinations (agent_group_id, local_name, messaging_group_id, target_group_id, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (agent_group_id, name, chat_id, target_group_id, now_text()),
    )
    return _some(connection, "WHERE d.agent_group_id = ? AND d.local_name = ?", (agent_group_id, name))[0]


def _free_name(connection: apsw.Connection, agent_group_id: str, wanted: str) -> str:
    base = normalised(wanted)
    numbered = (base[: MAX_NAME_CHARACTERS - len(f"-{n}")].rstrip("-") + f"-{n}" for n in itertools.count(2))
    return next(name for name in itertools.chain((base,), numbered) if not _taken(connection, agent_group_id, name))


def _taken(connection: apsw.Connection, agent_group_id: str, name: str) -> bool:
    row = connection.execute(
        "SELECT 1 FROM agent_destinations WHERE agent_group_id = ? AND local_name = ?", (agent_group_id, name)
    ).fetchone()
    return row is not None


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str, ...]) -> list[Destination]:
    return [
        Destination(
            agent_group_id=group_id,
            local_name=name,
            target_type="agent" if chat_id is None else "channel",
            messaging_group_id=chat_id,
            target_group_id=target_id,
            channel_type=channel_type,
            platform_id=platform_id,
            target_group=folder,
            display_name=display_name or name,
            created_at=created_at,
        )
        for group_id, name, chat_id, target_id, channel_type, platform_id, folder, display_name, created_at in (
            connection.execute(f"SELECT {_COLUMNS} {_FROM} {tail}", bindings)
        )
    ]
