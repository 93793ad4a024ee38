"""Leaves out of a sync what the Matrix library fails at, so that one odd event does not hold up all that follow it."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import nio

log = logging.getLogger(__name__)


def readable(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a sync response can be read, each event by itself."""
    rooms = _object(raw.get("rooms"))
    found: dict[str, Any] = {
        "next_batch": raw.get("next_batch"),
        "device_one_time_keys_count": {
            name: count for name, count in _object(raw.get("device_one_time_keys_count")).items() if type(count) is int
        },
        "device_lists": {
            name: [user for user in _list(_object(raw.get("device_lists")).get(name)) if isinstance(user, str)]
            for name in ("changed", "left")
        },
        "to_device": _events(raw.get("to_device"), nio.ToDeviceEvent.parse_event),
        "account_data": _events(raw.get("account_data"), nio.AccountDataEvent.parse_event),
        "presence": {"events": []},
        "rooms": {"join": {}, "invite": {}, "leave": {}},
    }
    for room_id, room in _object(rooms.get("join")).items():
        joined = _object(room)
        timeline = _object(joined.get("timeline"))
        before = timeline.get("prev_batch")
        found["rooms"]["join"][room_id] = {
            "state": _events(joined.get("state"), nio.Event.parse_event),
            "timeline": {
                **_events(timeline, nio.Event.parse_event),
                "limited": timeline.get("limited") is True,
                **({"prev_batch": before} if isinstance(before, str) else {}),
            },
            "ephemeral": {"events": []},
            "account_data": {"events": []},
        }
    for room_id, room in _object(rooms.get("invite")).items():
        invited = _events(_object(room).get("invite_state"), nio.InviteEvent.parse_event)
        found["rooms"]["invite"][room_id] = {"invite_state": invited}
    return found


def encrypted_rooms(raw: Mapping[str, Any]) -> Iterator[str]:
    """Return the rooms of which a sync says that they are encrypted from now on."""
    for room_id, room in _object(_object(raw.get("rooms")).get("join")).items():
        for part in ("state", "timeline"):
            for event in _list(_object(_object(room).get(part)).get("events")):
                if (
                    isinstance(event, dict)
                    and event.get("type") == "m.room.encryption"
                    and event.get("state_key") == ""
                ):
                    yield room_id


def _events(holder: object, parse: Callable[[Any], object]) -> dict[str, Any]:
    kept = []
    for event in _list(_object(holder).get("events")):
        try:
            parse(event)
        except Exception as error:
            told = event.get("event_id") if isinstance(event, dict) else None
            log.warning("an event was left out: it can't be read: %.300r (%s)", told, type(error).__name__)
            continue
        kept.append(event)
    return {"events": kept}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
