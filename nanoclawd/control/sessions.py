"""io.nanoclaw.Sessions: the conversations, and what an operator may do to one."""

from nanoclawd.control.api import SessionsBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Unary
from nanoclawd.control.values import Caller, SessionState

INTERFACE = "io.nanoclaw.Sessions"


class _List(Listing, frozen=True):
    group: Name | None = None
    state: SessionState | None = None


class _One(Parameters, frozen=True):
    id: Name


def methods(backend: SessionsBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"sessions": await backend.list(call.group, call.state, call.bound)}

    async def get(_caller: Caller, call: _One) -> object:
        return {"session": await backend.get(call.id)}

    async def stop(caller: Caller, call: _One) -> object:
        return {"session": await backend.stop(caller, call.id)}

    async def close(caller: Caller, call: _One) -> object:
        return {"session": await backend.close(caller, call.id)}

    async def reset(caller: Caller, call: _One) -> object:
        session, moved_to = await backend.reset(caller, call.id)
        return {"session": session, "moved_to": moved_to}

    return {
        f"{INTERFACE}.List": Unary(_List, list_all),
        f"{INTERFACE}.Get": Unary(_One, get),
        f"{INTERFACE}.Stop": Unary(_One, stop),
        f"{INTERFACE}.Close": Unary(_One, close),
        f"{INTERFACE}.Reset": Unary(_One, reset),
    }
