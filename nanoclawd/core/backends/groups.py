"""Behind io.nanoclaw.Groups."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import apsw

from nanoclaw_runner.contract.agent_config import DEFAULT_MAX_MESSAGES_PER_PROMPT
from nanoclawd.agents.outfit import Outfit
from nanoclawd.agents.service import AgentService
from nanoclawd.config import Config
from nanoclawd.control.values import Caller, Group, GroupSettings
from nanoclawd.core.backends.words import CLI_SCOPES, check_word
from nanoclawd.journal import about
from nanoclawd.sessions.registry import Sessions
from nanoclawd.sessions.state import Phase
from nanoclawd.store import agent_groups, group_configuration, resolve
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.group_configuration import GroupConfiguration
from nanoclawd.usage.limits import changed
from nanoclawd.usage.service import UsageService

log = logging.getLogger(__name__)


class GroupsBackend:
    """Agent groups as operators handle them."""

    def __init__(
        self,
        database: Database,
        agents: AgentService,
        outfit: Outfit,
        sessions: Sessions,
        config: Config,
        usage: UsageService,
    ) -> None:
        self._usage = usage
        self._database = database
        self._agents = agents
        self._outfit = outfit
        self._sessions = sessions
        self._config = config

    async def list(self, limit: int) -> Sequence[Group]:
        """Return the groups by name."""
        return self._views(await self._database.run(_list, limit))

    async def get(self, name: str) -> Group:
        """Return one group."""
        return self._views([await self._database.run(_get, name)])[0]

    async def create(self, caller: Caller, name: str, settings: GroupSettings) -> Group:
        """Make a group that can start."""
        check_word("cli_scope", settings.cli_scope, CLI_SCOPES)
        made = await self._agents.create(
            name,
            name=settings.display_name or None,
            provider=settings.provider or None,
            model=settings.model or None,
            instructions=settings.instructions or "",
            cli_scope=settings.cli_scope or "group",
        )
        log.info("%s made group %s", caller.user_id, made.folder, extra=about(group=made.folder))
        return await self.get(made.id)

    async def update(self, caller: Caller, name: str, settings: GroupSettings) -> Group:
        """Change a group's settings."""
        check_word("cli_scope", settings.cli_scope or None, CLI_SCOPES)
        group = await self._database.run(resolve.group, name)
        folder = group.folder
        limits = self._usage.own_limits_of(group.id)
        wanted = changed(limits, settings.daily_tokens, settings.daily_cost)
        await self._agents.update(
            folder,
            name=settings.display_name,
            provider=settings.provider,
            model=settings.model,
            instructions=settings.instructions,
            cli_scope=settings.cli_scope,
            effort=settings.effort,
            max_messages=settings.max_messages,
            skills=settings.skills,
        )
        if wanted != limits:
            await self._usage.set_limits(group.id, wanted)
        log.info("%s changed group %s: %s", caller.user_id, folder, _spoken(settings), extra=about(group=folder))
        return await self.get(folder)

    async def delete(self, caller: Caller, name: str, *, force: bool) -> None:
        """Delete a group with its sessions, units and files."""
        folder = await self._folder(name)
        await self._agents.delete(folder, force=force)
        log.info("%s deleted group %s", caller.user_id, folder, extra=about(group=folder))

    async def restart(self, caller: Caller, name: str, *, rebuild: bool, message: str | None) -> tuple[int, bool]:
        """Restart a group's running sessions, with its image built before (F-221)."""
        folder = await self._folder(name)
        rebuilt = rebuild and await self._outfit.rebuild(folder)
        restarted = await self._agents.restart(folder, message)
        log.info("%s restarted %d sessions of %s", caller.user_id, restarted, folder, extra=about(group=folder))
        return restarted, rebuilt

    async def _folder(self, name: str) -> str:
        return (await self._database.run(resolve.group, name)).folder

    def _views(self, found: Iterable[tuple[AgentGroup, GroupConfiguration, int]]) -> Sequence[Group]:
        awake = Counter(actor.ref.group for actor in self._sessions.actors if actor.snapshot.phase is Phase.AWAKE)
        return [
            Group(
                name=group.folder,
                display_name=group.name,
                provider=group.provider or self._config.provider,
                model=group.model or self._config.model,
                instructions=group.instructions,
                cli_scope=group.cli_scope,
                effort=configuration.effort or "",
                max_messages=configuration.max_messages or DEFAULT_MAX_MESSAGES_PER_PROMPT,
                skills=_selection(configuration.skills),
                image=configuration.image_tag or "",
                daily_tokens=self._usage.limits_of(group.id).tokens,
                daily_cost=self._usage.limits_of(group.id).cost_micros / 1_000_000,
                created_at=group.created_at,
                sessions=sessions,
                awake=awake[group.folder],
            )
            for group, configuration, sessions in found
        ]


def _list(connection: apsw.Connection, limit: int) -> list[tuple[AgentGroup, GroupConfiguration, int]]:
    found = sorted(agent_groups.every(connection), key=lambda group: group.folder)[:limit]
    return [_known(connection, group) for group in found]


def _get(connection: apsw.Connection, text: str) -> tuple[AgentGroup, GroupConfiguration, int]:
    return _known(connection, resolve.group(connection, text))


def _known(connection: apsw.Connection, group: AgentGroup) -> tuple[AgentGroup, GroupConfiguration, int]:
    return group, group_configuration.load(connection, group.id), session_rows.count(connection, group.id)


def _selection(skills: tuple[str, ...] | None) -> str:
    return "all" if skills is None else ",".join(skills) or "none"


def _spoken(settings: GroupSettings) -> str:
    """Return what is to change, for the journal; instructions are not for it."""
    given = {
        "display_name": settings.display_name,
        "provider": settings.provider,
        "model": settings.model,
        "cli_scope": settings.cli_scope,
        "daily_tokens": settings.daily_tokens,
        "daily_cost": settings.daily_cost,
        "effort": settings.effort,
        "max_messages": settings.max_messages,
        "skills": settings.skills,
    }
    words = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    return ", ".join([*words, *(["instructions"] if settings.instructions is not None else [])]) or "nothing"
