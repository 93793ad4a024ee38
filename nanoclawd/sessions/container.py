"""A session's container as the host handles it: its units on the bus, its doorbell, and who ended it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.doorbell import Partial
from nanoclawd.errors import Unavailable
from nanoclawd.journal import Event, about
from nanoclawd.sessions.ending import Ended
from nanoclawd.supervision.doorbell import Doorbell, DoorbellEvents
from nanoclawd.supervision.units import SessionUnits
from nanoclawd.supervision.user_manager import UnitState, UserManager

log = logging.getLogger(__name__)

STOP_SECONDS: Final = 20.0
"""After so long without an end, SIGKILL: a little more than the unit's own TimeoutStopSec."""


@dataclass(frozen=True, slots=True)
class ContainerEvents:
    """Whom a container tells, from the event loop; must not block."""

    changed: Callable[[], None]
    partial: Callable[[Partial], None]
    status: Callable[[str], None]


class Container:
    """At most one container of one session, life after life. systemd sees to the "at most".

    Whoever begins a life (the session's task) and whoever ends one (anybody) take turns: an end that would overlap a
    beginning could be undone by it, since connecting to the doorbell is what starts a container.
    """

    def __init__(self, units: SessionUnits, manager: UserManager, events: ContainerEvents) -> None:
        self._units = units
        self._manager = manager
        self._events = events
        self._doorbell: Doorbell | None = None
        self._loaded = True
        self._turns = asyncio.Lock()
        self._life = 0
        self._background: set[asyncio.Task[None]] = set()
        self.unit = UnitState()
        self.rung = False
        self.closed = False
        self.ever_active = False
        self.ended = Ended.BY_ITSELF
        self.ended_text = ""

    @property
    def connected(self) -> bool:
        """Whether there is a doorbell to ring."""
        return self._doorbell is not None

    async def running(self) -> bool:
        """Ask systemd whether the container's unit runs."""
        return (await self._manager.state(self._units.service)).running

    async def find(self) -> bool:
        """Tell whether a container is there of which nobody here knows, and forget one that failed unseen.

        Its life is this one's from here on. The failure of one that has gone would be the first news of the next start
        (a queued job tells all of a unit's properties), and that start would be taken for failed.
        """
        async with self._turns:
            state = await self._manager.state(self._units.service)
            if state.active == "failed":
                await self._manager.reset_failed(self._units.service)
            if state.running:
                self._begin(found=True)
            return state.running

    async def adopt(self) -> None:
        """Connect to the container that :meth:`find` has found. Starts none: it is ``closed`` if that one has gone."""
        async with self._turns:
            self._manager.watch(self._units.service, self._on_unit)
            self._loaded = True
            state = await self._manager.state(self._units.service)
            self._on_unit(self._units.service, state)
            if state.running and await self._connect():
                return
            self.closed = True
            if state.running:
                # It runs without its socket, and nobody could ring: what waits is better off with another.
                self._blame(Ended.FOR_RESTART, "")
                await self._manager.stop_unit(self._units.service)

    async def wake(self, wanted: Callable[[], bool]) -> bool:
        """Start a container, if one is still wanted when it comes to it; False where not.

        Raises:
            Unavailable: systemd could not start the socket.
        """
        manager, units = self._manager, self._units
        async with self._turns:
            if not wanted():
                return False
            self._begin(found=False)
            manager.watch(units.service, self._on_unit)
            self._loaded = True
            for _ in range(2):
                if await self._connect():
                    return True
                # Failed earlier, or its service runs without it: both are mended by beginning anew.
                await manager.stop_unit(units.service)
                await manager.reset_failed(units.service)
                await manager.reset_failed(units.socket)
        raise Unavailable(f"systemd could not start {units.socket}", hint="ncl doctor")

    def ring(self) -> None:
        """Say "look again" to the runner, if it is there."""
        if self._doorbell is not None:
            self._doorbell.ring()

    def look(self) -> None:
        """There may be something new in ``outbound.db``."""
        self.rung = True
        self._events.changed()

    def end(self, ended: Ended, text: str = "", *, kill: bool = False) -> None:
        """Have systemd end the container, without waiting; the first reason is kept."""
        self._blame(ended, text)
        stop = asyncio.create_task(self._end_life(self._life, kill=kill))
        self._background.add(stop)
        stop.add_done_callback(self._background.discard)

    async def end_now(self, ended: Ended) -> bool:
        """End the container and wait until it has gone; False where there is none."""
        async with self._turns:
            if not self.connected and not await self.running():
                return False
            self._blame(ended, "")
            # A doorbell that was connected in this moment may not have started anything yet: without its socket unit it
            # won't, and a service that was started is stopped. The next life starts the socket again.
            await self._manager.stop_unit(self._units.socket)
            await self._manager.stop_unit(self._units.service)
            return True

    def broke_bound(self, text: str) -> None:
        """Have systemd end a container that broke a bound, by force."""
        self._log_broken(text)
        self.end(Ended.FOR_BOUND, text, kill=True)

    async def end_locks(self, text: str) -> None:
        """End a container that holds a lock for too long, if there is one, by force, and wait until it has gone."""
        self._log_broken(text)
        life = self._life
        if not await self.running() or life != self._life:
            return
        self._blame(Ended.FOR_BOUND, text)
        # In nobody's turn: a stop that is under way may be what it resists.
        await self._manager.kill_unit(self._units.service)
        async with self._turns:
            if life == self._life:
                await self._manager.stop_unit(self._units.service)

    async def wait_gone(self, changed: asyncio.Event) -> None:
        """Wait until systemd has ended the unit; a unit that goes on without its doorbell is stopped."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_SECONDS
        asked = self.ended is not Ended.BY_ITSELF
        while True:
            changed.clear()
            self.unit = await self._manager.state(self._units.service)
            if not self.unit.running:
                break
            if not asked and self.unit.active == "active":
                asked = True
                await self._manager.begin_stop(self._units.service)
            try:
                await asyncio.wait_for(changed.wait(), max(0.0, deadline - loop.time()))
            except TimeoutError:
                await self._manager.kill_unit(self._units.service)
                deadline = loop.time() + STOP_SECONDS
        # From here on news of the unit would be of the reset, and hide how it ended.
        self._manager.unwatch(self._units.service)
        if self.unit.active == "failed":
            await self._manager.reset_failed(self._units.service)

    def hang_up(self) -> None:
        """Let the doorbell go; the container is not touched."""
        if self._doorbell is not None:
            self._doorbell.close()
            self._doorbell = None

    def let_go(self) -> None:
        """Know nothing of the container any more; it is not touched."""
        self.hang_up()
        self._manager.unwatch(self._units.service)

    async def unload(self) -> None:
        """Leave no unit loaded: a sleeping session costs systemd nothing."""
        self._manager.unwatch(self._units.service)
        if self._loaded:
            await self._manager.stop_unit(self._units.socket)
            self._loaded = False

    def _begin(self, *, found: bool) -> None:
        self._life += 1
        self.unit = UnitState()
        self.rung = found
        self.closed = False
        self.ever_active = found
        self.ended, self.ended_text = Ended.BY_ITSELF, ""

    async def _connect(self) -> bool:
        """Start the socket unit and connect, which makes systemd start the container if it does not run."""
        if await self._manager.start_unit(self._units.socket) != "done":
            return False
        events = DoorbellEvents(self.look, self._events.partial, self._on_closed, self.broke_bound)
        try:
            self._doorbell = await Doorbell.connect(self._units.doorbell, events)
        except OSError as error:
            log.debug("%s: %s", self._units.doorbell, error)
            return False
        self._doorbell.ring()
        return True

    async def _end_life(self, life: int, *, kill: bool) -> None:
        if kill and life == self._life:
            await self._manager.kill_unit(self._units.service)
            return
        async with self._turns:
            if life == self._life:
                await self._manager.begin_stop(self._units.service)

    def _log_broken(self, text: str) -> None:
        session, group = self._units.session_id, self._units.group
        extra = about(session=session, group=group, event=Event.BOUND_BROKEN)
        log.error("session %s broke a bound: %s", session, text, extra=extra)

    def _blame(self, ended: Ended, text: str) -> None:
        if self.ended is Ended.BY_ITSELF:
            self.ended, self.ended_text = ended, text

    def _on_closed(self) -> None:
        self.closed = True
        self._events.changed()

    def _on_unit(self, _unit: str, state: UnitState) -> None:
        if state.status_text != self.unit.status_text:
            self._events.status(state.status_text)
        self.unit = state
        self.ever_active = self.ever_active or state.active == "active"
        self._events.changed()
