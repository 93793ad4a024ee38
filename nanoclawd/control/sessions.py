"""io.nanoclaw.Sessions."""

from nanoclawd.control.api import SessionsBackend
from nanoclawd.control.methods import Methods, Name, Parameters, Unary
from nanoclawd.control.values import Peer

INTERFACE = "io.nanoclaw.Sessions"


class _List(Parameters, frozen=True):
    group: Name | None = None


class _One(Parameters, frozen=True):
    id: Name


def methods(backend: SessionsBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_peer: Peer, call: _List) -> object:
        return {"sessions": await backend.list(call.group)}

    async def get(_peer: Peer, call: _One) -> object:
        return {"session": await backend.get(call.id)}

    async def stop(peer: Peer, call: _One) -> object:
        return {"session": await backend.stop(peer, call.id)}

    async def reset(peer: Peer, call: _One) -> object:
        session, moved_to = await backend.reset(peer, call.id)
        return {"session": session, "moved_to": moved_to}

    return {
        f"{INTERFACE}.List": Unary(_List, list_all),
        f"{INTERFACE}.Get": Unary(_One, get),
        f"{INTERFACE}.Stop": Unary(_One, stop),
        f"{INTERFACE}.Reset": Unary(_One, reset),
    }
