"""The container's paths as one value, so that a runner can be tried beneath another root."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from nanoclaw_runner.contract import places


@dataclass(frozen=True, slots=True)
class Places:
    """Where this runner finds its databases, files and configuration, the agent's directories and the sockets."""

    inbound_db: Path = places.INBOUND_DB
    inbound_files: Path = places.INBOUND_FILES
    outbound_db: Path = places.OUTBOUND_DB
    outbound_files: Path = places.OUTBOUND_FILES
    workspace: Path = places.WORKSPACE
    temporary: Path = places.TEMPORARY
    home: Path = places.HOME
    agent_config: Path = places.AGENT_CONFIG
    agent_memory: Path = places.AGENT_MEMORY
    group_notes: Path = places.GROUP_NOTES
    skills: Path = places.SKILLS
    gateway_socket: Path = places.GATEWAY_SOCKET
    control_socket: Path = places.CONTROL_SOCKET

    @classmethod
    def beneath(cls, root: Path) -> Self:
        """Return the same tree under another root directory."""
        return cls(**{field.name: _moved(getattr(cls(), field.name), root) for field in fields(cls)})


def _moved(path: Path, root: Path) -> Path:
    return root / path.relative_to("/")
