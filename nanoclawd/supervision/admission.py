"""Who may be awake: a bound on containers, their memory and the free disk; who waits, waits fairly.

Fair means in turn by agent group, and first come first served within a group, so that a group with forty sessions
does not keep another's one message waiting. Whole groups can be held: nobody of them is admitted until that is over.
"""

import asyncio
import shutil
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
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


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nobody of some groups is admitted.

    Attributes:
        reason: for a person.
        concerns: tells of a group whether it is held.
        outage: names what it is a part of: who waits is told once of each; empty: nobody is told.
    """

    reason: str
    concerns: Callable[[str], bool]
    outage: str = ""


type OnHold = Callable[[Hold], Awaitable[None]]


async def _untold(_hold: Hold) -> None:
    """Nobody needs to know."""


@dataclass(slots=True)
class _Ticket:
    session_id: str
    group: str
    is_in: bool = False
    news: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def tell(self) -> None:
        """Have the one who waits look again."""
        if not self.news.done():
            self.news.set_result(None)


class Admission:
    """Gives leave to be awake. ``make_room`` is asked when somebody waits: it may send an idle session to sleep."""

    def __init__(self, bounds: Bounds, state_root: Path) -> None:
        self._bounds = bounds
        self._root = state_root
        self._awake: set[str] = set()
        self._queues: OrderedDict[str, deque[_Ticket]] = OrderedDict()
        self._hold: Hold | None = None
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
        """Whether somebody waits for a place who could have one."""
        return any(not self.is_held(group) for group in self._queues)

    @property
    def held(self) -> Hold | None:
        """What holds groups at the moment."""
        return self._hold

    def is_held(self, group: str) -> bool:
        """Tell whether nobody of a group is admitted at the moment."""
        return self._hold is not None and self._hold.concerns(group)

    def hold(self, hold: Hold | None) -> None:
        """Hold groups, for another reason than before, or none any more."""
        self._hold = hold
        for queue in self._queues.values():
            for ticket in queue:
                ticket.tell()
        self.look()

    def look(self) -> None:
        """Look who can be admitted: which groups are held may have changed."""
        self._admit()
        if self._queues:
            self.queue_changed()
        if self._queues or self._hold is not None:
            self.make_room()

    def free_disk(self) -> int:
        """Return the free bytes of the state root's file system."""
        return shutil.disk_usage(self._root).free

    def disk_is_low(self) -> bool:
        """Tell whether the disk is below its bound."""
        return self.free_disk() < self._bounds.min_free_disk

    async def enter(self, session_id: str, group: str, on_hold: OnHold = _untold) -> None:
        """Wait for leave to be awake. A wait that ends early gives its place up.

        Args:
            session_id: who wants to.
            group: of the session.
            on_hold: called when the session is held, once for each outage; what it raises ends the wait.
        """
        if session_id in self._awake:
            return
        ticket = _Ticket(session_id, group)
        self._queues.setdefault(group, deque()).append(ticket)
        self._admit()
        if not ticket.is_in:
            self.queue_changed()
            self.make_room()
        told = ""
        try:
            while not ticket.is_in:
                hold = self._hold
                if hold is not None and hold.concerns(group) and hold.outage not in {"", told}:
                    told = hold.outage
                    await on_hold(hold)
                    continue
                ticket.news = asyncio.get_running_loop().create_future()
                await ticket.news
        except BaseException:
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
        taken = f"{self.awake} of {self.slots} places are taken"
        held = self._hold.reason if self._hold is not None else ""
        return [
            Waiting(ticket.session_id, ticket.group, place, held if self.is_held(ticket.group) else taken)
            for place, ticket in enumerate(ordered, start=1)
        ]

    def _admit(self) -> None:
        while len(self._awake) < self.slots:
            group = next((one for one in self._queues if not self.is_held(one)), None)
            if group is None:
                return
            queue = self._queues[group]
            ticket = queue.popleft()
            if queue:
                self._queues.move_to_end(group)
            else:
                del self._queues[group]
            if ticket.news.cancelled():
                continue
            self._awake.add(ticket.session_id)
            ticket.is_in = True
            ticket.tell()

    def _forget(self, ticket: _Ticket) -> None:
        queue = self._queues.get(ticket.group)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            if not queue:
                del self._queues[ticket.group]
        elif ticket.is_in:
            self.leave(ticket.session_id)
