"""io.nanoclaw.Egress: where agents may go."""

from typing import Annotated, Final

import msgspec

from nanoclawd.control.api import EgressBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Unary, Word
from nanoclawd.control.values import Caller, EgressWish
from nanoclawd.errors import Refused

EGRESS = "io.nanoclaw.Egress"

ONCE: Final = "10m"
ALWAYS: Final = "always"
"""How long, where an agent has asked: what is chosen on the card."""

type Host = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
type Reason = Annotated[str, msgspec.Meta(max_length=1000)]
type Number = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
type Words = Annotated[tuple[Word, ...], msgspec.Meta(max_length=20)]


class _List(Listing, frozen=True):
    group: Name | None = None


class _Put(Parameters, frozen=True):
    group: Name
    host: Host
    methods: Words | None = None
    lasting: Word | None = None

    def wish(self) -> EgressWish:
        """Return what is asked for."""
        return EgressWish(self.host, self.methods or (), lasting=self.lasting or "")


class _Allow(_Put, frozen=True):
    private: bool | None = None
    rate: Word | None = None
    max_body: Word | None = None
    max_download: Word | None = None

    def wish(self) -> EgressWish:
        """Return what is asked for."""
        return EgressWish(
            self.host,
            self.methods or (),
            bool(self.private),
            self.lasting or "",
            self.rate or "",
            self.max_body or "",
            self.max_download or "",
        )


class _Request(Parameters, frozen=True):
    host: Host
    group: Name | None = None
    reason: Reason | None = None


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
        rule, replaced = await backend.put(caller, "allow", call.group, call.wish())
        return {"rule": rule, "replaced": replaced}

    async def ask(caller: Caller, call: _Allow) -> object:
        rule, replaced = await backend.put(caller, "ask", call.group, call.wish())
        return {"rule": rule, "replaced": replaced}

    async def request(_caller: Caller, _call: _Request) -> object:
        raise Refused("this is how agents ask you; you can allow the host yourself", hint="ncl egress allow GROUP HOST")

    async def topic(_caller: Caller, call: _Request) -> str:
        return await backend.about(call.group or "", call.host)

    async def chosen(caller: Caller, call: _Request, choice: str) -> object:
        lasting = "" if choice == ALWAYS else choice
        return {"rule": await backend.grant(caller, call.group or "", call.host, lasting)}

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
        f"{EGRESS}.Ask": Unary(_Allow, ask),
        f"{EGRESS}.Request": Unary(_Request, request, topic=topic, chosen=chosen),
        f"{EGRESS}.Deny": Unary(_Put, deny),
        f"{EGRESS}.Remove": Unary(_Remove, remove),
        f"{EGRESS}.Test": Unary(_Test, test),
    }
