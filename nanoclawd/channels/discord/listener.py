"""Takes what the gateway dispatches: each place's events in their order, each handed in until it is stored."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.text import storable
from nanoclawd.channels.adapter import Host
from nanoclawd.channels.discord import events, wire
from nanoclawd.channels.discord.catch_up import CatchUp
from nanoclawd.channels.discord.lanes import Lanes
from nanoclawd.channels.discord.marks import Marks
from nanoclawd.channels.discord.places import Place, Places
from nanoclawd.channels.discord.rest import FAILURES, Rest, told
from nanoclawd.errors import NotFound, Refused, TooLarge, Unavailable
from nanoclawd.routing.event import InboundEvent

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 30.0
_REMEMBERED: Final = 2000

type Handler = Callable[[Any], None]


class Listener:
    """What comes in on one connected account."""

    def __init__(self, host: Host, rest: Rest, places: Places, marks: Marks, deleted: dict[str, None]) -> None:
        """Prepare.

        Args:
            host: the appliance.
            rest: its requests.
            places: what is known of channels.
            marks: up to where they were heard.
            deleted: messages that we have deleted ourselves.
        """
        self._host = host
        self._rest = rest
        self._places = places
        self._marks = marks
        self._deleted = deleted
        self._lanes = Lanes(self._look_back)
        self._catch_up = CatchUp(rest, marks, self._take)
        self._heard: dict[str, None] = {}
        self._behind: set[str] = set()
        self._is_first = False
        self._members_of: set[str] = set()

    def handlers(self) -> dict[str, Handler]:
        """Return what to do with each event. None of these waits, and none raises."""
        spoken: dict[str, Callable[[Any], Awaitable[None]]] = {
            "MESSAGE_UPDATE": self._edited,
            "MESSAGE_DELETE": self._deleted_one,
            "MESSAGE_DELETE_BULK": self._deleted_many,
            "MESSAGE_REACTION_ADD": self._reacted,
        }
        known: dict[str, Handler] = {
            "READY": self._ready,
            "GUILD_CREATE": self._guild,
            "GUILD_DELETE": self._guild_gone,
            "GUILD_ROLE_CREATE": lambda data: self._places.add_role(wire.read(data, wire.RoleChange).role),
            "GUILD_ROLE_UPDATE": lambda data: self._places.add_role(wire.read(data, wire.RoleChange).role),
            "CHANNEL_CREATE": self._channel,
            "CHANNEL_UPDATE": self._channel,
            "CHANNEL_DELETE": self._channel_gone,
            "THREAD_CREATE": self._channel,
            "THREAD_UPDATE": self._channel,
            "THREAD_DELETE": self._channel_gone,
            "THREAD_LIST_SYNC": self._threads,
        }
        found = {name: partial(self._safely, name, handler) for name, handler in known.items()}
        found |= {name: partial(self._later, name, handler) for name, handler in spoken.items()}
        return found | {"MESSAGE_CREATE": self._message}

    def put(self, channel_id: str, event_id: str, raw: Any, work: Callable[[], Awaitable[None]]) -> None:
        """Have an event handled after those of its place that came before."""
        if not self._lanes.put(channel_id, lambda: self._handled(event_id, raw, work)):
            self._missed(channel_id)

    async def close(self) -> None:
        """Drop what waits: it was not marked as heard."""
        await self._lanes.close()

    async def place(self, channel_id: str, guild_id: str | None = None) -> Place:
        """Return where something was said, by asking for what is not known.

        Raises:
            Unavailable: it can't be asked now.
        """
        known = self._places.get(channel_id)
        if known is not None:
            return known
        try:
            return self._places.add(await self._rest.channel(channel_id), guild_id)
        except (*FAILURES, msgspec.ValidationError) as error:
            fault = told(error)
            if isinstance(fault, NotFound | Refused):
                # What may not be asked about is a place all the same.
                return self._places.add(wire.Channel(channel_id, wire.DIRECT if guild_id is None else 0), guild_id)
            raise fault from error

    # What is said.

    def _message(self, data: Any) -> None:
        message_id, channel_id = _text(data, "id"), _text(data, "channel_id")
        if wire.is_id(message_id):
            self._marks.expect(message_id)
        # What comes after a message that was left to the history is left to it as well: a mark must not pass it.
        if channel_id in self._behind or not self._lanes.put(channel_id, partial(self._take, data)):
            self._missed(channel_id)

    async def _take(self, data: Any) -> None:
        """Handle a message, and mark it as heard when it is stored or set aside."""
        message_id, channel_id = _text(data, "id"), _text(data, "channel_id")
        if message_id in self._heard:
            return
        if not self._is_own(data):
            await self._handled(message_id, data, partial(self._said, data))
        self._heard[message_id] = None
        while len(self._heard) > _REMEMBERED:
            del self._heard[next(iter(self._heard))]
        if wire.is_id(message_id) and wire.is_id(channel_id):
            place = self._places.get(channel_id)
            is_direct = place.guild is None if place is not None else not _text(data, "guild_id")
            self._marks.note(channel_id, message_id, is_direct=is_direct)

    async def _said(self, data: Any) -> None:
        message = wire.read(data, wire.Message)
        if not events.is_for_us(message, self._places.me):
            return
        if message.guild_id is None and self._places.get(message.channel_id) is None:
            # Only direct chats are not told before: this is what the request would say.
            self._places.add(wire.Channel(message.channel_id, wire.DIRECT, recipients=(message.author,)))
        place = await self.place(message.channel_id, message.guild_id)
        try:
            await self._host.message(events.from_message(message, place, self._places))
        except TooLarge as error:
            await self._tell(message.channel_id, error.message)

    async def _tell(self, channel_id: str, words: str) -> None:
        """Tell a person why their message is not heard; once, whatever becomes of that."""
        with contextlib.suppress(*FAILURES):
            await self._rest.post(channel_id, {"content": words[:2000], "allowed_mentions": {"parse": []}}, None)

    async def _edited(self, data: Any) -> None:
        message = wire.read(data, wire.Message)
        place = await self.place(message.channel_id, message.guild_id)
        await self._hand_in(events.from_edit(message, place, self._places))

    async def _deleted_one(self, data: Any) -> None:
        gone = wire.read(data, wire.Deletion)
        await self._gone(gone.channel_id, gone.guild_id, gone.id)

    async def _deleted_many(self, data: Any) -> None:
        gone = wire.read(data, wire.Deletions)
        await self._gone(gone.channel_id, gone.guild_id, *gone.ids)

    async def _gone(self, channel_id: str, guild_id: str | None, *message_ids: str) -> None:
        others = [one for one in message_ids if one not in self._deleted]
        if not others:
            return
        place = await self.place(channel_id, guild_id)
        for message_id in others:
            await self._hand_in(events.from_deletion(message_id, place, self._places))

    async def _reacted(self, data: Any) -> None:
        reacted = wire.read(data, wire.Reacted)
        place = await self.place(reacted.channel_id, reacted.guild_id)
        await self._hand_in(events.from_reaction(reacted, place, self._places))

    async def _hand_in(self, event: InboundEvent | None) -> None:
        if event is not None:
            with contextlib.suppress(TooLarge):
                await self._host.message(event)

    def _is_own(self, data: Any) -> bool:
        """Tell whether a message is ours; every change of an answer in the making comes back as one."""
        author = data.get("author") if isinstance(data, dict) else None
        return bool(self._places.me) and _text(author, "id") == self._places.me

    def _later(self, name: str, handler: Callable[[Any], Awaitable[None]], data: Any) -> None:
        if self._is_own(data):
            return
        about = _text(data, "id") or _text(data, "message_id") or "several"
        # The same change told again has the same id; two changes of one message have not.
        event_id = f"{about}~{name.lower()}~{_text(data, 'edited_timestamp') or _text(data, 'user_id')}"
        self.put(_text(data, "channel_id"), event_id, data, partial(handler, data))

    async def _handled(self, event_id: str, raw: Any, work: Callable[[], Awaitable[None]]) -> None:
        """Hand an event in, again and again where it can't be stored: what comes behind it waits."""
        pause = _FIRST_PAUSE_SECONDS
        kept = _written(raw)
        while True:
            try:
                await self._host.handle(event_id or "without an id", kept, work)
            except Unavailable as error:
                log.debug("an event of Discord is handed in again: %s", error.message)
            else:
                return
            # What keeps it (a disk) tells nobody when it is well again; the pause grows and is bounded.
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    # What was said before.

    def _missed(self, channel_id: str) -> None:
        """Leave a channel's messages to its history: too much waits."""
        if not self._behind:
            log.warning("too many events of Discord wait; the rest is read from the channels' histories")
        self._behind.add(channel_id)

    def _look_back(self) -> None:
        """Read what was left to the histories, now that there is room."""
        for channel_id in list(self._behind):
            if not self._lanes.is_busy(channel_id):
                self._read_history(channel_id)

    def _read_history(self, channel_id: str) -> None:
        if not self._lanes.put(channel_id, partial(self._up_to_now, channel_id)):
            self._behind.add(channel_id)

    async def _up_to_now(self, channel_id: str) -> None:
        self._behind.discard(channel_id)
        await self._catch_up.run(channel_id)

    # Where things are.

    def _safely(self, name: str, handler: Handler, data: Any) -> None:
        try:
            handler(data)
        except Exception as error:
            log.warning("Discord's event %s %s was skipped: %s", name, _text(data, "id"), type(error).__name__)

    def _ready(self, data: Any) -> None:
        ready = wire.read(data, wire.Ready)
        self._places.begin(ready.user.id)
        self._is_first = self._marks.is_first_time
        self._members_of = {one.id for one in ready.guilds}
        for channel_id in self._marks.direct():
            self._read_history(channel_id)

    def _guild(self, data: Any) -> None:
        guild = wire.read(data, wire.Guild)
        found = self._places.add_guild(guild)
        if self._is_first or guild.id not in self._members_of:
            # What was said before the bot came is not for it.
            self._members_of.add(guild.id)
            self._marks.raise_floor(max((int(one.last or one.id) for one in found), default=0))
            return
        for place in found:
            if self._catch_up.is_behind(place):
                self._read_history(place.id)

    def _guild_gone(self, data: Any) -> None:
        # One that is only unavailable for now is told again when it is there.
        if isinstance(data, dict) and not data.get("unavailable"):
            self._places.remove_guild(_text(data, "id"))

    def _channel(self, data: Any) -> None:
        channel = wire.read(data, wire.Channel)
        before = self._places.get(channel.id)
        place = self._places.add(channel)
        if before is not None and before.name != place.name and place.parent is None:
            task = partial(self._renamed, self._places.address(place))
            self.put(place.id, f"{place.id}~renamed", data, task)

    async def _renamed(self, chat: Address) -> None:
        await self._host.chat_named(chat, self._places.shown_name(chat.platform_id), is_group=True)

    def _channel_gone(self, data: Any) -> None:
        self._places.remove(_text(data, "id"))

    def _threads(self, data: Any) -> None:
        found = wire.read(data, wire.Threads)
        for one in wire.read_each(found.threads, wire.Channel):
            self._places.add(one, found.guild_id)


def _text(data: Any, key: str) -> str:
    """Return a text of a payload that may be anything."""
    found = data.get(key) if isinstance(data, dict) else None
    return storable(found[:100]) if isinstance(found, str) else ""


def _written(raw: Any) -> str:
    """Return a payload as text for a look at it, without what is secret in it."""
    if isinstance(raw, dict) and "token" in raw:
        raw = {key: value for key, value in raw.items() if key != "token"}
    try:
        return msgspec.json.encode(raw).decode()
    except (TypeError, ValueError):
        return repr(raw)[:8192]
