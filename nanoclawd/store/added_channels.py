"""Channels that were added by command."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, NotFound

_COLUMNS = "name, type, options, enabled, created_at"


@dataclass(frozen=True, slots=True)
class AddedChannel:
    """A channel. ``options`` are the adapter's own; never a secret."""

    name: str
    type: str
    options: Mapping[str, Any]
    enabled: bool
    created_at: str


def every(connection: apsw.Connection) -> list[AddedChannel]:
    """Read all, by name."""
    return [_read(row) for row in connection.execute(f"SELECT {_COLUMNS} FROM added_channels ORDER BY name")]


def by_name(connection: apsw.Connection, name: str) -> AddedChannel:
    """Read one.

    Raises:
        NotFound: there is none of this name.
    """
    row = connection.execute(f"SELECT {_COLUMNS} FROM added_channels WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(f"no channel {name[:40]!r} was added by command", hint="ncl channels list")
    return _read(row)


def create(
    connection: apsw.Connection, name: str, kind: str, options: Mapping[str, Any], *, enabled: bool
) -> AddedChannel:
    """Write a new one.

    Raises:
        AlreadyExists: there is one of this name.
    """
    connection.execute(
        f"INSERT INTO added_channels ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
        (name, kind, json.dumps(options), enabled, now_text()),
    )
    if not connection.changes():
        raise AlreadyExists(f"there is a channel {name} already", hint=f"ncl channels show {name}")
    return by_name(connection, name)


def update(
    connection: apsw.Connection, name: str, *, options: Mapping[str, Any] | None = None, enabled: bool | None = None
) -> AddedChannel:
    """Change one; None leaves a column as it is.

    Raises:
        NotFound: there is none of this name.
    """
    connection.execute(
        "UPDATE added_channels SET options = coalesce(?2, options), enabled = coalesce(?3, enabled) WHERE name = ?1",
        (name, None if options is None else json.dumps(options), enabled),
    )
    return by_name(connection, name)


def delete(connection: apsw.Connection, name: str) -> AddedChannel:
    """Forget one, and return what it was.

    Raises:
        NotFound: there is none of this name.
    """
    found = by_name(connection, name)
    connection.execute("DELETE FROM added_channels WHERE name = ?", (name,))
    return found


def _read(row: tuple[Any, ...]) -> AddedChannel:
    name, kind, options, enabled, created_at = row
    return AddedChannel(name, kind, json.loads(options), bool(enabled), created_at)
