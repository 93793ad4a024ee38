"""Behind io.nanoclaw.Destinations: what an agent may write to. A change is in its sessions when the call returns."""

import logging
from collections.abc import Sequence

import apsw

from nanoclawd.control.values import Caller, Destination, DestinationType
from nanoclawd.core.backends.words import Project
from nanoclawd.errors import InvalidName, Refused
from nanoclawd.journal import about
from nanoclawd.store import agent_groups, destinations, resolve
from nanoclawd.store.database import Database
from nanoclawd.store.transaction import together

log = logging.getLogger(__name__)


class DestinationsBackend:
    """Agents' address books as operators handle them."""

    def __init__(self, database: Database, project: Project) -> None:
        self._database = database
        self._project = project

    async def list(self, group: str | None, limit: int) -> Sequence[Destination]:
        """Return the destinations by group and name."""
        return await self._database.run(_list, group, limit)

    async def add(
        self, caller: Caller, group: str, name: str | None, *, chat: str | None, agent: str | None
    ) -> Destination:
        """Allow an agent to write to a chat or to another agent."""
        if (chat is None) == (agent is None):
            raise Refused("a destination is a chat or an agent: give one of the two")
        if name is not None and name != destinations.normalised(name):
            raise InvalidName(
                f"{name[:40]!r} can't be a destination's name: 1 to 64 of a-z, 0-9 and single dashes between them",
                hint=f"did you mean {destinations.normalised(name)}?",
            )
        group_id, added = await self._database.run(_add, group, name, chat, agent)
        target = added.agent or f"{added.channel}:{added.chat}"
        log.info(
            "%s allowed %s to write to %s as %s",
            caller.user_id,
            added.group,
            target,
            added.name,
            extra=about(group=added.group),
        )
        await self._project(group_id)
        return added

    async def remove(self, caller: Caller, group: str, name: str) -> None:
        """Take a destination away."""
        group_id, folder = await self._database.run(_remove, group, name)
        log.info("%s took from %s the destination %s", caller.user_id, folder, name, extra=about(group=folder))
        await self._project(group_id)


def _list(connection: apsw.Connection, group: str | None, limit: int) -> list[Destination]:
    if group is not None:
        found = resolve.group(connection, group)
        return [_view(found.folder, row) for row in destinations.of_group(connection, found.id)][:limit]
    folders = {one.id: one.folder for one in agent_groups.every(connection)}
    rows = [_view(folders[row.agent_group_id], row) for row in destinations.every(connection)]
    return sorted(rows, key=lambda row: (row.group, row.name))[:limit]


def _add(
    connection: apsw.Connection, group: str, name: str | None, chat: str | None, agent: str | None
) -> tuple[str, Destination]:
    with together(connection):
        owner = resolve.group(connection, group)
        if chat is not None:
            added = destinations.add_channel(connection, owner.id, resolve.chat(connection, chat).id, name)
        else:
            other = resolve.group(connection, agent or "")
            if other.id == owner.id:
                raise Refused("an agent is no destination of its own")
            added = destinations.add_agent(connection, owner.id, other.id, name)
        return owner.id, _view(owner.folder, added)


def _remove(connection: apsw.Connection, group: str, name: str) -> tuple[str, str]:
    owner = resolve.group(connection, group)
    destinations.remove(connection, owner.id, name)
    return owner.id, owner.folder


def _view(folder: str, row: destinations.Destination) -> Destination:
    return Destination(
        group=folder,
        name=row.local_name,
        type=DestinationType(row.target_type),
        channel=row.channel_type,
        chat=row.platform_id,
        agent=row.target_group,
        display_name=row.display_name,
        created_at=row.created_at,
    )
