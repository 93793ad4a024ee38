"""Who may be awake: a bound on containers, their memory and the free disk; who waits, waits fairly.

Fair means in turn by agent group, and first come first served within a group, so that a group with forty sessions
does not keep another's one message waiting.
"""

import asyncio
import shutil
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the configuration; bytes where not a count."""

    max_awake: int
    memory_budget: int
    session_memory: int
    min_free_disk: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that waits, for ``ncl status``."""

    session_id: str
    group: str
    place: int
    reason: str


@dataclass(slots=True)
class _Ticket:
    session_id: str
    group: str
    admitted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """Gives leave to be awake. ``make_room`` is asked when somebody waits: it may send an idle session to sleep."""

    def __init__(self, bounds: Bounds, state_root: Path) -> None:
        self._bounds = bounds
        self._root = state_root
        self._awake: set[str] = set()
        self._queues: OrderedDict[str, deque[_Ticket]] = OrderedDict()
        self.make_room: Callable[[], None] = lambda: None
        self.queue_changed: Callable[[], None] = lambda: None

    @property
    def slots(self) -> int:
        """How many may be awake at once: by count and by memory, one at least."""
        return max(1, min(self._bounds.max_awake, self._bounds.memory_budget // self._bounds.session_memory))

    @property
    def awake(self) -> int:
        """How many are awake."""
        return len(self._awake)

    @property
    def anybody_waits(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._queues)

    def free_disk(self) -> int:
        """Return the free bytes of the state root's file system."""
        return shutil.disk_usage(self._root).free

    def disk_is_low(self) -> bool:
        """Tell whether the disk is below its bound."""
        return self.free_disk() < self._bounds.min_free_disk

    async def enter(self, session_id: str, group: str) -> None:
        """Wait for leave to be awake. A cancelled wait gives its place up."""
        if session_id in self._awake:
            return
        ticket = _Ticket(session_id, group)
        self._queues.setdefault(group, deque()).append(ticket)
        self._admit()
        if not ticket.admitted.done():
            self.queue_changed()
            self.make_room()
        try:
            await ticket.admitted
        except asyncio.CancelledError:
            self._forget(ticket)
            raise

    def adopt(self, session_id: str) -> None:
        """Count a session that was awake before this daemon was."""
        self._awake.add(session_id)

    def leave(self, session_id: str) -> None:
        """Give a place back; the next one gets it."""
        self._awake.discard(session_id)
        self._admit()
        if self._queues:
            self.queue_changed()
            self.make_room()

    def waiting(self) -> list[Waiting]:
        """List who waits, in the order in which they will be admitted."""
        queues = [list(queue) for queue in self._queues.values()]
        ordered: list[_Ticket] = []
        for round_number in range(max(map(len, queues), default=0)):
            ordered += [queue[round_number] for queue in queues if round_number < len(queue)]
        reason = f"{self.awake} of {self.slots} places are taken"
        return [
            Waiting(ticket.session_id, ticket.group, place, reason) for place, ticket in enumerate(ordered, start=1)
        ]

    def _admit(self) -> None:
        while self._queues and len(self._awake) < self.slots:
            group, queue = next(iter(self._queues.items()))
            ticket = queue.popleft()
            if queue:
                self._queues.move_to_end(group)
            else:
                del self._queues[group]
            if ticket.admitted.done():
                continue
            self._awake.add(ticket.session_id)
            ticket.admitted.set_result(None)

    def _forget(self, ticket: _Ticket) -> None:
        queue = self._queues.get(ticket.group)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[ticket.group]
        elif ticket.admitted.done() and not ticket.admitted.cancelled():
            self.leave(ticket.session_id)
