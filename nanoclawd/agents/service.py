"""The life of agent groups: create, change, restart, delete, each leaving nothing half done."""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import apsw

from nanoclaw_runner.contract.skills import is_skill_name
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.agents.notes import note_to
from nanoclawd.agents.provision import Provisioner, Published, trees_of
from nanoclawd.config import Config
from nanoclawd.egress.rules import Rule
from nanoclawd.egress.secrets import Secret
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, Refused, Unavailable
from nanoclawd.images.group_images import remove_image
from nanoclawd.journal import about
from nanoclawd.paths import StatePaths
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.sessions.registry import Sessions
from nanoclawd.store import agent_groups, chats, egress, group_configuration, secrets
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database
from nanoclawd.store.group_configuration import GroupConfiguration
from nanoclawd.store.names import check_group_name
from nanoclawd.store.schema_groups import EFFORTS
from nanoclawd.store.sessions import Session
from nanoclawd.supervision.quadlets import UnitFiles
from nanoclawd.supervision.user_manager import UserManager

log = logging.getLogger(__name__)

PROVIDERS: Final = frozenset({"claude", "openai", "scripted"})
_PROVIDER_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)
SCOPES: Final = ("disabled", "group", "global")
"""What an agent may ask of ``ncl``: nothing, what concerns its own group, or everything."""

DEFAULT_SCOPE: Final = "group"
MAX_MESSAGES: Final = 100
"""In one prompt."""


type Ending = Callable[[apsw.Connection, str], None]
"""Tells who waits for something of a group (by id) that it goes, in the transaction that deletes it."""


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
        self._leaving: set[str] = set()
        self.ending: Ending = lambda _connection, _group_id: None
        """Called where a group's rows are deleted, before they are."""
        self.ended: Callable[[], object] = lambda: None
        """Called when they are."""
        self.told_gateway: Callable[[], object] = lambda: None
        """Called when the gateway knows other agents or rules than before."""
        self._open: frozenset[str | None] = frozenset()

    def goes_out(self, folder: str) -> bool:
        """Tell whether a rule lets a group's agents go anywhere beyond their endpoints."""
        return None in self._open or folder in self._open

    async def publish(self, published: Published) -> None:
        """Use another runner tree or image from each session's next start on; also repairs what was lost."""
        self._published = published
        async with self._writing:
            # Read with the lock: a group that is made meanwhile would be taken for one that has gone.
            everything = await self._all()
            changed = await asyncio.to_thread(self._write_all, everything)
            self._gateway_knows(everything)
            if changed or await asyncio.to_thread(self._units.unread):
                await self._reload()

    async def create(
        self,
        folder: str,
        *,
        name: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        instructions: str = "",
        cli_scope: str = DEFAULT_SCOPE,
    ) -> AgentGroup:
        """Make a group that can start. The only way to make one: a row alone would be one that can't (W-32).

        Raises:
            InvalidName: the name breaks the rule, the model is not ENDPOINT/MODEL, or there is no such scope.
            AlreadyExists: there is one, or it is being deleted.
            NotFound: the model's endpoint is not in the configuration.
            Refused: the provider is not known or not allowed here.
            Unavailable: its files could not be written; nothing of it has remained.
        """
        self._check(provider, model, cli_scope)
        check_group_name(folder)
        if folder in self._leaving:
            raise AlreadyExists(f"group {folder} is being deleted", hint="ncl groups list")
        group = await self._database.run(agent_groups.create, folder, name, provider, model, instructions, cli_scope)
        try:
            # What an agent of the same name has left is not the new one's to read.
            await asyncio.to_thread(self._provisioner.set_aside, folder)
            await self.write(group.id)
        except Exception as error:
            await self._database.run(agent_groups.delete, group.id)
            async with self._writing:
                self._units.remove_group(folder)
            if isinstance(error, OSError):
                raise _unwritable(error) from error
            raise
        log.info("group %s was created", folder, extra=about(group=folder))
        return group

    async def update(
        self,
        folder: str,
        *,
        name: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        instructions: str | None = None,
        cli_scope: str | None = None,
        effort: str | None = None,
        max_messages: int | None = None,
        skills: str | None = None,
    ) -> AgentGroup:
        """Change settings: None leaves one as it is, an empty text (of a number 0) brings its default back.

        Running containers go on with what they have started with (F-216).

        Raises:
            NotFound: there is no such group, or the model's endpoint is not in the configuration.
            InvalidName: the model is not ENDPOINT/MODEL, or there is no such scope.
            Refused: the provider is not known or not allowed here.
            Unavailable: its files could not be written; the next start of the daemon writes them.
        """

        def change(connection: apsw.Connection) -> AgentGroup:
            # Read where it is written: of two changes at once neither undoes what the other has changed.
            with writing(connection):
                group = agent_groups.by_folder(connection, folder)
                configuration = group_configuration.load(connection, group.id)
                self._check(provider, model, cli_scope, brings_others="pip" in configuration.packages)
                settings = settings_with(configuration, effort=effort, max_messages=max_messages, skills=skills)
                group_configuration.set_settings(connection, group.id, settings)
                changed = replace(
                    group,
                    name=group.name if name is None else name or folder,
                    provider=group.provider if provider is None else provider or None,
                    model=group.model if model is None else model or None,
                    instructions=group.instructions if instructions is None else instructions,
                    cli_scope=group.cli_scope if cli_scope is None else cli_scope or DEFAULT_SCOPE,
                )
                return agent_groups.update(connection, changed)

        group = await self._database.run(change)
        await self.write(group.id)
        return group

    async def restart(self, folder: str, message: str | None = None) -> int:
        """End a group's running containers; return how many there were (F-217, F-218).

        They come back with its present settings when there is work (F-219), or at once with a message: no container
        that runs by now sees it, each new one does (F-220).

        Raises:
            NotFound: there is no such group.
            Unavailable: a message could not be stored; that session goes on as it was.
        """
        group = await self._database.run(agent_groups.by_folder, folder)
        rows = await self._database.run(session_rows.of_group, group.id)
        notes = {row.id: await self._database.run(note_to, row, message) for row in rows} if message else {}
        actors = [actor for row in rows if (actor := self._sessions.living(row.id)) is not None]
        restarting = (actor.restart(notes.get(actor.ref.id)) for actor in actors)
        outcomes = await asyncio.gather(*restarting, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return sum(outcome is True for outcome in outcomes)

    async def restart_session(self, session_id: str, note: NewMessage | None = None) -> bool:
        """Restart one session with its group's present settings, after the turn that it is in (W-29).

        An agent that asks for this in a turn would otherwise be asked the same again, and ask for it again.

        Args:
            session_id: which.
            note: what its next container is told, woken for it; also where it has none now.

        False: it has no container, and will have its present settings when it wakes.
        """
        actor = self._sessions.living(session_id)
        if actor is not None and await actor.restart_after_turn(note):
            return True
        if note is not None:
            await self._sessions.deliver_system(session_id, note)
        return False

    def image_of(self, provider: str) -> str:
        """Return the image in use that a provider needs: what a group's own image is built on."""
        return self._published.image_of(provider)

    async def delete(self, folder: str, *, force: bool) -> None:
        """Delete a group with its sessions, units and files.

        Raises:
            NotFound: there is none.
            Refused: it has sessions, and ``force`` is false.
        """
        group = await self._database.run(agent_groups.by_folder, folder)
        rows = await self._database.run(session_rows.of_group, group.id)
        if rows and not force:
            sessions = "1 session" if len(rows) == 1 else f"{len(rows)} sessions"
            raise Refused(
                f"group {folder} has {sessions}, to be deleted with all that was said in them",
                hint=f"ncl groups delete {folder} --force",
            )
        configuration = await self._database.run(group_configuration.load, group.id)
        self._leaving.add(folder)
        try:
            # The row first: no message finds the group any more, and what is left is only files.
            rows = await self._database.run(_delete_with_terminal_chats, group, self.ending)
            self.ended()
            for row in rows:
                self._sessions.drop(row.id)
                for unit in (f"nanoclaw-{folder}@{row.id}.service", f"nanoclaw-{folder}@{row.id}.socket"):
                    await self._manager.stop_unit(unit)
                    # A unit that failed stays loaded until somebody says that it is known.
                    await self._manager.reset_failed(unit)
            async with self._writing:
                self._units.remove_group(folder)
                await self._reload()
                await self._publish_agents(await self._all())
            await self._remove_files(folder)
            if configuration.image_tag is not None:
                await remove_image(self._manager, folder, configuration.image_tag)
        finally:
            self._leaving.discard(folder)
        log.info("group %s was deleted", folder, extra=about(group=folder))

    async def _reload(self) -> None:
        """Have the user manager read the unit files; called with the lock that their writers hold."""
        await self._manager.reload()
        await asyncio.to_thread(self._units.were_read)

    def _check(
        self, provider: str | None, model: str | None, cli_scope: str | None, *, brings_others: bool = False
    ) -> None:
        if cli_scope and cli_scope not in SCOPES:
            raise InvalidName(f"there is no scope {cli_scope[:40]!r}; there are: {', '.join(SCOPES)}")
        # A Python package of the group's may bring one of another name; its runner tells if none does.
        if provider and provider not in PROVIDERS and not (brings_others and _PROVIDER_NAME.fullmatch(provider)):
            raise Refused(f"there is no provider {provider[:40]!r}; there are: {', '.join(sorted(PROVIDERS))}")
        if provider == "scripted" and not self._config.allow_scripted:
            raise Refused(
                "the provider scripted does what a chat says, for tests; this appliance does not allow it",
                hint="set allow_scripted: true in /etc/nanoclawd/config.yaml",
            )
        if model:
            self._config.resolve_model(model)

    async def write(self, group_id: str) -> None:
        """Write a group's files as its row and its configuration say now; no container is touched.

        Raises:
            NotFound: it was deleted meanwhile.
            Unavailable: they could not be written; the next start of the daemon writes them.
        """
        async with self._writing:
            # Read with the lock: of two changes the later one is written last.
            everything = await self._all()
            group = next((one for one in everything.groups if one.id == group_id), None)
            if group is None:
                raise NotFound("the group was deleted meanwhile", hint="ncl groups list")
            configuration = everything.configurations[group_id]
            try:
                changed = await asyncio.to_thread(
                    self._provisioner.write, group, self._published, configuration, everything.secrets
                )
                await self._publish_agents(everything)
            except OSError as error:
                raise _unwritable(error) from error
            if changed:
                await self._reload()

    async def publish_egress(self) -> None:
        """Tell the gateway the rules as they are written now; they hold when this returns.

        Raises:
            Unavailable: that is not possible at the moment; the next change, or the next start of the daemon, does it.
        """
        async with self._writing:
            try:
                await self._publish_agents(await self._all())
            except OSError as error:
                raise Unavailable(f"the gateway can't be told: {error}", hint="ncl doctor") from error

    async def publish_secrets(self) -> None:
        """Tell the gateway which secrets go where, as it is written now, and each agent those that are for it.

        The gateway knows when this returns; an agent, at its session's next start at the latest.

        Raises:
            Unavailable: that is not possible at the moment; the next change, or the next start of the daemon, does it.
        """
        async with self._writing:
            try:
                changed = await asyncio.to_thread(self._write_all, await self._all())
            except OSError as error:
                raise Unavailable(f"the gateway can't be told: {error}", hint="ncl doctor") from error
            if changed:
                await self._reload()

    async def _publish_agents(self, everything: "_Everything") -> None:
        await asyncio.to_thread(
            self._provisioner.publish_agents,
            everything.groups,
            everything.configurations,
            everything.rules,
            everything.secrets,
        )
        self._gateway_knows(everything)

    def _gateway_knows(self, everything: "_Everything") -> None:
        self._open = frozenset(rule.group for rule in everything.rules if rule.action != "deny")
        self.told_gateway()

    async def _all(self) -> "_Everything":
        return await self._database.run(_everything)

    def _write_all(self, everything: "_Everything") -> bool:
        groups, configurations = everything.groups, everything.configurations
        # The gateway first: it decides.
        self._provisioner.publish_agents(groups, configurations, everything.rules, everything.secrets)
        changed = [
            self._provisioner.write(group, self._published, configurations[group.id], everything.secrets)
            for group in groups
        ]
        gone = self._units.groups() - {group.folder for group in groups}
        removed = [self._units.remove_group(folder) for folder in sorted(gone)]
        return any(changed) or any(removed)

    async def _remove_files(self, folder: str) -> None:
        """Remove the group's trees in a transient unit.

        An agent's files may belong to its uid, with mode 0600, and the daemon itself may not write to /run/user.
        """
        trees = [*trees_of(self._paths, folder), self._sessions.doorbells_of(folder)]
        result = await self._manager.run_transient(
            f"nanoclaw-remove-{folder}.service",
            ["/usr/bin/podman", "unshare", "rm", "-rf", "--", *map(str, trees)],
            f"Remove the files of agent group {folder}",
        )
        if result != "done":
            log.warning("the files of group %s could not be removed (%s)", folder, result, extra=about(group=folder))


def settings_with(
    configuration: GroupConfiguration, *, effort: str | None, max_messages: int | None, skills: str | None
) -> GroupConfiguration:
    """Return a configuration with other settings: None leaves one as it is, an empty text or 0 is its default.

    Raises:
        InvalidName: a value is none that there can be.
    """
    if effort and effort not in EFFORTS:
        raise InvalidName(f"there is no effort {effort[:40]!r}; there are: {', '.join(EFFORTS)}")
    if max_messages is not None and not 0 <= max_messages <= MAX_MESSAGES:
        raise InvalidName(f"a prompt has 1 to {MAX_MESSAGES} messages at most (0: the default)")
    return replace(
        configuration,
        effort=configuration.effort if effort is None else effort or None,
        max_messages=configuration.max_messages if max_messages is None else max_messages or None,
        skills=configuration.skills if skills is None else selection(skills),
    )


def selection(text: str) -> tuple[str, ...] | None:
    """Return the skills that a text names: ``all`` (None), ``none``, or names with commas between them.

    A skill need not be there yet.

    Raises:
        InvalidName: a name breaks the rule.

    >>> selection("b, a")
    ('a', 'b')
    """
    if text in {"", "all"}:
        return None
    names = set() if text == "none" else {name.strip() for name in text.split(",")}
    for name in names:
        if not is_skill_name(name):
            raise InvalidName(
                f"{name[:40]!r} can't name a skill: a-z, 0-9 and '-'; all, none, or names with commas between them",
                hint="ncl skills list",
            )
    return tuple(sorted(names))


@dataclass(frozen=True, slots=True)
class _Everything:
    """What there is to be written: of one moment."""

    groups: list[AgentGroup]
    configurations: dict[str, GroupConfiguration]
    rules: list[Rule]
    secrets: list[Secret]


def _everything(connection: apsw.Connection) -> _Everything:
    return _Everything(
        agent_groups.every(connection),
        group_configuration.every(connection),
        [row.rule for row in egress.listed(connection)],
        [row.secret for row in secrets.listed(connection)],
    )


def _unwritable(error: OSError) -> Unavailable:
    return Unavailable(f"the group's files can't be written: {error}", hint="df -h; ncl doctor")


def _delete_with_terminal_chats(connection: apsw.Connection, group: AgentGroup, ending: Ending) -> list[Session]:
    """Delete a group's rows, and the terminals' chats that were only its; return the sessions that it had."""
    with writing(connection):
        rows = session_rows.of_group(connection, group.id)
        wired = chats.wirings_of_agent(connection, group.id)
        ending(connection, group.id)
        agent_groups.delete(connection, group.id)
        for wiring in wired:
            chat = chats.by_id(connection, wiring.messaging_group_id)
            if chat.channel_type == "terminal" and not chats.wirings_of_chat(connection, chat.id):
                chats.delete(connection, chat.id)
    return rows
