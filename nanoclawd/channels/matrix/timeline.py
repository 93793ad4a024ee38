"""Which events of a room are to be handed in: those since the last sync, with what it has left out in between."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nanoclawd.channels.matrix.account import Account
from nanoclawd.channels.matrix.requests import place

log = logging.getLogger(__name__)

_PAGE: Final = 100
_MAX_BEFORE_JOIN: Final = 200


@dataclass(frozen=True, slots=True)
class Timeline:
    """A room's part of a sync.

    Attributes:
        since: the token of the sync before; empty: there was none.
        is_new: the account was not in the room then.
    """

    room_id: str
    events: list[dict[str, Any]]
    limited: bool
    before: str
    since: str
    is_new: bool


def timeline_of(room_id: str, room: object, since: str, *, is_new: bool) -> Timeline:
    """Return a room's part of a sync, of which nothing is certain."""
    told = room.get("timeline") if isinstance(room, Mapping) else None
    told = told if isinstance(told, Mapping) else {}
    events, before = told.get("events"), told.get("prev_batch")
    return Timeline(
        room_id,
        [one for one in events if isinstance(one, dict)] if isinstance(events, list) else [],
        told.get("limited") is True,
        before if isinstance(before, str) else "",
        since,
        is_new,
    )


async def events_of(account: Account, timeline: Timeline) -> tuple[list[dict[str, Any]], bool]:
    """Return the events to hand in, oldest first, and whether older ones had to be left out.

    Raises:
        Unavailable: the server can't be asked for what the sync has left out.
    """
    if not timeline.since:
        # The first login ever: what was said before it was said to nobody.
        oldest = (time.time() - account.options.catch_up_minutes * 60) * 1000
        return [event for event in timeline.events if _sent(event) >= oldest], False
    if timeline.is_new:
        return await _since_invitation(account, timeline), False
    if not timeline.limited:
        return timeline.events, False
    missed, complete = await _missed(account, timeline, account.options.max_missed)
    return [*missed, *timeline.events], not complete


async def _since_invitation(account: Account, timeline: Timeline) -> list[dict[str, Any]]:
    """Return what was said since the account was invited: whoever invites begins to talk to it."""
    events = list(timeline.events)
    begin = _invitation(events, account.user_id)
    before = timeline.before
    while begin is None and timeline.limited and before and len(events) < _MAX_BEFORE_JOIN:
        page, before = await _page(account, timeline.room_id, before, None)
        if not page:
            break
        events = [*page, *events]
        begin = _invitation(events, account.user_id)
    if begin is None:
        begin = next((number for number, one in enumerate(events) if _own(one, account.user_id) == "join"), None)
    return events[begin + 1 :] if begin is not None else []


def _invitation(events: list[dict[str, Any]], user_id: str) -> int | None:
    found = [number for number, event in enumerate(events) if _own(event, user_id) == "invite"]
    return found[-1] if found else None


def _own(event: Mapping[str, Any], user_id: str) -> object:
    """Return what an event says of the account's own membership."""
    if event.get("type") != "m.room.member" or event.get("state_key") != user_id:
        return None
    content = event.get("content")
    return content.get("membership") if isinstance(content, Mapping) else None


async def _missed(account: Account, timeline: Timeline, bound: int) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    before = timeline.before
    while before and before != timeline.since:
        if len(found) >= bound:
            return found[-bound:], False
        page, before = await _page(account, timeline.room_id, before, timeline.since)
        found = [*page, *found]
        if not page:
            break
    return found[-bound:], len(found) <= bound


async def _page(account: Account, room_id: str, before: str, until: str | None) -> tuple[list[dict[str, Any]], str]:
    """Return events before a token, oldest first, and the token before them; empty where the room begins."""
    query = {"dir": "b", "from": before, "limit": str(_PAGE), **({"to": until} if until else {})}
    answer = await account.requests.ask("GET", place("rooms", room_id, "messages"), query=query)
    chunk, end = answer.get("chunk"), answer.get("end")
    events = [one for one in chunk if isinstance(one, dict)] if isinstance(chunk, list) else []
    return events[::-1], end if isinstance(end, str) and end != before else ""


def _sent(event: Mapping[str, Any]) -> float:
    sent = event.get("origin_server_ts")
    return float(sent) if type(sent) is int else 0.0
