"""Hooks: the names under which other programs reach an agent, and how each is known to be allowed to."""

from dataclasses import dataclass
from typing import Any

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store.constraints import is_missing_parent

_COLUMNS = (
    "h.id, h.name, h.agent_group_id, g.folder, h.messaging_group_id, m.channel_type, m.platform_id, h.auth, h.header,"
    " h.secret_hash, h.per_minute, h.enabled, h.accepted, h.last_at, h.created_by, h.created_at"
)
_ENABLED = 11
_FROM = (
    "FROM hooks h JOIN agent_groups g ON g.id = h.agent_group_id JOIN messaging_groups m ON m.id = h.messaging_group_id"
)


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook as ``central.db`` knows it.

    Attributes:
        name: the last part of its URL.
        group: the agent group's folder.
        chat_id: the chat in whose conversation its messages are, and where the agent answers them.
        auth: bearer or hmac-sha256.
        header: where the token or the signature is.
        secret_hash: SHA-256 of a bearer's token, in hex; None where signatures are checked.
        per_minute: so many messages it takes.
        accepted: how many it has taken.
        last_at: when it took the last one.
    """

    id: str
    name: str
    agent_group_id: str
    group: str
    chat_id: str
    channel_type: str
    platform_id: str
    auth: str
    header: str
    secret_hash: str | None
    per_minute: int
    enabled: bool
    accepted: int
    last_at: str | None
    created_by: str
    created_at: str


def add(connection: apsw.Connection, hook: Hook) -> Hook:
    """Store a new hook.

    Raises:
        AlreadyExists: there is one of this name.
        NotFound: its group or its chat has gone.
    """
    if find(connection, hook.name) is not None:
        raise AlreadyExists(f"there is a hook {hook.name} already", hint=f"ncl hooks get {hook.name}")
    try:
        connection.execute(
            "INSERT INTO hooks (id, name, agent_group_id, messaging_group_id, auth, header, secret_hash, per_minute,"
            " created_by, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                hook.id,
                hook.name,
                hook.agent_group_id,
                hook.chat_id,
                hook.auth,
                hook.header,
                hook.secret_hash,
                hook.per_minute,
                hook.created_by,
                hook.created_at,
            ),
        )
    except apsw.ConstraintError as error:
        if not is_missing_parent(error):
            raise
        raise NotFound("the group or the chat of this hook has gone", hint="ncl wirings list") from error
    return by_name(connection, hook.name)


def find(connection: apsw.Connection, name: str) -> Hook | None:
    """Return the hook of a name, or None."""
    return next(iter(_some(connection, "WHERE h.name = ?", (name,))), None)


def by_name(connection: apsw.Connection, name: str) -> Hook:
    """Return the hook of a name.

    Raises:
        NotFound: there is none.
    """
    found = find(connection, name)
    if found is None:
        raise NotFound(f"there is no hook {name[:40]!r}", hint="ncl hooks list")
    return found


def listed(connection: apsw.Connection, agent_group_id: str | None = None, limit: int = 10_000) -> list[Hook]:
    """Read the hooks (of a group) by name."""
    return _some(
        connection, "WHERE ?1 IS NULL OR h.agent_group_id = ?1 ORDER BY h.name LIMIT ?2", (agent_group_id, limit)
    )


def count_of(connection: apsw.Connection, agent_group_id: str) -> int:
    """Count a group's hooks."""
    return int(connection.execute("SELECT count(*) FROM hooks WHERE agent_group_id = ?", (agent_group_id,)).get)


def set_secret(connection: apsw.Connection, hook_id: str, secret_hash: str) -> None:
    """Have a bearer's hook know another token from now on."""
    connection.execute("UPDATE hooks SET secret_hash = ? WHERE id = ? AND auth = 'bearer'", (secret_hash, hook_id))


def enable(connection: apsw.Connection, hook_id: str, *, enabled: bool) -> None:
    """Have a hook take messages, or none."""
    connection.execute("UPDATE hooks SET enabled = ? WHERE id = ?", (int(enabled), hook_id))


def used(connection: apsw.Connection, hook_id: str, count: int) -> None:
    """Note that a hook has taken messages."""
    connection.execute(
        "UPDATE hooks SET accepted = accepted + ?, last_at = ? WHERE id = ?", (count, now_text(), hook_id)
    )


def delete(connection: apsw.Connection, hook_id: str) -> None:
    """Delete a hook; again does nothing."""
    connection.execute("DELETE FROM hooks WHERE id = ?", (hook_id,))


def _some(connection: apsw.Connection, rest: str, bindings: tuple[Any, ...]) -> list[Hook]:
    rows = connection.execute(f"SELECT {_COLUMNS} {_FROM} {rest}", bindings)
    found = []
    for row in rows:
        columns: list[Any] = list(row)
        columns[_ENABLED] = bool(columns[_ENABLED])
        found.append(Hook(*columns))
    return found
