"""Bindings of secrets: hosts and groups. Of the values this database knows nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import apsw
import msgspec

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.egress.secrets import Place, Secret
from nanoclawd.errors import NotFound, TooLarge
from nanoclawd.store.transaction import together

MAX_SECRETS: Final = 50
"""systemd hands a service 1 MiB of credentials, and a secret may have 16 KiB."""

_COLUMNS: Final = (
    "name, all_groups, style, parameter, token_url, client_id, scope, client_secret, created_by, created_at,"
    " changed_by, changed_at"
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is not secret of how access tokens are got.

    Attributes:
        has_client_secret: whether whoever enters the value is asked for the client's secret, too.
    """

    token_url: str
    client_id: str
    scope: str = ""
    has_client_secret: bool = False


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A binding that is to be; ``agent_group_ids`` None: all groups. See :class:`~nanoclawd.egress.secrets.Secret`."""

    name: str
    places: tuple[Place, ...]
    agent_group_ids: tuple[str, ...] | None
    style: str
    parameter: str = ""
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A binding with who made it, and when; ``secret.groups`` are folders."""

    secret: Secret
    exchange: Exchange | None
    created_by: str
    created_at: str
    changed_by: str
    changed_at: str


def put(connection: apsw.Connection, wanted: NewSecret, by: str) -> SecretRow:
    """Write a binding in place of an earlier one of its name.

    Raises:
        TooLarge: there are too many.
    """
    exchange = wanted.exchange
    with together(connection):
        before = connection.execute(
            "SELECT created_by, created_at FROM secrets WHERE name = ?", (wanted.name,)
        ).fetchone()
        connection.execute("DELETE FROM secrets WHERE name = ?", (wanted.name,))
        if int(connection.execute("SELECT count(*) FROM secrets").get) >= MAX_SECRETS:
            raise TooLarge(f"there are {MAX_SECRETS} secrets, which is the bound", hint="ncl secret list")
        now = now_text()
        connection.execute(
            f"INSERT INTO secrets ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                wanted.name,
                int(wanted.agent_group_ids is None),
                wanted.style,
                wanted.parameter,
                exchange.token_url if exchange is not None else None,
                exchange.client_id if exchange is not None else "",
                exchange.scope if exchange is not None else "",
                int(exchange is not None and exchange.has_client_secret),
                *(before or (by, now)),
                by,
                now,
            ),
        )
        for position, place in enumerate(wanted.places):
            connection.execute(
                "INSERT INTO secret_places (secret, position, scheme, host, port, path) VALUES (?, ?, ?, ?, ?, ?)",
                (wanted.name, position, place.scheme, place.host, place.port, place.path),
            )
        for group_id in wanted.agent_group_ids or ():
            connection.execute(
                "INSERT INTO secret_groups (secret, agent_group_id) VALUES (?, ?)", (wanted.name, group_id)
            )
        return by_name(connection, wanted.name)


def by_name(connection: apsw.Connection, name: str) -> SecretRow:
    """Return one binding.

    Raises:
        NotFound: there is none of this name.
    """
    found = connection.execute(f"SELECT {_COLUMNS} FROM secrets WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise NotFound("there is no secret of this name", hint="ncl secret list")
    return _row(connection, found)


def renewed(connection: apsw.Connection, name: str, by: str) -> SecretRow:
    """Note that a binding's value is another one now; return it.

    Raises:
        NotFound: there is none of this name.
    """
    with together(connection):
        connection.execute("UPDATE secrets SET changed_by = ?, changed_at = ? WHERE name = ?", (by, now_text(), name))
        return by_name(connection, name)


def remove(connection: apsw.Connection, name: str) -> SecretRow:
    """Take a binding away and return it.

    Raises:
        NotFound: there is none of this name.
    """
    with together(connection):
        found = by_name(connection, name)
        connection.execute("DELETE FROM secrets WHERE name = ?", (name,))
    return found


def listed(connection: apsw.Connection, group: str | None = None) -> list[SecretRow]:
    """Return the bindings by name: of a group (by its folder) with those of all groups, or all."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM secrets ORDER BY name").fetchall()
    rows = [_row(connection, one) for one in found]
    return [row for row in rows if group is None or row.secret.is_for(group)]


def _row(connection: apsw.Connection, found: Sequence[Any]) -> SecretRow:
    name, all_groups, style, parameter, token_url, client_id, scope, client_secret, *moments = found
    places = connection.execute(
        "SELECT host, port, path, scheme FROM secret_places WHERE secret = ? ORDER BY position", (name,)
    )
    groups = connection.execute(
        "SELECT g.folder FROM secret_groups s JOIN agent_groups g ON g.id = s.agent_group_id"
        " WHERE s.secret = ? ORDER BY g.folder",
        (name,),
    )
    secret = {
        "name": name,
        "places": [Place(*place) for place in places],
        "groups": None if all_groups else [folder for (folder,) in groups],
        "style": style,
        "parameter": parameter,
    }
    exchange = (
        Exchange(str(token_url), str(client_id), str(scope), bool(client_secret)) if token_url is not None else None
    )
    # Checked: what is published has to be readable, or the gateway would refuse everybody.
    return SecretRow(msgspec.convert(secret, Secret), exchange, *map(str, moments))
