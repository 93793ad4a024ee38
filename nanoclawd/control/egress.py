"""io.nanoclaw.Egress: where agents may go."""

from typing import Annotated

import msgspec

from nanoclawd.control.api import EgressBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Unary, Word
from nanoclawd.control.values import Caller, EgressWish

EGRESS = "io.nanoclaw.Egress"

type Host = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
type Number = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
type Words = Annotated[tuple[Word, ...], msgspec.Meta(max_length=20)]


class _List(Listing, frozen=True):
    group: Name | None = None


class _Put(Parameters, frozen=True):
    group: Name
    host: Host
    methods: Words | None = None
    lasting: Word | None = None

    def wish(self, *, private: bool = False) -> EgressWish:
        """Return what is asked for."""
        return EgressWish(self.host, self.methods or (), private, self.lasting or "")


class _Allow(_Put, frozen=True):
    private: bool | None = None


class _Remove(Parameters, frozen=True):
    rule: Number


class _Test(Parameters, frozen=True):
    group: Name
    url: Host
    method: Word | None = None


def methods(backend: EgressBackend) -> Methods:
    """Return the methods."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"rules": await backend.list(call.group, call.bound)}

    async def allow(caller: Caller, call: _Allow) -> object:
        rule, replaced = await backend.put(caller, "allow", call.group, call.wish(private=bool(call.private)))
        return {"rule": rule, "replaced": replaced}

    async def deny(caller: Caller, call: _Put) -> object:
        rule, replaced = await backend.put(caller, "deny", call.group, call.wish())
        return {"rule": rule, "replaced": replaced}

    async def remove(caller: Caller, call: _Remove) -> object:
        return {"removed": await backend.remove(caller, call.rule)}

    async def test(_caller: Caller, call: _Test) -> object:
        return {"test": await backend.test(call.group, call.url, call.method)}

    return {
        f"{EGRESS}.List": Unary(_List, list_all),
        f"{EGRESS}.Allow": Unary(_Allow, allow),
        f"{EGRESS}.Deny": Unary(_Put, deny),
        f"{EGRESS}.Remove": Unary(_Remove, remove),
        f"{EGRESS}.Test": Unary(_Test, test),
    }
