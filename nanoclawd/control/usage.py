"""io.nanoclaw.Usage and io.nanoclaw.Peers. Operators and agents call the same methods."""

from typing import Annotated

import msgspec

from nanoclawd.control.api import PeersBackend, UsageBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary, Word
from nanoclawd.control.values import Caller, UsageBy
from nanoclawd.peers.making import check_wish

USAGE = "io.nanoclaw.Usage"
PEERS = "io.nanoclaw.Peers"
DEFAULT_DAYS = 7

type Days = Annotated[int, msgspec.Meta(ge=1, le=400)]


class _Usage(Listing, frozen=True):
    by: UsageBy | None = None
    group: Name | None = None
    session: Reference | None = None
    days: Days | None = None


class _Peers(Listing, frozen=True):
    group: Name | None = None


class _Create(Parameters, frozen=True):
    group: Name
    name: Name
    instructions: str | None = None
    key: Word | None = None


def usage(backend: UsageBackend) -> Methods:
    """Return the methods of usage."""

    async def list_all(_caller: Caller, call: _Usage) -> object:
        by = call.by or UsageBy.DAY
        return {"usage": await backend.list(by, call.group, call.session, call.days or DEFAULT_DAYS, call.bound)}

    return {f"{USAGE}.List": Unary(_Usage, list_all)}


def peers(backend: PeersBackend) -> Methods:
    """Return the methods of peers."""

    async def list_all(_caller: Caller, call: _Peers) -> object:
        return {"peers": await backend.list(call.group, call.bound)}

    async def create(caller: Caller, call: _Create) -> object:
        link, note = await backend.create(caller, call.group, call.name, call.instructions or "", call.key)
        return {"peer": link, "note": note}

    return {f"{PEERS}.List": Unary(_Peers, list_all), f"{PEERS}.Create": Unary(_Create, create, _check)}


def _check(call: _Create) -> None:
    check_wish(call.name, call.instructions or "", call.key)
