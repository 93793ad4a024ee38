"""The container's paths as one value, so that a runner can be tried beneath another root."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nanoclaw_runner.contract import places


@dataclass(frozen=True, slots=True)
class Places:
    """Where this runner finds its databases, its configuration, its home and the way out."""

    inbound_db: Path = places.INBOUND_DB
    outbound_db: Path = places.OUTBOUND_DB
    home: Path = places.HOME
    agent_config: Path = places.AGENT_CONFIG
    gateway_socket: Path = places.GATEWAY_SOCKET

    @classmethod
    def beneath(cls, root: Path) -> Self:
        """Return the same tree under another root directory."""
        return cls(
            inbound_db=_moved(places.INBOUND_DB, root),
            outbound_db=_moved(places.OUTBOUND_DB, root),
            home=_moved(places.HOME, root),
            agent_config=_moved(places.AGENT_CONFIG, root),
            gateway_socket=_moved(places.GATEWAY_SOCKET, root),
        )


def _moved(path: Path, root: Path) -> Path:
    return root / path.relative_to("/")
