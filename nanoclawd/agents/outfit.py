"""What a group is given: packages, MCP servers, directories. These only write, and touch no container (F-216).

A group's own image is built first and its packages are recorded when it is there: an installation that fails, or whose
daemon dies, leaves the configuration as it was, so the next build is not broken by it.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import apsw

from nanoclaw_runner.contract import clock
from nanoclaw_runner.contract.agent_config import McpServer
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.agents.mounts import check_apart, check_name
from nanoclawd.agents.provision import Provisioner
from nanoclawd.agents.service import AgentService
from nanoclawd.config import Config
from nanoclawd.errors import InvalidName, NanoclawError, NotFound, Refused, TooLarge
from nanoclawd.images.group_images import BuildError, Built, GroupImages
from nanoclawd.images.service import stage_of
from nanoclawd.journal import about
from nanoclawd.store import agent_groups, group_configuration, troubles
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.group_configuration import GroupConfiguration, Mount
from nanoclawd.store.package_names import check_requested

log = logging.getLogger(__name__)

type Packages = Mapping[str, tuple[str, ...]]
"""Names by manager."""

MAX_WORD: Final = 4096
MAX_WORDS: Final = 64
_SERVER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}", re.ASCII)
_RESERVED: Final = frozenset({"nanoclaw"})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_URL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,30}/[A-Za-z0-9._/-]{1,200}", re.ASCII)


class Outfit:
    """Groups' configurations as operators and agents change them."""

    def __init__(
        self, config: Config, database: Database, agents: AgentService, images: GroupImages, provisioner: Provisioner
    ) -> None:
        self._config = config
        self._database = database
        self._agents = agents
        self._images = images
        self._provisioner = provisioner

    async def add_packages(self, folder: str, packages: Packages) -> None:
        """Note packages for the next build of a group's image.

        Raises:
            NotFound: there is no such group.
            InvalidName: a name breaks its rule.
            TooLarge: there are too many.
        """
        asked = check_requested(packages)
        group, _ = await self._database.run(_of, folder)
        await self._database.run(group_configuration.add_packages, group.id, asked)

    async def remove_packages(self, folder: str, packages: Packages) -> None:
        """Take packages away; without any the group has no image of its own from its next start on.

        Raises:
            NotFound: there is no such group, or it has not one of them.
            InvalidName: no package is named.
        """
        asked = check_requested(packages)
        group, _ = await self._database.run(_of, folder)
        await self._database.run(_remove_packages, group.id, asked)
        await self._agents.write(group.id)

    async def install(self, folder: str, packages: Packages) -> None:
        """Build a group's image with more packages, and have both from the next start on.

        Raises:
            NotFound: there is no such group.
            InvalidName: a name breaks its rule.
            TooLarge: there are too many.
            BuildError: the image could not be built; nothing has changed.
        """
        asked = check_requested(packages)
        async with self._images.building(folder):
            group, configuration = await self._database.run(_of, folder)
            built = await self._built(group, configuration.with_packages(asked))
            await self._database.run(_record, group.id, asked, built)
            await self._replaced(group, configuration, built)

    async def rebuild(self, folder: str) -> bool:
        """Build a group's image anew; False where it has no packages, and runs in its provider's image.

        Raises:
            NotFound: there is no such group.
            BuildError: the image could not be built; the old one stays in use.
        """
        async with self._images.building(folder):
            group, configuration = await self._database.run(_of, folder)
            if not any(configuration.packages.values()):
                return False
            try:
                built = await self._built(group, configuration.packages)
            except BuildError as error:
                reason = error.message.partition(" It said:")[0]
                words = f"its own image could not be built anew, so it goes on with the old one: {reason}"
                await self._database.run(troubles.note, group.id, troubles.IMAGE, "", words, clock.to_text(clock.now()))
                raise
            await self._database.run(group_configuration.set_image, group.id, built.stage, built.tag)
            await self._replaced(group, configuration, built)
        return True

    async def rebuild_all(self) -> None:
        """Build the images of all groups that have one: what is below has changed. ``ncl status`` has failures."""
        for group in await self._database.run(agent_groups.every):
            try:
                await self.rebuild(group.folder)
            except NanoclawError as error:
                log.warning(
                    "group %s keeps its old image: %s", group.folder, error.message, extra=about(group=group.folder)
                )

    async def missing_image(self, folder: str) -> str:
        """Return the command that builds a group's own image where it should be there and is not, else an empty text.

        Raises:
            NotFound: there is no such group.
        """
        group, configuration = await self._database.run(_of, folder)
        stage = stage_of(group.provider or self._config.provider)
        if configuration.image_tag is None or configuration.image_stage != stage:
            return ""
        there = await self._images.present(folder, configuration.image_tag)
        return "" if there else f"ncl groups restart {folder} --rebuild"

    async def put_server(self, folder: str, server: McpServer, *, replacing: bool = False) -> McpServer:
        """Add an MCP server; its group's containers have it from their next start on.

        Raises:
            NotFound: there is no such group, or no such endpoint in the configuration file.
            Refused: the endpoint is no MCP server's, or has no such path.
            AlreadyExists: it has one of the name, which is not to be replaced.
            InvalidName: a part of it is not right.
            TooLarge: it is too much.
        """
        self.check_server(server)
        group, _ = await self._database.run(_of, folder)
        await self._database.run(_put_server, group.id, server, replacing)
        await self._agents.write(group.id)
        return server

    def check_server(self, server: McpServer) -> None:
        """Check what can be told of an MCP server by itself and by the configuration file.

        Raises:
            NotFound: there is no such endpoint in the configuration file.
            Refused: the endpoint is no MCP server's, or has no such path.
            InvalidName: a part of it is not right.
            TooLarge: it is too much.
        """
        check_server(server)
        if server.url:
            self._check_endpoint(server.url)

    async def remove_server(self, folder: str, name: str) -> None:
        """Take an MCP server away.

        Raises:
            NotFound: there is no such group, or it has none of the name.
        """
        group, _ = await self._database.run(_of, folder)
        await self._database.run(group_configuration.remove_server, group.id, name)
        await self._agents.write(group.id)

    async def add_mount(self, folder: str, path: str, name: str | None, *, writable: bool) -> Mount:
        """Give a group a directory of the machine.

        Raises:
            NotFound: there is no such group, or no such directory.
            AlreadyExists: it has one of the name.
            InvalidName: the name or the path breaks its rule.
            Refused: it may not be given.
        """
        group, _ = await self._database.run(_of, folder)
        real = await asyncio.to_thread(self._provisioner.judge_mount, path, writable=writable)
        mount = Mount(check_name(name or Path(path).name.lower()), str(real), writable)
        await self._database.run(_add_mount, group.id, mount)
        await self._agents.write(group.id)
        return mount

    async def remove_mount(self, folder: str, name: str) -> None:
        """Take a directory away.

        Raises:
            NotFound: there is no such group, or it has none of the name.
        """
        group, _ = await self._database.run(_of, folder)
        await self._database.run(group_configuration.remove_mount, group.id, name)
        await self._agents.write(group.id)

    async def _built(self, group: AgentGroup, packages: Packages) -> Built:
        provider = group.provider or self._config.provider
        return await self._images.build(group.folder, stage_of(provider), self._agents.image_of(provider), packages)

    async def _replaced(self, group: AgentGroup, before: GroupConfiguration, built: Built) -> None:
        await self._database.run(troubles.end, group.id, troubles.IMAGE)
        await self._agents.write(group.id)
        if before.image_tag not in {None, built.tag}:
            await self._images.remove(group.folder, before.image_tag or "")

    def _check_endpoint(self, url: str) -> None:
        endpoint, _, path = url.partition("/")
        if endpoint not in self._config.endpoints:
            known = ", ".join(sorted(name for name, one in self._config.endpoints.items() if one.api == "mcp"))
            raise NotFound(
                f"no endpoint {endpoint!r} in the configuration; with MCP there are: {known or 'none'}",
                hint="endpoints: in /etc/nanoclawd/config.yaml says what agents may reach",
            )
        served = self._config.endpoints[endpoint]
        if served.api != "mcp":
            raise Refused(
                f"the endpoint {endpoint!r} speaks the API of {served.api}, not MCP",
                hint=f"an endpoint with api: mcp in /etc/nanoclawd/config.yaml; {endpoint} has api: {served.api}",
            )
        if path not in served.allowed_paths():
            raise Refused(
                f"the endpoint {endpoint!r} has the paths {', '.join(served.allowed_paths())}, not {path!r}",
                hint=f"paths: of {endpoint} in /etc/nanoclawd/config.yaml",
            )


def check_server(server: McpServer) -> None:
    """Check what can be told of an MCP server by itself.

    Raises:
        InvalidName: a part of it is not right.
        TooLarge: it is too much.
    """
    if _SERVER.fullmatch(server.name) is None or server.name in _RESERVED:
        raise InvalidName(
            f"{server.name[:40]!r} can't be an MCP server's name: 1 to 31 of a-z, 0-9, '_' and '-', not nanoclaw"
        )
    if bool(server.command) == bool(server.url):
        raise InvalidName("an MCP server is a program, or a url, exactly one of them")
    if server.url and (server.args or server.env):
        raise InvalidName("args and env belong to a program")
    words = (server.command, *server.args, *server.env.values(), server.instructions)
    if len(server.args) + len(server.env) > MAX_WORDS or any(len(word) > MAX_WORD for word in words):
        raise TooLarge(f"at most {MAX_WORDS} arguments and variables of {MAX_WORD} characters each")
    if any("\0" in word for word in words) or any(_VARIABLE.fullmatch(name) is None for name in server.env):
        raise InvalidName("a variable is NAME=VALUE; its name has letters, digits and '_'")
    if server.url and _URL.fullmatch(server.url) is None:
        raise InvalidName(
            f"{server.url[:80]!r} is not ENDPOINT/PATH: an endpoint of the configuration file, and a path below it"
        )


def _of(connection: apsw.Connection, folder: str) -> tuple[AgentGroup, GroupConfiguration]:
    group = agent_groups.by_folder(connection, folder)
    return group, group_configuration.load(connection, group.id)


def _add_mount(connection: apsw.Connection, group_id: str, mount: Mount) -> None:
    with writing(connection):
        check_apart(mount, group_configuration.all_mounts(connection))
        group_configuration.add_mount(connection, group_id, mount)


def _put_server(connection: apsw.Connection, group_id: str, server: McpServer, replacing: bool) -> None:
    group_configuration.put_server(connection, group_id, server, replacing=replacing)


def _remove_packages(connection: apsw.Connection, group_id: str, packages: Packages) -> None:
    with writing(connection):
        group_configuration.remove_packages(connection, group_id, packages)
        if not any(group_configuration.load(connection, group_id).packages.values()):
            group_configuration.set_image(connection, group_id, None, None)
            troubles.end(connection, group_id, troubles.IMAGE)


def _record(connection: apsw.Connection, group_id: str, packages: Packages, built: Built) -> None:
    with writing(connection):
        group_configuration.add_packages(connection, group_id, packages)
        group_configuration.set_image(connection, group_id, built.stage, built.tag)
