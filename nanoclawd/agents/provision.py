"""Everything that a group needs to be able to start, made from its row and the configuration. Idempotent."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanoclaw_runner.contract.agent_config import AgentConfig, to_json
from nanoclaw_runner.contract.clock import now_text
from nanoclawd.atomic_file import write_atomically
from nanoclawd.config import Config
from nanoclawd.errors import NanoclawError
from nanoclawd.paths import AGENTS_FILE, StatePaths
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.supervision.quadlets import SessionTemplate, UnitFiles

log = logging.getLogger(__name__)

DEFAULT_INSTRUCTIONS = (
    "You are {name}, a helpful assistant in a chat."
    " Answer in the language of the question, in plain words, and be brief."
)
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

    def __init__(self, paths: StatePaths, units: UnitFiles, config: Config) -> None:
        self._paths = paths
        self._units = units
        self._config = config
        self._timezone = local_timezone()

    def write(self, group: AgentGroup, published: Published) -> bool:
        """Make a group's directories and files; True when the user manager has to be reloaded."""
        for directory, mode in (
            (self._paths.sessions_of(group.folder), 0o750),
            (self._paths.workspace(group.folder), 0o770),
        ):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(mode)
        write_atomically(self._paths.agent_json(group.folder), to_json(self._agent_config(group)), mode=0o644)
        timeouts, limits = self._config.timeouts, self._config.limits
        return self._units.write_group(
            SessionTemplate(
                group=group.folder,
                uid=group.uid,
                image=published.image_of(group.provider or self._config.provider),
                runner=published.runner,
                timezone=self._timezone,
                watchdog_seconds=int(timeouts.watchdog),
                ready_seconds=int(timeouts.ready),
                memory_bytes=limits.session_memory,
                tasks=limits.session_tasks,
            )
        )

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

    def publish_agents(self, groups: list[AgentGroup]) -> None:
        """Tell the gateway which uid is whose, and what each may reach (an endpoint that has gone: nothing)."""
        agents = [{"uid": group.uid, "group": group.folder, "endpoints": self._endpoints(group)} for group in groups]
        write_atomically(AGENTS_FILE, json.dumps({"version": 1, "agents": agents}) + "\n", mode=0o644)

    def _endpoints(self, group: AgentGroup) -> list[str]:
        try:
            return [self._config.resolve_model(group.model).endpoint]
        except NanoclawError:
            return []

    def _agent_config(self, group: AgentGroup) -> AgentConfig:
        try:
            endpoint, model = self._config.resolve_model(group.model)
        except NanoclawError:
            # The configuration has lost this group's endpoint: the gateway will say so, in the chat.
            endpoint, _, model = (group.model or "").partition("/")
        timeouts = self._config.timeouts
        return AgentConfig(
            group=group.folder,
            assistant_name=group.name,
            provider=group.provider or self._config.provider,
            endpoint=endpoint,
            model=model,
            instructions=group.instructions or DEFAULT_INSTRUCTIONS.format(name=group.name),
            timezone=self._timezone,
            idle_seconds=timeouts.idle,
            silence_seconds=timeouts.silence,
        )


def trees_of(paths: StatePaths, folder: str) -> tuple[Path, ...]:
    """Return the directories that are a group's alone."""
    return paths.sessions_of(folder), paths.workspace(folder), paths.agent_json(folder).parent


def local_timezone(localtime: Path = Path("/etc/localtime")) -> str:
    """Return the machine's time zone by its IANA name, UTC where it has none (localtime(5): a link into zoneinfo)."""
    try:
        target = localtime.readlink().as_posix()
    except OSError:
        return "UTC"
    _, found, name = target.partition("zoneinfo/")
    return name if found and _ZONE.fullmatch(name) else "UTC"
