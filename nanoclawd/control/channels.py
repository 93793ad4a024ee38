"""io.nanoclaw.Channels: the accounts by which people are reached."""

from typing import Annotated

import msgspec

from nanoclawd.control.api import ChannelsBackend
from nanoclawd.control.methods import Methods, Name, NoParameters, Parameters, Replies, Streaming, Unary
from nanoclawd.control.values import Caller, Peer

CHANNELS = "io.nanoclaw.Channels"
_PART = 512 * 1024

type _Options = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=8192)], ...], msgspec.Meta(max_length=100)]


class _Channel(Parameters, frozen=True):
    channel: Name


class _Type(Parameters, frozen=True):
    type: Name


class _Add(Parameters, frozen=True):
    name: Name
    type: Name
    options: _Options | None = None
    disabled: bool | None = None


class _Pair(_Channel, frozen=True):
    group: Name | None = None
    role: Name | None = None


class _Keys(_Channel, frozen=True):
    passphrase: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class _Import(_Keys, frozen=True):
    upload: Name


class _Pairing(Parameters, frozen=True):
    pairing: Name


class _Update(_Channel, frozen=True):
    options: _Options


def channels(backend: ChannelsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Channels."""
    return {**_looking(backend), **_changing(backend), **_pairing(backend), **_keys(backend)}


def _looking(backend: ChannelsBackend) -> Methods:
    async def list_all(_caller: Caller, _call: NoParameters) -> object:
        return {"channels": await backend.list()}

    async def show(_peer: Peer, call: _Channel) -> object:
        channel, options, events = await backend.show(call.channel)
        return {"channel": channel, "options": options, "events": events}

    async def types(_peer: Peer, _call: NoParameters) -> object:
        return {"types": await backend.types()}

    async def setup(_peer: Peer, call: _Type) -> object:
        return {"setup": await backend.setup(call.type)}

    async def test(_peer: Peer, call: _Channel) -> object:
        channel, account, next_step = await backend.test(call.channel)
        return {"channel": channel, "account": account, "next_step": next_step}

    async def conversations(_caller: Caller, call: _Channel) -> object:
        return {"conversations": await backend.conversations(call.channel)}

    return {
        f"{CHANNELS}.List": Unary(NoParameters, list_all),
        f"{CHANNELS}.Show": Unary(_Channel, show),
        f"{CHANNELS}.Types": Unary(NoParameters, types),
        f"{CHANNELS}.Setup": Unary(_Type, setup),
        f"{CHANNELS}.Test": Unary(_Channel, test),
        f"{CHANNELS}.Conversations": Unary(_Channel, conversations),
    }


def _changing(backend: ChannelsBackend) -> Methods:
    async def add(peer: Peer, call: _Add) -> object:
        options = call.options or ()
        return {"channel": await backend.add(peer, call.name, call.type, options, enabled=not call.disabled)}

    async def update(peer: Peer, call: _Update) -> object:
        return {"channel": await backend.update(peer, call.channel, call.options)}

    async def enable(peer: Peer, call: _Channel) -> object:
        return {"channel": await backend.switch(peer, call.channel, enabled=True)}

    async def disable(peer: Peer, call: _Channel) -> object:
        return {"channel": await backend.switch(peer, call.channel, enabled=False)}

    async def remove(peer: Peer, call: _Channel) -> object:
        await backend.remove(peer, call.channel)
        return {}

    async def clear(peer: Peer, call: _Channel) -> object:
        return {"cleared": await backend.clear(peer, call.channel)}

    return {
        f"{CHANNELS}.Add": Unary(_Add, add),
        f"{CHANNELS}.Update": Unary(_Update, update),
        f"{CHANNELS}.Enable": Unary(_Channel, enable),
        f"{CHANNELS}.Disable": Unary(_Channel, disable),
        f"{CHANNELS}.Remove": Unary(_Channel, remove),
        f"{CHANNELS}.Clear": Unary(_Channel, clear),
    }


def _keys(backend: ChannelsBackend) -> Methods:
    async def export(peer: Peer, call: _Keys, replies: Replies) -> None:
        text = await backend.export_keys(peer, call.channel, call.passphrase)
        parts = [text[start : start + _PART] for start in range(0, len(text), _PART)] or [""]
        for number, part in enumerate(parts, start=1):
            await replies.send({"part": part}, last=number == len(parts))

    async def import_all(peer: Peer, call: _Import) -> object:
        return {"new": await backend.import_keys(peer, call.channel, call.upload, call.passphrase)}

    return {
        f"{CHANNELS}.ExportKeys": Streaming(_Keys, export),
        f"{CHANNELS}.ImportKeys": Unary(_Import, import_all),
    }


def _pairing(backend: ChannelsBackend) -> Methods:
    async def pair(peer: Peer, call: _Pair) -> object:
        return {"pairing": await backend.pair(peer, call.channel, call.group, call.role)}

    async def await_pairing(_peer: Peer, call: _Pairing) -> object:
        return {"pairing": await backend.await_pairing(call.pairing)}

    return {
        f"{CHANNELS}.Pair": Unary(_Pair, pair),
        f"{CHANNELS}.AwaitPairing": Unary(_Pairing, await_pairing),
    }
