"""What Discord's gateway may send: read strictly, and what is made of it is an event that the router takes."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec

from nanoclawd.channels.discord import events, outgoing, wire
from nanoclawd.channels.discord.places import Places
from nanoclawd.errors import InvalidName, TooLarge
from nanoclawd.routing.cleaning import cleaned
from nanoclawd.routing.event import InboundEvent

_ME = "1"


def payload(data: bytes) -> None:
    """A dispatched event's data, taken for each kind of event in turn."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    places = Places("fuzzed")
    places.begin(_ME)
    for kind, take in _KINDS.items():
        try:
            read = wire.read(found, kind)
        except msgspec.ValidationError:
            continue
        event = take(read, places)
        if event is not None:
            _check(event)


def _message(message: wire.Message, places: Places) -> InboundEvent | None:
    place = places.add(wire.Channel(message.channel_id), message.guild_id)
    for file in events.files_of(message):
        assert len(file.reference.split("/")) == 3
        assert all(map(wire.is_id, file.reference.split("/")))
    edit = events.from_edit(message, place, places)
    if edit is not None:
        _check(edit)
    return events.from_message(message, place, places) if events.is_for_us(message, _ME) else None


def _reacted(reacted: wire.Reacted, places: Places) -> InboundEvent | None:
    return events.from_reaction(reacted, places.add(wire.Channel(reacted.channel_id), reacted.guild_id), places)


def _deleted(gone: wire.Deletion, places: Places) -> InboundEvent | None:
    return events.from_deletion(gone.id, places.add(wire.Channel(gone.channel_id), gone.guild_id), places)


def _interaction(given: wire.Interaction, places: Places) -> InboundEvent | None:
    chosen = outgoing.chosen(given.data.custom_id)
    assert chosen is None or chosen[1][1:].isdecimal()
    if given.channel_id is None:
        return None
    return events.from_command(given, places.add(wire.Channel(given.channel_id), given.guild_id), places)


def _guild(guild: wire.Guild, places: Places) -> None:
    for place in places.add_guild(guild):
        assert places.address(place).platform_id
        assert place.last is None or int(place.last) < 1 << 64


def _channel(channel: wire.Channel, places: Places) -> None:
    assert wire.is_id(places.address(places.add(channel)).platform_id)


_KINDS: dict[Any, Callable[[Any, Places], InboundEvent | None]] = {
    wire.Message: _message,
    wire.Reacted: _reacted,
    wire.Deletion: _deleted,
    wire.Interaction: _interaction,
    wire.Guild: _guild,
    wire.Channel: _channel,
}


def _check(event: InboundEvent) -> None:
    assert event.message_id
    assert wire.is_id(event.address.platform_id)
    assert event.address.thread_id is None or wire.is_id(event.address.thread_id)
    assert event.sender.user_id is None or wire.is_id(event.sender.user_id.removeprefix("discord:"))
    with contextlib.suppress(TooLarge, InvalidName):
        cleaned(event)
