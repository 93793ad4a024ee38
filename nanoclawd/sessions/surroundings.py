"""What all sessions share, bound once at the daemon's start."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from nanoclawd.config import Timeouts
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.ports import DeliveryPort
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission
from nanoclawd.supervision.user_manager import UserManager


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all actors share.

    Attributes:
        image_present: asks podman whether the agents' image is there.
        slept: told when a session has fallen asleep, with its next due time.
    """

    database: Database
    manager: UserManager
    admission: Admission
    jobs: SessionJobs
    reader: OutboundReader
    port: DeliveryPort
    timeouts: Timeouts
    runtime_directory: Path
    image_present: Callable[[], Awaitable[bool]]
    slept: Callable[[str | None], None]
