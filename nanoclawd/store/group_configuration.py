"""What an agent group is given beyond its identity: settings, packages, MCP servers, directories, its own image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import apsw
import msgspec

from nanoclaw_runner.contract.agent_config import McpServer
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import AlreadyExists, NotFound, TooLarge
from nanoclawd.store.package_names import MANAGERS, MAX_PACKAGES, check

MAX_ENTRIES = 50
"""MCP servers, or directories, of one group."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the machine: ``/mnt/<name>`` in the group's containers."""

    name: str
    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class GroupConfiguration:
    """All of it, of one group.

    Attributes:
        effort: how much its model is to think; None: the model's own default.
        max_messages: messages in one prompt at most; None: the default.
        skills: names of the shared skills that it has; None: all.
        packages: names by manager, as they were added.
        image_stage: the stage on which its own image was built; None where it has none.
        image_tag: that image's tag.
    """

    effort: str | None = None
    max_messages: int | None = None
    skills: tuple[str, ...] | None = None
    image_stage: str | None = None
    image_tag: str | None = None
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mcp_servers: tuple[McpServer, ...] = ()
    mounts: tuple[Mount, ...] = ()

    def with_packages(self, more: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
        """Return the packages with others behind them, each once."""
        return {
            manager: tuple(dict.fromkeys((*self.packages.get(manager, ()), *more.get(manager, ()))))
            for manager in MANAGERS
        }


DEFAULT = GroupConfiguration()


def load(connection: apsw.Connection, group_id: str) -> GroupConfiguration:
    """Read a group's configuration; one of which nothing is known has the defaults."""
    row = connection.execute(
        "SELECT effort, max_messages, skills, image_stage, image_tag FROM group_settings WHERE agent_group_id = ?",
        (group_id,),
    ).fetchone()
    settings = DEFAULT
    if row is not None:
        skills = None if row[2] is None else msgspec.json.decode(row[2], type=tuple[str, ...])
        settings = GroupConfiguration(row[0], row[1], skills, row[3], row[4])
    packages: dict[str, list[str]] = {}
    for manager, name in connection.execute(
        "SELECT manager, name FROM group_packages WHERE agent_group_id = ? ORDER BY position, name", (group_id,)
    ):
        packages.setdefault(manager, []).append(name)
    return replace(
        settings,
        packages={manager: tuple(names) for manager, names in packages.items()},
        mcp_servers=tuple(_servers(connection, group_id)),
        mounts=tuple(_mounts(connection, group_id)),
    )


def every(connection: apsw.Connection) -> dict[str, GroupConfiguration]:
    """Read the configurations of all groups, by the groups' ids."""
    return {group_id: load(connection, group_id) for (group_id,) in connection.execute("SELECT id FROM agent_groups")}


def set_settings(connection: apsw.Connection, group_id: str, configuration: GroupConfiguration) -> None:
    """Write effort, messages in a prompt, and skills."""
    skills = None if configuration.skills is None else msgspec.json.encode(configuration.skills).decode()
    connection.execute(
        "INSERT INTO group_settings (agent_group_id, effort, max_messages, skills) VALUES (?1, ?2, ?3, ?4)"
        " ON CONFLICT (agent_group_id) DO UPDATE SET effort = ?2, max_messages = ?3, skills = ?4",
        (group_id, configuration.effort, configuration.max_messages, skills),
    )


def set_image(connection: apsw.Connection, group_id: str, stage: str | None, tag: str | None) -> None:
    """Say which image of its own a group uses from its next start on; None: none."""
    connection.execute(
        "INSERT INTO group_settings (agent_group_id, image_stage, image_tag) VALUES (?1, ?2, ?3)"
        " ON CONFLICT (agent_group_id) DO UPDATE SET image_stage = ?2, image_tag = ?3",
        (group_id, stage, tag),
    )


def add_packages(connection: apsw.Connection, group_id: str, packages: Mapping[str, Iterable[str]]) -> list[str]:
    """Add packages behind those that are there; return the names of those that are new.

    Raises:
        InvalidName: a name breaks its rule.
        TooLarge: the group would have too many.
    """
    added: list[str] = []
    with writing(connection):
        count = connection.execute("SELECT count(*) FROM group_packages WHERE agent_group_id = ?", (group_id,)).get
        for manager, names in packages.items():
            for name in names:
                connection.execute(
                    "INSERT INTO group_packages (agent_group_id, manager, name, position) VALUES (?, ?, ?, ?)"
                    " ON CONFLICT (agent_group_id, manager, name) DO NOTHING",
                    (group_id, manager, check(manager, name), count + len(added)),
                )
                if connection.changes():
                    added.append(name)
        if count + len(added) > MAX_PACKAGES:
            raise TooLarge(f"a group has {MAX_PACKAGES} packages at most")
    return added


def remove_packages(connection: apsw.Connection, group_id: str, packages: Mapping[str, Iterable[str]]) -> None:
    """Take packages away, all or none.

    Raises:
        NotFound: the group does not have one of them.
    """
    with writing(connection):
        for manager, names in packages.items():
            for name in names:
                connection.execute(
                    "DELETE FROM group_packages WHERE agent_group_id = ? AND manager = ? AND name = ?",
                    (group_id, manager, name),
                )
                if not connection.changes():
                    raise NotFound(f"the group has no {manager} package {name[:60]!r}", hint="ncl packages list")


def put_server(connection: apsw.Connection, group_id: str, server: McpServer, *, replacing: bool = False) -> None:
    """Add an MCP server.

    Raises:
        AlreadyExists: there is one of the name, and it is not to be replaced.
        TooLarge: the group would have too many.
    """
    with writing(connection):
        if replacing:
            _remove(connection, "group_mcp_servers", group_id, server.name)
        _check_room(connection, "group_mcp_servers", group_id)
        try:
            connection.execute(
                "INSERT INTO group_mcp_servers (agent_group_id, name, command, args, env, url, instructions)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    group_id,
                    server.name,
                    server.command,
                    msgspec.json.encode(server.args).decode(),
                    msgspec.json.encode(server.env).decode(),
                    server.url,
                    server.instructions,
                ),
            )
        except apsw.ConstraintError as error:
            raise AlreadyExists(
                f"the group has an MCP server {server.name} already", hint="ncl mcp install --help"
            ) from error


def remove_server(connection: apsw.Connection, group_id: str, name: str) -> None:
    """Take an MCP server away.

    Raises:
        NotFound: there is none of the name.
    """
    if not _remove(connection, "group_mcp_servers", group_id, name):
        raise NotFound(f"the group has no MCP server {name[:40]!r}", hint="ncl mcp list")


def add_mount(connection: apsw.Connection, group_id: str, mount: Mount) -> None:
    """Add a directory.

    Raises:
        AlreadyExists: there is one of the name.
        TooLarge: the group would have too many.
    """
    with writing(connection):
        _check_room(connection, "group_mounts", group_id)
        try:
            connection.execute(
                "INSERT INTO group_mounts (agent_group_id, name, path, writable) VALUES (?, ?, ?, ?)",
                (group_id, mount.name, mount.path, int(mount.writable)),
            )
        except apsw.ConstraintError as error:
            raise AlreadyExists(
                f"the group has a directory {mount.name} already", hint="ncl mounts add --help"
            ) from error


def all_mounts(connection: apsw.Connection) -> list[tuple[str, Mount]]:
    """Read the directories of all groups, each with its group's folder."""
    rows = connection.execute(
        "SELECT g.folder, m.name, m.path, m.writable FROM group_mounts m JOIN agent_groups g ON g.id = m.agent_group_id"
    )
    return [(folder, Mount(name, path, bool(writable))) for folder, name, path, writable in rows]


def remove_mount(connection: apsw.Connection, group_id: str, name: str) -> None:
    """Take a directory away.

    Raises:
        NotFound: there is none of the name.
    """
    if not _remove(connection, "group_mounts", group_id, name):
        raise NotFound(f"the group has no directory {name[:40]!r}", hint="ncl mounts list")


def _remove(connection: apsw.Connection, table: str, group_id: str, name: str) -> bool:
    connection.execute(f"DELETE FROM {table} WHERE agent_group_id = ? AND name = ?", (group_id, name))
    return bool(connection.changes())


def _check_room(connection: apsw.Connection, table: str, group_id: str) -> None:
    count: Any = connection.execute(f"SELECT count(*) FROM {table} WHERE agent_group_id = ?", (group_id,)).get
    if count >= MAX_ENTRIES:
        raise TooLarge(f"a group has {MAX_ENTRIES} of these at most")


def _servers(connection: apsw.Connection, group_id: str) -> Iterable[McpServer]:
    for name, command, args, env, url, instructions in connection.execute(
        "SELECT name, command, args, env, url, instructions FROM group_mcp_servers WHERE agent_group_id = ?"
        " ORDER BY name",
        (group_id,),
    ):
        yield McpServer(
            name=name,
            command=command,
            args=msgspec.json.decode(args, type=tuple[str, ...]),
            env=msgspec.json.decode(env, type=dict[str, str]),
            url=url,
            instructions=instructions,
        )


def _mounts(connection: apsw.Connection, group_id: str) -> Iterable[Mount]:
    for name, path, writable in connection.execute(
        "SELECT name, path, writable FROM group_mounts WHERE agent_group_id = ? ORDER BY name", (group_id,)
    ):
        yield Mount(name, path, bool(writable))
