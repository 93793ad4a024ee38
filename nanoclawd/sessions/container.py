"""A session's container as the host handles it: its units on the bus, its doorbell, and who ended it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.doorbell import Partial
from nanoclawd.errors import Unavailable
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
    broken: Callable[[str], None]


class Container:
    """At most one container of one session, start after start. systemd sees to the "at most"."""

    def __init__(self, units: SessionUnits, manager: UserManager, events: ContainerEvents) -> None:
        self._units = units
        self._manager = manager
        self._events = events
        self._doorbell: Doorbell | None = None
        self._loaded = True
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

        Its failure would be the first news of the next start (a queued job tells all of a unit's properties), and that
        start would be taken for failed.
        """
        state = await self._manager.state(self._units.service)
        if state.active == "failed":
            await self._manager.reset_failed(self._units.service)
        return state.running

    def begin(self, *, adopt: bool) -> None:
        """Begin a new life: of a container that will be started, or of one that was found running."""
        self.unit = UnitState()
        self.rung = adopt
        self.closed = False
        self.ever_active = adopt
        self.ended, self.ended_text = Ended.BY_ITSELF, ""

    async def wake(self) -> None:
        """Start the socket unit and connect, which makes systemd start the container.

        Raises:
            Unavailable: systemd could not start the socket.
        """
        manager, units = self._manager, self._units
        manager.watch(units.service, self._on_unit)
        self._loaded = True
        events = DoorbellEvents(self.look, self._events.partial, self._on_closed, self._events.broken)
        for _ in range(2):
            if await manager.start_unit(units.socket) == "done":
                try:
                    self._doorbell = await Doorbell.connect(units.doorbell, events)
                except OSError as error:
                    log.debug("%s: %s", units.doorbell, error)
                else:
                    self._doorbell.ring()
                    return
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
        unit = self._units.service
        stop = asyncio.create_task(self._manager.kill_unit(unit) if kill else self._manager.begin_stop(unit))
        self._background.add(stop)
        stop.add_done_callback(self._background.discard)

    async def end_now(self, ended: Ended, text: str = "", *, kill: bool = False) -> None:
        """End the container and wait until it has gone."""
        self._blame(ended, text)
        if kill:
            await self._manager.kill_unit(self._units.service)
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
