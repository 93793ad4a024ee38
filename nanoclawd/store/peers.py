"""Messages from agent to agent as the host counts them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound
from nanoclawd.store import agent_groups
from nanoclawd.store.agent_groups import AgentGroup

_COLUMNS = (
    "id, source_session_id, target_session_id, target_group_id, chain, hops, channel_type, platform_id, thread_id,"
    " created_at"
)


@dataclass(frozen=True, slots=True)
class PeerMessage:
    """One message.

    Attributes:
        id: of its row in the session that it goes to.
        chain: id of the first message since a person or a task spoke.
        hops: how many there were since then, this one included.
        origin: where that person or task spoke.
    """

    id: str
    source_session_id: str
    target_session_id: str
    target_group_id: str
    chain: str
    hops: int
    origin: Address | None
    created_at: str = ""


def by_id(connection: apsw.Connection, message_id: str) -> PeerMessage | None:
    """Read a message, or None where there is none of this id."""
    return next(iter(_some(connection, "WHERE id = ?", (message_id,))), None)


def farthest(connection: apsw.Connection, ids: Iterable[str]) -> PeerMessage | None:
    """Return of some messages the one with the most hops."""
    return next(
        iter(
            _some(
                connection,
                "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY hops DESC, created_at DESC LIMIT 1",
                (json.dumps(list(ids)),),
            )
        ),
        None,
    )


def newest_target(connection: apsw.Connection, source_session_id: str, target_group_id: str) -> str | None:
    """Return the session of a group to which a session has written last."""
    row = connection.execute(
        "SELECT target_session_id FROM peer_messages WHERE source_session_id = ? AND target_group_id = ?"
        " ORDER BY created_at DESC LIMIT 1",
        (source_session_id, target_group_id),
    ).fetchone()
    return None if row is None else str(row[0])


def count_between(connection: apsw.Connection, one: str, other: str, since: str) -> int:
    """Count what two sessions have said to each other after a moment."""
    found = connection.execute(
        "SELECT (SELECT count(*) FROM peer_messages WHERE source_session_id = ?1 AND target_session_id = ?2"
        " AND created_at > ?3) + (SELECT count(*) FROM peer_messages WHERE source_session_id = ?2"
        " AND target_session_id = ?1 AND created_at > ?3)",
        (one, other, since),
    ).get
    return int(found)


def traffic(connection: apsw.Connection, agent_group_id: str, other_id: str, since: str) -> tuple[int, str | None]:
    """Return how many messages a group has written to another after a moment, and when the last one was."""
    row = connection.execute(
        "SELECT count(*), max(p.created_at) FROM peer_messages p JOIN sessions s ON s.id = p.source_session_id"
        " WHERE s.agent_group_id = ? AND p.target_group_id = ? AND p.created_at > ?",
        (agent_group_id, other_id, since),
    ).fetchone()
    return (0, None) if row is None else (int(row[0]), row[1])


def keep(connection: apsw.Connection, message: PeerMessage) -> None:
    """Write a message down; one that is there gets the new target, and counts once."""
    origin = message.origin
    connection.execute(
        f"INSERT INTO peer_messages ({_COLUMNS}) VALUES (?, ?, ?3, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET target_session_id = ?3",
        (
            message.id,
            message.source_session_id,
            message.target_session_id,
            message.target_group_id,
            message.chain,
            message.hops,
            origin.channel_type if origin else None,
            origin.platform_id if origin else None,
            origin.thread_id if origin else None,
            message.created_at or now_text(),
        ),
    )


def prune(connection: apsw.Connection, before: str) -> int:
    """Forget messages from before a moment; return how many."""
    connection.execute("DELETE FROM peer_messages WHERE created_at < ?", (before,))
    return int(connection.changes())


def made_under(connection: apsw.Connection, creator_id: str, key: str) -> AgentGroup | None:
    """Return the agent that another one has asked for under a key, or None."""
    row = connection.execute(
        "SELECT made_id FROM made_agents WHERE creator_id = ? AND key = ?", (creator_id, key)
    ).fetchone()
    return None if row is None else agent_groups.by_id(connection, str(row[0]))


def note_made(connection: apsw.Connection, creator_id: str, key: str, made_id: str) -> None:
    """Remember under which key an agent was asked for.

    Raises:
        NotFound: one of the two has gone.
    """
    try:
        connection.execute(
            "INSERT INTO made_agents (creator_id, key, made_id) VALUES (?, ?, ?)", (creator_id, key, made_id)
        )
    except apsw.ConstraintError as error:
        raise NotFound("one of the two agents was deleted in this moment", hint="ncl groups list") from error


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str, ...]) -> list[PeerMessage]:
    return [
        PeerMessage(
            id=message_id,
            source_session_id=source,
            target_session_id=target,
            target_group_id=group,
            chain=chain,
            hops=hops,
            origin=None if channel is None else Address(channel, chat, thread),
            created_at=created_at,
        )
        for message_id, source, target, group, chain, hops, channel, chat, thread, created_at in connection.execute(
            f"SELECT {_COLUMNS} FROM peer_messages {tail}", bindings
        )
    ]
