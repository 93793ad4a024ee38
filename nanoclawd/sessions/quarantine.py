"""A session whose container's database can't be trusted: none is started for it until the operator resets it."""

import logging
from typing import Final

from nanoclawd.journal import Event, about
from nanoclawd.sessions.aftermath import Aftermath
from nanoclawd.sessions.display import Display
from nanoclawd.sessions.files import SessionFiles
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.ports import SessionRef
from nanoclawd.sessions.state import Phase
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

_MAX_RECOVERIES: Final = 3


class Quarantine:
    """Whether one session is in quarantine, how it gets there, and what is said to who writes to it."""

    def __init__(
        self,
        session: SessionRef,
        database: Database,
        files: SessionFiles,
        mailbox: Mailbox,
        display: Display,
        aftermath: Aftermath,
        reason: str | None,
    ) -> None:
        self._session = session
        self._database = database
        self._files = files
        self._mailbox = mailbox
        self._display = display
        self._aftermath = aftermath
        self._reason = reason
        self._recoveries = 0

    @property
    def holds(self) -> bool:
        """Whether the session is in quarantine."""
        return self._reason is not None

    async def recovering(self) -> None:
        """Count a start for nothing but a journal that the runner has to roll back; one too many is the last."""
        self._recoveries += 1
        if self._recoveries > _MAX_RECOVERIES:
            await self.impose("it leaves a journal beside outbound.db that it does not roll back")

    def recovered(self) -> None:
        """Note that a container has done its work."""
        self._recoveries = 0

    async def impose(self, reason: str) -> None:
        """Put the session into quarantine, and tell who waits."""
        log.error(
            "session %s is quarantined: %s",
            self._session.id,
            reason,
            extra=about(session=self._session.id, group=self._session.group, event=Event.SESSION_QUARANTINED),
        )
        self._reason = reason
        await self._database.run(session_rows.set_quarantine, self._session.id, reason)
        await self._mailbox.load()
        await self.refuse()

    async def refuse(self) -> None:
        """Answer every waiting message with why nobody will."""
        self._display.see(Phase.QUARANTINED, reason=self._reason or "")
        await self._aftermath.refuse(
            "quarantine",
            f"This conversation is in quarantine: {self._reason}."
            f" The operator can run: ncl sessions reset {self._session.id}",
        )

    async def lift(self) -> str:
        """Move the damaged database aside, and return where it is."""
        kept = await self._files.replace_outbound()
        await self._database.run(session_rows.set_quarantine, self._session.id, None)
        self._reason = None
        self._recoveries = 0
        return kept
