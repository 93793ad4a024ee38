"""What all sessions share, bound once at the daemon's start."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nanoclaw_runner.contract.cards import Card
from nanoclaw_runner.contract.rows import Address, OutboundRow
from nanoclawd.config import Timeouts
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.journal import Event, about
from nanoclawd.sessions.jobs import SessionJobs
from nanoclawd.sessions.outbound import OutboundReader
from nanoclawd.sessions.ports import DeliveryPort, HostRules, SessionRef
from nanoclawd.store.database import Database
from nanoclawd.supervision.admission import Admission
from nanoclawd.supervision.user_manager import UserManager

log = logging.getLogger(__name__)


class ClosedRules:
    """The rules where nobody has given others: an agent may write to its own chat, and nothing else."""

    async def may_write_to(self, _session: SessionRef, _address: Address) -> bool:
        """Refuse every other chat."""
        return False

    async def question_asked(self, _session: SessionRef, _row_id: str, _card: Card, _address: Address) -> str:
        """Refuse: nobody would notice the answer."""
        raise Refused("nothing here handles questions")

    async def question_failed(self, _session: SessionRef, _row_id: str) -> None:
        """Know of no question."""

    async def reported(self, _session: SessionRef, _row_id: str, _content: Mapping[str, object]) -> None:
        """Note nothing."""

    async def request(self, _session: SessionRef, _row: OutboundRow) -> None:
        """Refuse."""
        raise Refused("nothing here handles requests to the appliance")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all actors share.

    Attributes:
        missing_image: asks podman whether a group's image is there; the command that builds it, empty where it is.
        slept: told when a session has fallen asleep, with its next due time.
        rules: what agents may do beyond answering in their own chats.
    """

    database: Database
    manager: UserManager
    admission: Admission
    jobs: SessionJobs
    reader: OutboundReader
    port: DeliveryPort
    timeouts: Timeouts
    runtime_directory: Path
    missing_image: Callable[[str], Awaitable[str]]
    slept: Callable[[str | None], None]
    rules: HostRules = field(default_factory=ClosedRules)

    async def check_disk(self, session_id: str) -> None:
        """A full disk loses messages: below the bound nothing is accepted and nothing woken.

        Raises:
            Unavailable: the disk is below its bound.
        """
        # Not in the session's own line of jobs: another's trouble with its database is none of the disk's.
        await self.jobs.run("disk", self.judge_disk, session_id)

    def judge_disk(self, session_id: str) -> None:
        """Do what :meth:`check_disk` does, and raise the same. Blocking."""
        if self.admission.disk_is_low():
            log.error("the disk is almost full", extra=about(session=session_id, event=Event.DISK_LOW))
            raise Unavailable("the appliance's disk is almost full", hint="df -h; ncl doctor")
