"""io.nanoclaw.Hooks: where other programs reach an agent. Operators only."""

from nanoclawd.control.api import HooksBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary, Word
from nanoclawd.control.values import Caller, HookSettings

INTERFACE = "io.nanoclaw.Hooks"


class _List(Listing, frozen=True):
    group: Name | None = None


class _Hook(Parameters, frozen=True):
    hook: Reference


class _Create(Parameters, frozen=True):
    name: Word
    group: Name
    to: Reference | None = None
    auth: Word | None = None
    header: Word | None = None
    rate: int | None = None


def methods(backend: HooksBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"hooks": await backend.list(call.group, call.bound)}

    async def get(_caller: Caller, call: _Hook) -> object:
        return {"hook": await backend.get(call.hook)}

    async def create(caller: Caller, call: _Create) -> object:
        settings = HookSettings(call.to, call.auth, call.header, call.rate)
        made = await backend.create(caller, call.name, call.group, settings)
        return {"hook": made.hook, "secret": made.secret, "next": made.next}

    async def rotate(caller: Caller, call: _Hook) -> object:
        made = await backend.rotate(caller, call.hook)
        return {"hook": made.hook, "secret": made.secret, "next": made.next}

    async def enable(caller: Caller, call: _Hook) -> object:
        return {"hook": await backend.enable(caller, call.hook)}

    async def disable(caller: Caller, call: _Hook) -> object:
        return {"hook": await backend.disable(caller, call.hook)}

    async def delete(caller: Caller, call: _Hook) -> object:
        await backend.delete(caller, call.hook)
        return {}

    async def test(caller: Caller, call: _Hook) -> object:
        made = await backend.test(caller, call.hook)
        return {"hook": made.hook, "ticket": made.secret, "next": made.next}

    return {
        f"{INTERFACE}.List": Unary(_List, list_all),
        f"{INTERFACE}.Get": Unary(_Hook, get),
        f"{INTERFACE}.Create": Unary(_Create, create),
        f"{INTERFACE}.Rotate": Unary(_Hook, rotate),
        f"{INTERFACE}.Enable": Unary(_Hook, enable),
        f"{INTERFACE}.Disable": Unary(_Hook, disable),
        f"{INTERFACE}.Delete": Unary(_Hook, delete),
        f"{INTERFACE}.Test": Unary(_Hook, test),
    }
