"""What others see of a session while it lives: its state, its progress, and the sign that it is at work."""

from typing import Final

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.doorbell import Partial
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.ports import DeliveryPort, PartialText, Place, Progress, SessionRef, StatusText
from nanoclawd.sessions.state import Phase, Snapshot

_MAX_STATUS_CHARACTERS: Final = 200
_AT_WORK: Final = frozenset({Phase.WAITING, Phase.WAKING, Phase.AWAKE})


class Display:
    """Shows a session to its chats and to ``ncl``. Nothing here waits, and nothing of it is kept."""

    def __init__(self, session: SessionRef, mailbox: Mailbox, port: DeliveryPort) -> None:
        self._session = session
        self._mailbox = mailbox
        self._port = port
        self.snapshot = Snapshot()
        self._held = False

    def see(self, phase: Phase, *, reason: str = "") -> None:
        """Note a new place in the session's life."""
        # A container may tell its status in the same breath as its READY.
        status = self.snapshot.status if phase is Phase.AWAKE else ""
        self._held = False
        self.snapshot = Snapshot(phase=phase, since=now_text(), status=status, reason=reason)
        self.sign()

    def sign(self) -> None:
        """Show that somebody is at work where the oldest message that can be answered now was written, or nowhere."""
        address = self._mailbox.asking if self.snapshot.phase in _AT_WORK and not self._held else None
        if address is None:
            self._port.rested(self._session)
        else:
            self._port.working(self._session, address)

    def hold(self, reason: str) -> None:
        """Note that it waits for something that may take long: nobody is at work on it."""
        self.see(Phase.WAITING, reason=reason)
        self._held = True
        self._port.rested(self._session)

    def rest(self) -> None:
        """Show no sign of work any more, whatever waits: nobody is there to do it."""
        self._port.rested(self._session)

    def place(self, number: int, reason: str) -> None:
        """Tell who waits how many sessions are before this one."""
        if self.snapshot.phase is Phase.WAITING:
            self.snapshot = self.snapshot.placed(number, reason)
            self._show(Place(number, reason))

    def status(self, text: str) -> None:
        """Pass on what the container says that it does."""
        shown = text[:_MAX_STATUS_CHARACTERS]
        self.snapshot = self.snapshot.with_status(shown)
        self._show(StatusText(shown))

    def partial(self, partial: Partial) -> None:
        """Pass on an answer that is being written, to where its question is; not before what was said earlier there."""
        address = self._mailbox.address_of(partial.in_reply_to)
        if address is not None and not self._mailbox.is_behind(address):
            self._port.show_progress(address, PartialText(partial.in_reply_to, partial.text))

    def _show(self, progress: Progress) -> None:
        address = self._mailbox.asking or self._session.address
        if address is not None:
            self._port.show_progress(address, progress)
