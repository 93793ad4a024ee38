"""Everything that a group needs to be able to start, made from its row and the configuration. Idempotent."""

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nanoclaw_runner.contract.agent_config import DEFAULT_MAX_MESSAGES_PER_PROMPT, AgentConfig, to_json
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.skills import Skill, find
from nanoclawd.agents import memory, mounts
from nanoclawd.atomic_file import write_atomically
from nanoclawd.config import Config, Endpoint
from nanoclawd.egress.rules import Rule
from nanoclawd.egress.secrets import Secret
from nanoclawd.errors import NanoclawError
from nanoclawd.images.group_images import reference
from nanoclawd.images.service import stage_of
from nanoclawd.paths import AGENTS_FILE, CONFIG_FILE, SHARE, StatePaths
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.group_configuration import DEFAULT, GroupConfiguration, Mount
from nanoclawd.supervision.quadlets import MountedDirectory, SessionTemplate, UnitFiles

log = logging.getLogger(__name__)

DEFAULT_INSTRUCTIONS = (
    "You are {name}, a helpful assistant in a chat."
    " Answer in the language of the question, in plain words, and be brief."
)
_TURN_MARGIN_SECONDS = 30.0
"""So long before the host ends a turn its runner does, who can still say so."""

_UNKNOWN_ENDPOINT = Endpoint()
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*")
"""Other names would be refused in a unit file, and no group could start."""


@dataclass(frozen=True, slots=True)
class Published:
    """What the whole appliance has published for its groups.

    Attributes:
        runner: hash of the runner's tree.
        image: of every group whose provider has none of its own.
        by_provider: images of those providers.
    """

    runner: str
    image: str
    by_provider: Mapping[str, str] = field(default_factory=dict)

    def image_of(self, provider: str) -> str:
        """Return the image that a provider needs."""
        return self.by_provider.get(provider, self.image)


class Provisioner:
    """Writes what groups need. Blocking: used off the loop."""

    def __init__(self, paths: StatePaths, units: UnitFiles, config: Config, share: Path = SHARE) -> None:
        self._paths = paths
        self._units = units
        self._config = config
        self._share = share
        self._timezone = local_timezone()

    def write(
        self,
        group: AgentGroup,
        published: Published,
        configuration: GroupConfiguration = DEFAULT,
        secrets: Sequence[Secret] = (),
    ) -> bool:
        """Make a group's directories and files; True when the user manager has to be reloaded.

        Args:
            group: as its row says.
            published: what the whole appliance has.
            configuration: of the group.
            secrets: all that there are; its agent is told of those that its requests get.
        """
        for directory, mode in (
            (self._paths.sessions_of(group.folder), 0o750),
            (self._paths.workspace(group.folder), 0o770),
            (self._paths.agent_json(group.folder).parent, 0o755),
            (self._paths.skills, 0o755),
        ):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(mode)
        memory.begin_notes(self._paths.workspace(group.folder))
        given = self.mounts(configuration)
        told = self._agent_config(group, configuration)
        # Of tools, files and skills a model without tools has no use, and a small one only stumbles over them.
        found = self.skills(configuration.skills)
        own = [secret for secret in secrets if secret.is_for(group.folder)]
        may_ask = told.may_ask_host
        text = ""
        if told.tools:
            has_onecli = self._config.gateway.onecli is not None
            text = memory.compose(
                configuration, found, given, own, group=group.folder, may_ask=may_ask, has_onecli=has_onecli
            )
        write_atomically(self._paths.agent_memory(group.folder), text, mode=0o644)
        write_atomically(self._paths.agent_json(group.folder), to_json(told), mode=0o644)
        timeouts, limits = self._config.timeouts, self._config.limits
        return self._units.write_group(
            SessionTemplate(
                group=group.folder,
                uid=group.uid,
                image=self._image(group, published, configuration),
                runner=published.runner,
                timezone=self._timezone,
                watchdog_seconds=int(timeouts.watchdog),
                ready_seconds=int(timeouts.ready),
                memory_bytes=limits.session_memory,
                tasks=limits.session_tasks,
                share=self._share,
                mounts=tuple(MountedDirectory(Path(mount.path), mount.name, mount.writable) for mount in given),
            )
        )

    def skills(self, selected: Collection[str] | None = None) -> list[Skill]:
        """Return the shared skills that there are now, of the package and of the operator."""
        return find([("shipped", self._share / "skills"), ("own", self._paths.skills)], selected)

    def mounts(self, configuration: GroupConfiguration) -> list[Mount]:
        """Return the directories that a group gets: those that may still be given."""
        for mount in configuration.mounts:
            if problem := self.mount_problem(mount):
                log.warning("a directory is left out: %s", problem)
        return mounts.effective(configuration.mounts, self._config.mounts, self._private)

    def mount_problem(self, mount: Mount) -> str:
        """Return why a directory is not given at the moment; empty: it is."""
        return mounts.problem(mount, self._config.mounts, self._private)

    def judge_mount(self, path: str, *, writable: bool) -> Path:
        """Return the real path of a directory that may be given. Raises as :func:`nanoclawd.agents.mounts.judged`."""
        return mounts.judged(path, self._config.mounts, self._private, writable=writable)

    @property
    def _private(self) -> tuple[Path, ...]:
        return self._paths.root, CONFIG_FILE.parent

    def _image(self, group: AgentGroup, published: Published, configuration: GroupConfiguration) -> str:
        """Return the image of the next start: the group's own, where it has one that its provider can run in."""
        provider = group.provider or self._config.provider
        own = configuration.image_tag is not None and configuration.image_stage == stage_of(provider)
        return reference(group.folder, configuration.image_tag or "") if own else published.image_of(provider)

    def set_aside(self, folder: str) -> None:
        """Put away what lies where a new group's trees will be: left by another one of its name.

        Its deletion was interrupted, or an older database was put back. It may be somebody's, so it is only moved, to a
        name that no group can have.

        Raises:
            OSError: it can't be moved.
        """
        for tree in trees_of(self._paths, folder):
            if tree.is_dir() and any(tree.iterdir()):
                kept = tree.with_name(f"{folder}.before-{now_text().replace(':', '').replace('.', '')}")
                tree.rename(kept)
                log.warning("%s was there before its group: moved to %s", tree, kept)

    def publish_agents(
        self,
        groups: list[AgentGroup],
        configurations: Mapping[str, GroupConfiguration] | None = None,
        rules: Sequence[Rule] = (),
        secrets: Sequence[Secret] = (),
    ) -> None:
        """Tell the gateway which uid is whose, and what each may reach (an endpoint that has gone: nothing).

        Args:
            groups: all that there are.
            configurations: by the groups' ids.
            rules: of where agents may go.
            secrets: which of them go where; no value of any.
        """
        known = configurations or {}
        agents = [
            {
                "uid": group.uid,
                "group": group.folder,
                "endpoints": self._endpoints(group, known.get(group.id, DEFAULT)),
                **self._known_outside(group),
            }
            for group in groups
        ]
        published = {
            "version": 3,
            "agents": agents,
            "egress": msgspec.to_builtins(rules),
            "secrets": msgspec.to_builtins(secrets),
        }
        write_atomically(AGENTS_FILE, json.dumps(published) + "\n", mode=0o644)

    def _known_outside(self, group: AgentGroup) -> dict[str, str]:
        """Return what a gateway outside has to know of a group; without one nobody reads it."""
        return {} if self._config.gateway.onecli is None else {"id": group.id, "name": group.name}

    def _endpoints(self, group: AgentGroup, configuration: GroupConfiguration) -> list[str]:
        servers = [server.url.partition("/")[0] for server in configuration.mcp_servers if server.url]
        known = [endpoint for endpoint in servers if endpoint in self._config.endpoints]
        with suppress(NanoclawError):
            known.insert(0, self._config.resolve_model(group.model).endpoint)
        return list(dict.fromkeys(known))

    def _agent_config(self, group: AgentGroup, configuration: GroupConfiguration) -> AgentConfig:
        try:
            endpoint, model = self._config.resolve_model(group.model)
        except NanoclawError:
            # The configuration has lost this group's endpoint: the gateway will say so, in the chat.
            endpoint, _, model = (group.model or "").partition("/")
        timeouts = self._config.timeouts
        served = self._config.endpoints.get(endpoint, _UNKNOWN_ENDPOINT)
        provider = group.provider or self._config.provider
        return AgentConfig(
            group=group.folder,
            assistant_name=group.name,
            provider=provider,
            endpoint=endpoint,
            model=model,
            effort=configuration.effort or "",
            # A script is no model: it plays the words as they are.
            prompt="plain" if provider == "scripted" else served.prompt,
            tools=provider == "scripted" or served.tools,
            context_tokens=served.context_tokens,
            instructions=group.instructions or DEFAULT_INSTRUCTIONS.format(name=group.name),
            timezone=self._timezone,
            idle_seconds=timeouts.idle,
            silence_seconds=timeouts.silence,
            quiet_seconds=timeouts.quiet,
            max_messages_per_prompt=configuration.max_messages or DEFAULT_MAX_MESSAGES_PER_PROMPT,
            turn_seconds=timeouts.turn - min(_TURN_MARGIN_SECONDS, timeouts.turn / 10),
            max_tool_calls=self._config.limits.tool_calls,
            task_scripts=self._config.limits.task_scripts,
            may_ask_host=group.cli_scope != "disabled",
            mcp_servers=configuration.mcp_servers,
            skills=configuration.skills,
        )


def trees_of(paths: StatePaths, folder: str) -> tuple[Path, ...]:
    """Return the directories that are a group's alone."""
    return (
        paths.sessions_of(folder),
        paths.workspace(folder),
        paths.agent_json(folder).parent,
        paths.group_image(folder),
    )


def local_timezone(localtime: Path = Path("/etc/localtime")) -> str:
    """Return the machine's time zone by its IANA name, UTC where it has none (localtime(5): a link into zoneinfo)."""
    try:
        target = localtime.readlink().as_posix()
    except OSError:
        return "UTC"
    _, found, name = target.partition("zoneinfo/")
    return name if found and _ZONE.fullmatch(name) else "UTC"
