"""Agent groups: an agent's identity. Its ``folder`` is the name that people and units use."""

from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import AlreadyExists, NotFound
from nanoclawd.store.constraints import is_duplicate
from nanoclawd.store.names import check_group_name, new_id

FIRST_UID = 1000
"""In-container uid of group n is 1000 + n (design: identity of agents)."""

_COLUMNS = "number, id, folder, name, provider, model, instructions, created_at, cli_scope"


@dataclass(frozen=True, slots=True)
class AgentGroup:
    """One agent group.

    Attributes:
        provider: None where the configuration's default holds, as with ``model``.
        cli_scope: what its agents may ask of ``ncl``: ``disabled``, ``group`` (their own) or ``global``.
    """

    number: int
    id: str
    folder: str
    name: str
    provider: str | None
    model: str | None
    instructions: str
    created_at: str
    cli_scope: str = "group"

    @property
    def uid(self) -> int:
        """The group's uid inside its containers."""
        return FIRST_UID + self.number


def create(
    connection: apsw.Connection,
    folder: str,
    name: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    instructions: str = "",
    cli_scope: str = "group",
) -> AgentGroup:
    """Create a group.

    Raises:
        InvalidName: the folder breaks the rule.
        AlreadyExists: the folder is taken.
    """
    check_group_name(folder)
    try:
        connection.execute(
            "INSERT INTO agent_groups (id, folder, name, provider, model, instructions, created_at, cli_scope)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (new_id("ag"), folder, name or folder, provider, model, instructions, now_text(), cli_scope),
        )
    except apsw.ConstraintError as error:
        if not is_duplicate(error):
            raise
        raise AlreadyExists(f"there is a group {folder} already", hint=f"ncl groups get {folder}") from error
    return by_folder(connection, folder)


def by_folder(connection: apsw.Connection, folder: str) -> AgentGroup:
    """Read a group by its folder.

    Raises:
        NotFound: there is none.
    """
    return _one(connection, "folder", folder)


def by_id(connection: apsw.Connection, group_id: str) -> AgentGroup:
    """Read a group by its id.

    Raises:
        NotFound: there is none.
    """
    return _one(connection, "id", group_id)


def every(connection: apsw.Connection) -> list[AgentGroup]:
    """Read all groups, oldest first."""
    return [AgentGroup(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM agent_groups ORDER BY number")]


def update(connection: apsw.Connection, group: AgentGroup) -> AgentGroup:
    """Write a group's changeable columns (name, provider, model, instructions, scope).

    Raises:
        NotFound: it has gone.
    """
    connection.execute(
        "UPDATE agent_groups SET name = ?, provider = ?, model = ?, instructions = ?, cli_scope = ? WHERE id = ?",
        (group.name, group.provider, group.model, group.instructions, group.cli_scope, group.id),
    )
    return by_id(connection, group.id)


def delete(connection: apsw.Connection, group_id: str) -> None:
    """Delete a group with its wirings and sessions (their files are another's business)."""
    connection.execute("DELETE FROM agent_groups WHERE id = ?", (group_id,))


def _one(connection: apsw.Connection, column: str, value: str) -> AgentGroup:
    row = connection.execute(f"SELECT {_COLUMNS} FROM agent_groups WHERE {column} = ?", (value,)).fetchone()
    if row is None:
        raise NotFound(f"there is no group {value[:40]!r}", hint="ncl groups list")
    return AgentGroup(*row)
