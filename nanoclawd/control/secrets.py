"""io.nanoclaw.Secrets: which secret goes to which hosts, in whose requests."""

from typing import Annotated

import msgspec

from nanoclawd.control.api import SecretsBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Unary, Word
from nanoclawd.control.values import Caller, SecretSettings

SECRETS = "io.nanoclaw.Secrets"

type Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
type Hosts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=100)]
type Names = Annotated[tuple[Name, ...], msgspec.Meta(max_length=100)]


class _List(Listing, frozen=True):
    group: Name | None = None


class _Named(Parameters, frozen=True):
    name: Name


class _Bind(Parameters, frozen=True):
    name: Name
    hosts: Hosts
    groups: Names
    style: Word | None = None
    token_url: Text | None = None
    client_id: Text | None = None
    scope: Text | None = None
    client_secret: bool | None = None

    def settings(self) -> SecretSettings:
        """Return what is asked for."""
        return SecretSettings(
            self.name,
            self.hosts,
            self.groups,
            self.style or "bearer",
            self.token_url,
            self.client_id,
            self.scope,
            bool(self.client_secret),
        )


class _Test(Parameters, frozen=True):
    name: Name
    url: Text | None = None
    group: Name | None = None


def methods(backend: SecretsBackend) -> Methods:
    """Return the methods."""

    async def list_all(caller: Caller, call: _List) -> object:
        return {"secrets": await backend.list(caller, call.group, call.bound)}

    async def get(_caller: Caller, call: _Named) -> object:
        return {"secret": await backend.get(call.name)}

    async def check(_caller: Caller, call: _Bind) -> object:
        secret, replaced = await backend.check(call.settings())
        return {"secret": secret, "replaced": replaced}

    async def bind(caller: Caller, call: _Bind) -> object:
        secret, replaced = await backend.bind(caller, call.settings())
        return {"secret": secret, "replaced": replaced}

    async def renewed(caller: Caller, call: _Named) -> object:
        return {"secret": await backend.renewed(caller, call.name)}

    async def remove(caller: Caller, call: _Named) -> object:
        return {"removed": await backend.remove(caller, call.name)}

    async def test(_caller: Caller, call: _Test) -> object:
        return {"trials": await backend.test(call.name, call.url, call.group)}

    return {
        f"{SECRETS}.List": Unary(_List, list_all),
        f"{SECRETS}.Get": Unary(_Named, get),
        f"{SECRETS}.Check": Unary(_Bind, check),
        f"{SECRETS}.Bind": Unary(_Bind, bind),
        f"{SECRETS}.Renewed": Unary(_Named, renewed),
        f"{SECRETS}.Remove": Unary(_Named, remove),
        f"{SECRETS}.Test": Unary(_Test, test),
    }
