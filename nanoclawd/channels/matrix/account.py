"""What the parts of a Matrix channel share while it is set up."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.matrix.keys import Keys
from nanoclawd.channels.matrix.options import Options
from nanoclawd.channels.matrix.own_loop import HostElsewhere
from nanoclawd.channels.matrix.pace import Pace
from nanoclawd.channels.matrix.requests import Requests, place
from nanoclawd.channels.matrix.state import Device, Progress, Store
from nanoclawd.errors import NotFound, Refused

PLATFORM: Final = "matrix"
_MAX_REMEMBERED: Final = 1000
_PAIR: Final = 2


@dataclass(frozen=True, slots=True)
class Remembered:
    """Who has sent an event, and its words."""

    sender: str
    text: str


@dataclass
class Account:
    """The account, its server, its keys and rooms, and how far it has read. Used in the channel's own loop."""

    name: str
    options: Options
    device: Device
    requests: Requests
    keys: Keys
    store: Store
    progress: Progress
    host: HostElsewhere
    pace: Pace = field(default_factory=Pace)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by each sync; who waits for one clears it first."""
    sealed_news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when an event was kept that can't be read yet, or when keys have come."""
    has_new_keys: bool = False
    direct: dict[str, list[str]] = field(default_factory=dict)
    """The account data ``m.direct``: by person, the rooms that are direct chats with them."""
    _events: OrderedDict[tuple[str, str], Remembered] = field(default_factory=OrderedDict)

    @property
    def user_id(self) -> str:
        """The account's own id."""
        return self.device.user_id

    def address(self, room_id: str, thread: str | None = None) -> Address:
        """Return a room's address, or a thread's in it."""
        return Address(self.name, room_id, thread)

    def save(self) -> None:
        """Write the progress down."""
        self.store.keep_progress(self.progress)

    def is_group(self, room_id: str) -> bool:
        """Tell whether more than one other can write in a room."""
        room = self.keys.rooms.get(room_id)
        return room is not None and room.joined_count + room.invited_count > _PAIR

    def remember(self, room_id: str, event_id: str, sender: str, text: str) -> None:
        """Keep an event's words, for those that answer it."""
        self._events[room_id, event_id] = Remembered(sender, text[:2000])
        if len(self._events) > _MAX_REMEMBERED:
            self._events.popitem(last=False)

    async def recall(self, room_id: str, event_id: str) -> Remembered | None:
        """Return an earlier event of a room; None where the server shows none.

        Raises:
            Unavailable: it can't be asked now.
        """
        known = self._events.get((room_id, event_id))
        if known is not None:
            return known
        try:
            source: dict[str, Any] | None = await self.requests.ask("GET", place("rooms", room_id, "event", event_id))
        except (NotFound, Refused):
            return None
        if source is not None and source.get("type") == "m.room.encrypted":
            try:
                source = self.keys.open(room_id, source) or source
            except ValueError:
                return None
        sender, content = (source or {}).get("sender"), (source or {}).get("content")
        if not isinstance(sender, str):
            return None
        body = content.get("body") if isinstance(content, dict) else None
        self.remember(room_id, event_id, sender, body if isinstance(body, str) else "")
        return self._events[room_id, event_id]

    async def joined(self, room_id: str, seconds: float) -> bool:
        """Wait until a sync has told of a room that the account has just joined; False where none does in time."""
        try:
            async with asyncio.timeout(seconds):
                while room_id not in self.keys.rooms:
                    self.synced.clear()
                    await self.synced.wait()
        except TimeoutError:
            return False
        return True
