"""Hands in what is said in rooms: each event once it can be read, until it is stored or set aside."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from nanoclawd.channels.matrix.account import PLATFORM, Account, Remembered
from nanoclawd.channels.matrix.keys import ENCRYPTED
from nanoclawd.channels.matrix.options import MAX_ID
from nanoclawd.channels.matrix.reading import Malformed, Said, read, without_fallback
from nanoclawd.channels.matrix.requests import place
from nanoclawd.channels.matrix.rooms import Rooms
from nanoclawd.channels.matrix.sealed import SealedEvents
from nanoclawd.channels.matrix.timeline import Timeline, events_of
from nanoclawd.errors import NanoclawError, TooLarge, Unavailable
from nanoclawd.routing.event import Change, InboundEvent, Quote, Sender

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 30.0
_RAW_CHARACTERS: Final = 8192


class Intake:
    """What goes from an account's rooms to the appliance."""

    def __init__(
        self, account: Account, rooms: Rooms, sealed: SealedEvents, tell: Callable[..., Awaitable[None]]
    ) -> None:
        """Prepare; ``tell(room_id, text, transaction)`` sends a notice."""
        self._account = account
        self._rooms = rooms
        self._sealed = sealed
        self._tell = tell
        self._names: dict[str, tuple[str | None, bool]] = {}
        self.left_out: set[str] = set()
        """Rooms of which the oldest events of an absence were not read: there were too many."""

    async def room(self, timeline: Timeline, state: list[Any], opened: Mapping[str, dict[str, Any]]) -> None:
        """Hand in a room's part of a sync: returns when all of it is done with. Never raises but when cancelled."""
        account, room_id = self._account, timeline.room_id
        if timeline.is_new:
            await _until_done(partial(self._rooms.entered, room_id))
        events, left_out = await _until_done(partial(events_of, account, timeline)) or ([], False)
        if left_out:
            self.left_out.add(room_id)
            log.warning("room %s: more than %d events were missed; the oldest are left out", room_id, len(events))
        await self._named(room_id)
        last = None
        for source in events:
            event_id = source.get("event_id")
            if isinstance(event_id, str) and 0 < len(event_id) <= MAX_ID:
                await self.event(room_id, event_id, source, opened.get(event_id))
                last = event_id if source.get("sender") != account.user_id else last
                sent = source.get("origin_server_ts")
                account.progress.mark(room_id, event_id, sent if type(sent) is int else 0)
        for source in (*state, *events):
            if isinstance(source, dict) and source.get("type") == "m.room.tombstone" and source.get("state_key") == "":
                await _until_done(partial(self._rooms.tombstoned, room_id, source))
        if last is not None:
            await self._read_up_to(room_id, last)

    async def event(
        self, room_id: str, event_id: str, source: dict[str, Any], opened: dict[str, Any] | None = None
    ) -> None:
        """Hand one event in; returns when it is done with."""
        if "state_key" in source or source.get("type") in ("m.room.encryption", "m.call.candidates"):
            return
        if source.get("sender") == self._account.user_id:
            self._remember(room_id, event_id, opened or source)
            return
        raw = json.dumps(source)[:_RAW_CHARACTERS]
        work = partial(self._hand_in, room_id, source, opened)
        await _until_done(lambda: self._account.host.handle(event_id, raw, work))

    async def _hand_in(self, room_id: str, source: dict[str, Any], opened: dict[str, Any] | None) -> None:
        was_sealed = source.get("type") == ENCRYPTED
        if was_sealed and _is_redacted(source):
            return
        if was_sealed and opened is None:
            opened = self._account.keys.open(room_id, source)
            if opened is None:
                self._sealed.keep(room_id, source)
                return
        said = read(opened if opened is not None else source)
        if said is None:
            return
        if was_sealed and said.change is Change.DELETED:
            raise Malformed("a redaction that no server has allowed")
        try:
            await self._say(room_id, said)
        except TooLarge as error:
            await self._tell(room_id, f"This message can't be taken: {error.message}", f"{said.event_id}.too-large")

    async def _say(self, room_id: str, said: Said) -> None:
        account = self._account
        if said.change is None:
            account.remember(room_id, said.event_id, said.sender, said.text)
        elif said.change is Change.EDITED:
            original = await account.recall(room_id, str(said.about))
            if original is None or original.sender != said.sender:
                log.info("an edit of what somebody else has said is ignored: %s", said.event_id)
                return
            account.remember(room_id, str(said.about), said.sender, said.text)
        answered = await account.recall(room_id, said.reply_to) if said.reply_to is not None else None
        own = answered is not None and answered.sender == account.user_id
        room = account.keys.rooms.get(room_id)
        await account.host.message(
            InboundEvent(
                address=account.address(room_id, said.thread),
                message_id=said.event_id,
                text=said.text,
                sender=Sender(f"{PLATFORM}:{said.sender}", self._name_of(room_id, said.sender)),
                is_mention=account.user_id in said.mentioned or own,
                is_group=account.is_group(room_id),
                chat_name=room.display_name if room is not None else None,
                timestamp=said.timestamp,
                quote=self._quote(room_id, said, answered),
                files=said.files,
                change=said.change,
                about=said.about,
            )
        )

    def _quote(self, room_id: str, said: Said, answered: Remembered | None) -> Quote | None:
        if said.reply_to is None:
            return None
        if answered is None:
            return Quote("", message_id=said.reply_to)
        return Quote(without_fallback(answered.text), self._name_of(room_id, answered.sender), said.reply_to)

    def _name_of(self, room_id: str, user_id: str) -> str:
        room = self._account.keys.rooms.get(room_id)
        return (room.user_name(user_id) if room is not None else None) or user_id

    def _remember(self, room_id: str, event_id: str, source: Mapping[str, Any]) -> None:
        content = source.get("content")
        body = content.get("body") if isinstance(content, Mapping) else None
        if isinstance(body, str):
            self._account.remember(room_id, event_id, self._account.user_id, body)

    async def _named(self, room_id: str) -> None:
        room = self._account.keys.rooms.get(room_id)
        if room is None:
            return
        now = (room.display_name, self._account.is_group(room_id))
        if self._names.get(room_id) == now:
            return
        try:
            await self._account.host.chat_named(self._account.address(room_id), now[0], is_group=now[1])
            self._names[room_id] = now
        except NanoclawError as error:
            log.debug("a room's name is not noted: %s", error.message)

    async def _read_up_to(self, room_id: str, event_id: str) -> None:
        """Show people that everything up to an event was read, now that it is stored."""
        try:
            path = place("rooms", room_id, "receipt", "m.read", event_id)
            await self._account.requests.ask("POST", path, {}, seconds=10.0)
        except NanoclawError as error:
            log.debug("no receipt: %s", error.message)


def _is_redacted(source: Mapping[str, Any]) -> bool:
    unsigned = source.get("unsigned")
    return not source.get("content") or (isinstance(unsigned, Mapping) and "redacted_because" in unsigned)


async def _until_done[Result](work: Callable[[], Awaitable[Result]]) -> Result | None:
    """Do something until it is done: what is not available is waited for, what fails otherwise is left."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await work()
        except Unavailable as error:
            log.info("tried again in %g s: %s", pause, error.message)
        except NanoclawError as error:
            log.warning("left out: %s", error.message)
            return None
        # What keeps it (a disk) tells nobody when it is well again; the pause grows and is bounded.
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
