"""The life of agent groups: create, change, restart, delete, each leaving nothing half done."""

import asyncio
import logging
from dataclasses import replace
from typing import Final

import apsw

from nanoclaw_runner.contract.transaction import writing
from nanoclawd.agents.provision import Provisioner, Published
from nanoclawd.config import Config
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.journal import about
from nanoclawd.paths import StatePaths
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import agent_groups, chats
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.supervision.quadlets import UnitFiles
from nanoclawd.supervision.user_manager import UserManager

log = logging.getLogger(__name__)

PROVIDERS: Final = frozenset({"openai", "scripted"})


class AgentService:
    """Agent groups as operators handle them."""

    def __init__(
        self,
        config: Config,
        paths: StatePaths,
        database: Database,
        sessions: Sessions,
        manager: UserManager,
        units: UnitFiles,
        provisioner: Provisioner,
    ) -> None:
        self._config = config
        self._paths = paths
        self._database = database
        self._sessions = sessions
        self._manager = manager
        self._units = units
        self._provisioner = provisioner
        self._published = Published(runner="0", image="")
        self._writing = asyncio.Lock()

    async def publish(self, published: Published) -> None:
        """Use another runner tree or image from each session's next start on; also repairs what was lost."""
        self._published = published
        groups = await self._database.run(agent_groups.every)
        async with self._writing:
            changed = await asyncio.to_thread(self._write_all, groups)
            if changed:
                await self._manager.reload()

    async def create(
        self, folder: str, *, provider: str | None = None, model: str | None = None, instructions: str = ""
    ) -> AgentGroup:
        """Make a group that can start.

        Raises:
            InvalidName: the name breaks the rule, or the model is not ENDPOINT/MODEL.
            AlreadyExists: there is one.
            NotFound: the model's endpoint is not in the configuration.
            Refused: the provider is not known or not allowed here.
        """
        self._check(provider, model)
        group = await self._database.run(agent_groups.create, folder, None, provider, model, instructions)
        await self._write(group)
        log.info("group %s was created", folder, extra=about(group=folder))
        return group

    async def update(
        self, folder: str, *, provider: str | None, model: str | None, instructions: str | None
    ) -> AgentGroup:
        """Change settings: None leaves one as it is, an empty text brings its default back."""
        self._check(provider, model)
        group = await self._database.run(agent_groups.by_folder, folder)
        changed = replace(
            group,
            provider=group.provider if provider is None else provider or None,
            model=group.model if model is None else model or None,
            instructions=group.instructions if instructions is None else instructions,
        )
        group = await self._database.run(agent_groups.update, changed)
        await self._write(group)
        return group

    async def restart(self, folder: str) -> int:
        """End a group's running containers; they come back with its present settings when there is work (F-217…219)."""
        group = await self._database.run(agent_groups.by_folder, folder)
        rows = await self._database.run(session_rows.of_group, group.id)
        actors = [actor for row in rows if (actor := self._sessions.living(row.id)) is not None]
        stopped = await asyncio.gather(*(actor.stop(Ended.FOR_RESTART) for actor in actors))
        return sum(stopped)

    async def delete(self, folder: str, *, force: bool) -> None:
        """Delete a group with its sessions, units and files.

        Raises:
            NotFound: there is none.
            Refused: it has sessions, and ``force`` is false.
        """
        group = await self._database.run(agent_groups.by_folder, folder)
        rows = await self._database.run(session_rows.of_group, group.id)
        if rows and not force:
            raise Refused(
                f"group {folder} has {len(rows)} sessions, which would be deleted with their conversations",
                hint=f"ncl groups delete {folder} --force",
            )
        # The row first: no message finds the group any more, and what is left is only files.
        await self._database.run(_delete_with_terminal_chats, group)
        for row in rows:
            actor = self._sessions.living(row.id)
            if actor is not None:
                actor.detach()
                self._sessions.drop(row.id)
            for unit in (f"nanoclaw-{folder}@{row.id}.service", f"nanoclaw-{folder}@{row.id}.socket"):
                await self._manager.stop_unit(unit)
                # A unit that failed stays loaded until somebody says that it is known.
                await self._manager.reset_failed(unit)
        async with self._writing:
            self._units.remove_group(folder)
            await self._manager.reload()
            groups = await self._database.run(agent_groups.every)
            await asyncio.to_thread(self._provisioner.publish_agents, groups)
        await self._remove_files(folder)
        log.info("group %s was deleted", folder, extra=about(group=folder))

    def _check(self, provider: str | None, model: str | None) -> None:
        if provider and provider not in PROVIDERS:
            raise Refused(f"there is no provider {provider[:40]!r}; there are: {', '.join(sorted(PROVIDERS))}")
        if provider == "scripted" and not self._config.allow_scripted:
            raise Refused(
                "the provider scripted does what a chat says, for tests; this appliance does not allow it",
                hint="set allow_scripted: true in /etc/nanoclawd/config.yaml",
            )
        if model:
            self._config.resolve_model(model)

    async def _write(self, group: AgentGroup) -> None:
        groups = await self._database.run(agent_groups.every)
        async with self._writing:
            try:
                changed = await asyncio.to_thread(self._provisioner.write, group, self._published)
                await asyncio.to_thread(self._provisioner.publish_agents, groups)
            except OSError as error:
                raise Unavailable(f"the group's files can't be written: {error}", hint="df -h; ncl doctor") from error
            if changed:
                await self._manager.reload()

    def _write_all(self, groups: list[AgentGroup]) -> bool:
        changed = [self._provisioner.write(group, self._published) for group in groups]
        self._provisioner.publish_agents(groups)
        gone = self._units.groups() - {group.folder for group in groups}
        removed = [self._units.remove_group(folder) for folder in sorted(gone)]
        return any(changed) or any(removed)

    async def _remove_files(self, folder: str) -> None:
        """Remove the group's trees in a transient unit: an agent's files may belong to its uid, with mode 0600."""
        trees = [self._paths.sessions_of(folder), self._paths.workspace(folder), self._paths.agent_json(folder).parent]
        result = await self._manager.run_transient(
            f"nanoclaw-remove-{folder}.service",
            ["/usr/bin/podman", "unshare", "rm", "-rf", "--", *map(str, trees)],
            f"Remove the files of agent group {folder}",
        )
        if result != "done":
            log.warning("the files of group %s could not be removed (%s)", folder, result, extra=about(group=folder))


def _delete_with_terminal_chats(connection: apsw.Connection, group: AgentGroup) -> None:
    """Delete a group's rows, and the terminals' chats that were only its."""
    with writing(connection):
        wired = chats.wirings_of_agent(connection, group.id)
        agent_groups.delete(connection, group.id)
        for wiring in wired:
            chat = chats.by_id(connection, wiring.messaging_group_id)
            if chat.channel_type == "terminal" and not chats.wirings_of_chat(connection, chat.id):
                chats.delete(connection, chat.id)
