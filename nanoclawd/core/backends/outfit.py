"""Behind io.nanoclaw.Packages, Mcp, Skills and Mounts."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import apsw

from nanoclaw_runner.contract import agent_config
from nanoclawd.agents.outfit import Outfit
from nanoclawd.agents.provision import Provisioner
from nanoclawd.agents.service import AgentService
from nanoclawd.control.agent_calls.scope import AgentCaller
from nanoclawd.control.values import Caller, McpServer, Mount, Package, Skill
from nanoclawd.control.values.outfit import told_to_agents
from nanoclawd.journal import about
from nanoclawd.store import agent_groups, group_configuration, resolve
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.group_configuration import GroupConfiguration
from nanoclawd.store.package_names import MAX_PACKAGES

log = logging.getLogger(__name__)

type Packages = Mapping[str, tuple[str, ...]]


class _Part:
    """What the four share."""

    def __init__(self, database: Database, outfit: Outfit, agents: AgentService, provisioner: Provisioner) -> None:
        self._database = database
        self._outfit = outfit
        self._agents = agents
        self._provisioner = provisioner

    async def _folder(self, name: str) -> str:
        return (await self._database.run(resolve.group, name)).folder

    async def _restarted(self, caller: Caller, folder: str) -> int:
        """Restart a group's sessions; an agent's own is restarted by whoever tells it what came of its call (W-29)."""
        return 0 if isinstance(caller, AgentCaller) else await self._agents.restart(folder)

    async def _found(self, group: str | None) -> Sequence[tuple[AgentGroup, GroupConfiguration]]:
        return await self._database.run(_configurations, group)


class PackagesBackend(_Part):
    """Packages of groups' own."""

    async def list(self, group: str | None, limit: int) -> Sequence[Package]:
        """Return the packages."""
        found = await self._found(group)
        return [one for folder, configuration in found for one in _packages(folder, configuration)][:limit]

    async def add(self, caller: Caller, group: str, packages: Packages) -> Sequence[Package]:
        """Note packages for the next build."""
        folder = await self._folder(group)
        await self._outfit.add_packages(folder, packages)
        log.info("%s added packages to %s: %s", caller.user_id, folder, _words(packages), extra=about(group=folder))
        return await self.list(folder, MAX_PACKAGES)

    async def remove(self, caller: Caller, group: str, packages: Packages) -> Sequence[Package]:
        """Take packages away."""
        folder = await self._folder(group)
        await self._outfit.remove_packages(folder, packages)
        log.info("%s took packages of %s away: %s", caller.user_id, folder, _words(packages), extra=about(group=folder))
        return await self.list(folder, MAX_PACKAGES)

    async def install(self, caller: Caller, group: str, packages: Packages) -> tuple[Sequence[Package], int]:
        """Build, note, restart."""
        folder = await self._folder(group)
        await self._outfit.install(folder, packages)
        log.info("%s installed into %s: %s", caller.user_id, folder, _words(packages), extra=about(group=folder))
        return await self.list(folder, MAX_PACKAGES), await self._restarted(caller, folder)


class McpBackend(_Part):
    """MCP servers."""

    async def list(self, group: str | None, limit: int) -> Sequence[McpServer]:
        """Return the servers."""
        found = await self._found(group)
        return [_server(one.folder, server) for one, configuration in found for server in configuration.mcp_servers][
            :limit
        ]

    def check(self, server: McpServer) -> None:
        """Look at it and at the configuration."""
        self._outfit.check_server(told_to_agents(server))

    async def add(self, caller: Caller, server: McpServer) -> McpServer:
        """Add a server."""
        folder = await self._folder(server.group)
        added = await self._outfit.put_server(folder, told_to_agents(server))
        log.info("%s added MCP server %s to %s", caller.user_id, server.name, folder, extra=about(group=folder))
        return _server(folder, added)

    async def remove(self, caller: Caller, group: str, name: str) -> None:
        """Take a server away."""
        folder = await self._folder(group)
        await self._outfit.remove_server(folder, name)
        log.info("%s took MCP server %s from %s", caller.user_id, name, folder, extra=about(group=folder))

    async def install(self, caller: Caller, server: McpServer) -> tuple[McpServer, int]:
        """Add or replace, restart."""
        folder = await self._folder(server.group)
        added = await self._outfit.put_server(folder, told_to_agents(server), replacing=True)
        log.info("%s installed MCP server %s in %s", caller.user_id, server.name, folder, extra=about(group=folder))
        return _server(folder, added), await self._restarted(caller, folder)


class SkillsBackend(_Part):
    """Shared skills."""

    async def list(self, group: str | None, limit: int) -> Sequence[Skill]:
        """Return the skills."""
        selected = None
        if group is not None:
            selected = (await self._found(group))[0][1].skills
        found = await asyncio.to_thread(self._provisioner.skills, selected)
        return [Skill(one.name, one.description, one.source, str(one.path)) for one in found][:limit]


class MountsBackend(_Part):
    """Directories of the machine."""

    async def list(self, group: str | None, limit: int) -> Sequence[Mount]:
        """Return the directories."""
        found = await self._found(group)
        given = [(one.folder, mount) for one, configuration in found for mount in configuration.mounts][:limit]
        # In a thread: a directory may be on a file system that does not answer.
        problems = await asyncio.to_thread(lambda: [self._provisioner.mount_problem(mount) for _, mount in given])
        return [
            Mount(folder, mount.name, mount.path, mount.writable, problem or None)
            for (folder, mount), problem in zip(given, problems, strict=True)
        ]

    async def add(self, caller: Caller, group: str, path: str, name: str | None, *, writable: bool) -> Mount:
        """Give a directory."""
        folder = await self._folder(group)
        mount = await self._outfit.add_mount(folder, path, name, writable=writable)
        log.info("%s gave %s to %s as %s", caller.user_id, mount.path, folder, mount.name, extra=about(group=folder))
        return Mount(folder, mount.name, mount.path, mount.writable)

    async def remove(self, caller: Caller, group: str, name: str) -> None:
        """Take a directory away."""
        folder = await self._folder(group)
        await self._outfit.remove_mount(folder, name)
        log.info("%s took directory %s from %s", caller.user_id, name, folder, extra=about(group=folder))


def _configurations(connection: apsw.Connection, group: str | None) -> list[tuple[AgentGroup, GroupConfiguration]]:
    groups = agent_groups.every(connection) if group is None else [resolve.group(connection, group)]
    return [
        (one, group_configuration.load(connection, one.id)) for one in sorted(groups, key=lambda group: group.folder)
    ]


def _packages(group: AgentGroup, configuration: GroupConfiguration) -> list[Package]:
    return [Package(group.folder, manager, name) for manager, names in configuration.packages.items() for name in names]


def _server(folder: str, server: agent_config.McpServer) -> McpServer:
    env = [f"{name}={value}" for name, value in server.env.items()]
    return McpServer(folder, server.name, server.command, list(server.args), env, server.url, server.instructions)


def _words(packages: Packages) -> str:
    return ", ".join(f"{manager} {name}" for manager, names in packages.items() for name in names)
