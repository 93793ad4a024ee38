"""Which events of a room are to be handed in: those since the last sync, with what it has left out in between."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nanoclawd.channels.matrix.account import Account
from nanoclawd.channels.matrix.requests import place
from nanoclawd.channels.matrix.state import Mark

log = logging.getLogger(__name__)

_PAGE: Final = 100
_CLOCKS_SECONDS: Final = 600
"""Clocks of servers may be so far apart."""

_MAX_BEFORE_JOIN: Final = 200


@dataclass(frozen=True, slots=True)
class Timeline:
    """A room's part of a sync.

    Attributes:
        since: the token of the sync before; empty: there was none.
        is_new: the account was not in the room then.
        mark: the last event that was handed in; None: ``since`` says that, or nothing was.
    """

    room_id: str
    events: list[dict[str, Any]]
    limited: bool
    before: str
    since: str
    is_new: bool
    mark: Mark | None = None


def timeline_of(room_id: str, room: object, since: str, *, is_new: bool, mark: Mark | None = None) -> Timeline:
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
        mark,
    )


async def events_of(account: Account, timeline: Timeline) -> tuple[list[dict[str, Any]], bool]:
    """Return the events to hand in, oldest first, and whether older ones had to be left out.

    Raises:
        Unavailable: the server can't be asked for what the sync has left out.
    """
    if timeline.mark is not None and not timeline.is_new:
        return await _after(account, timeline, timeline.mark)
    if not timeline.since and timeline.mark is None:
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


async def _after(account: Account, timeline: Timeline, mark: Mark) -> tuple[list[dict[str, Any]], bool]:
    """Return the events after one that is known, or, where that is not found any more, after its time."""
    events, before, bound = list(timeline.events), timeline.before, account.options.max_missed
    oldest = mark.sent - _CLOCKS_SECONDS * 1000
    complete = True
    while not any(event.get("event_id") == mark.event_id for event in events):
        if not before or (events and _sent(events[0]) < oldest):
            break
        if len(events) >= bound:
            complete = False
            break
        page, before = await _page(account, timeline.room_id, before, None)
        events = [*page, *events]
    for number, event in enumerate(events):
        if event.get("event_id") == mark.event_id:
            return events[number + 1 :][-bound:], len(events) - number - 1 <= bound
    # What is told again is one message all the same: its id is known.
    return [event for event in events if _sent(event) >= oldest][-bound:], complete


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
