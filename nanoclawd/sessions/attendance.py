"""What the host does while a session's container is awake: it looks when it is rung for, and minds the bounds."""

import asyncio
from typing import Final

from nanoclawd.sessions.container import Container
from nanoclawd.sessions.display import Display
from nanoclawd.sessions.ending import Ended
from nanoclawd.sessions.hostile_vfs import DamagedError, NotNowError
from nanoclawd.sessions.inbound import Pending
from nanoclawd.sessions.mailbox import Mailbox
from nanoclawd.sessions.pace import Alarm, LookPace, TurnBound
from nanoclawd.sessions.state import Phase
from nanoclawd.supervision.admission import Admission

_NOT_NOW_RETRY_SECONDS: Final = 0.05
_NOT_NOW_PATIENCE_SECONDS: Final = 5.0


class Attendance:
    """Attends the container of one session, life after life. All that waits is awaited in the session's own task."""

    def __init__(
        self,
        container: Container,
        mailbox: Mailbox,
        display: Display,
        admission: Admission,
        *,
        turn_seconds: float,
    ) -> None:
        """Attend nothing yet.

        Args:
            container: whom to attend.
            mailbox: what it was asked, and what it answers.
            display: where others see how it goes.
            admission: gives its place to others when it is idle.
            turn_seconds: for so long it may work on one thing.
        """
        self._container = container
        self._mailbox = mailbox
        self._display = display
        self._admission = admission
        self._turn = TurnBound(turn_seconds, lambda: container.end(Ended.FOR_TIME))
        self._again = Alarm(container.look)
        self._pace = LookPace()
        self._claimed: frozenset[str] = frozenset()
        self._locked_since: float | None = None
        self._idle_since: float | None = None
        self._restart_due = False
        self.progressed = False
        """Whether the container has done anything that lasts."""

    @property
    def idle_since(self) -> float | None:
        """When the awake container ran out of work (loop time), or None where it has some."""
        awake = self._display.snapshot.phase is Phase.AWAKE
        return self._idle_since if awake and not self._mailbox.busy else None

    def begin(self) -> None:
        """A container is about to be there."""
        self.progressed = False
        self._claimed = frozenset()
        self._locked_since = None

    async def attend(self, kick: asyncio.Event) -> None:
        """Serve the awake container until its doorbell closes or its unit fails."""
        container = self._container
        while not container.closed and container.unit.active != "failed":
            kick.clear()
            if container.ever_active and self._display.snapshot.phase is Phase.WAKING:
                self._display.see(Phase.AWAKE)
                self._watch_turn()
            if container.rung:
                container.rung = False
                await self._drain_awake()
            else:
                await kick.wait()

    def end(self) -> None:
        """There is no container any more; whatever was asked of it is over."""
        self._turn.end()
        self._again.at(None)
        self._idle_since = None
        self._restart_due = False

    def nudge(self) -> None:
        """There may be work for the container."""
        if self._mailbox.busy:
            self._idle_since = None
        if self._container.connected:
            self._container.ring()
            self._watch_turn()

    def restart_when_idle(self) -> None:
        """End the container when it has answered what it was asked."""
        self._restart_due = True
        self._restart_if_idle()

    def retire(self) -> None:
        """Send an idle container to sleep early: somebody needs its place."""
        if self.idle_since is not None:
            self._idle_since = None
            self._container.end(Ended.FOR_ROOM)

    async def drained(self) -> bool:
        """Deliver and finish all that is there; True when anything was.

        Raises:
            DamagedError: the container's database breaks the contract.
            NotNowError: a write is under way there, or a journal waits for the runner.
        """
        progressed = False
        while True:
            drained = await self._mailbox.drain()
            self._claimed = drained.claimed
            self._again.at(drained.again)
            if drained.outcomes and drained.claimed:
                # In the middle of a turn: a tool may wait for what became of its row.
                self._container.ring()
            progressed = progressed or bool(drained.finished or drained.delivered)
            if not drained.more:
                return progressed

    def undone(self) -> list[Pending]:
        """Return what a container that has gone left undone: what it began, or all if it never did anything."""
        begun = self._mailbox.among(self._claimed)
        return begun if begun or self.progressed else self._mailbox.due(held=False)

    async def _drain_awake(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            drained = await self.drained()
        except NotNowError:
            self._locked_since = self._locked_since or loop.time()
            if loop.time() - self._locked_since > _NOT_NOW_PATIENCE_SECONDS:
                self._container.broke_bound("it kept outbound.db locked for more than 5 s")
            else:
                loop.call_later(_NOT_NOW_RETRY_SECONDS, self._container.look)
            return
        except DamagedError as error:
            self._container.closed = True
            self._container.end(Ended.FOR_DAMAGE, str(error), kill=True)
            return
        self._locked_since = None
        self._display.sign()
        if drained:
            self.progressed = True
            self._pace.fruitful()
            self._turn.end()
            self._watch_turn()
        elif pause := self._pace.fruitless(loop.time()):
            # The pause is the bound on looks itself: an event that cut it short would be the ring that it holds off.
            await asyncio.sleep(pause)
        if not self._mailbox.busy:
            self._idle_since = loop.time()
            self._restart_if_idle()
            if self._admission.anybody_waits or self._admission.held is not None:
                self._admission.make_room()

    def _restart_if_idle(self) -> None:
        if self._restart_due and not self._mailbox.busy:
            self._restart_due = False
            self._container.end(Ended.FOR_RESTART)

    def _watch_turn(self) -> None:
        # Before it is ready systemd watches its start, with a bound and words of its own.
        if self._container.ever_active and self._mailbox.busy:
            self._turn.begin()
