"""io.nanoclaw.Users, Roles and Members: who people are, and what they may do."""

from nanoclawd.control.api import MembersBackend, RolesBackend, UsersBackend
from nanoclawd.control.methods import Listing, Methods, Name, NoParameters, Parameters, Reference, Unary, Word
from nanoclawd.control.values import Caller, Peer

USERS = "io.nanoclaw.Users"
ROLES = "io.nanoclaw.Roles"
MEMBERS = "io.nanoclaw.Members"


class _User(Parameters, frozen=True):
    user: Reference


class _CreateUser(_User, frozen=True):
    display_name: Word | None = None


class _UpdateUser(_User, frozen=True):
    display_name: Word


class _Undeny(_User, frozen=True):
    group: Name | None = None


class _Dms(Listing, frozen=True):
    user: Reference | None = None


def users(backend: UsersBackend) -> Methods:
    """Return the methods of io.nanoclaw.Users."""

    async def list_all(_caller: Caller, call: Listing) -> object:
        return {"users": await backend.list(call.bound)}

    async def get(_caller: Caller, call: _User) -> object:
        return {"user": await backend.get(call.user)}

    async def create(caller: Caller, call: _CreateUser) -> object:
        return {"user": await backend.create(caller, call.user, call.display_name)}

    async def update(caller: Caller, call: _UpdateUser) -> object:
        return {"user": await backend.update(caller, call.user, call.display_name)}

    async def delete(caller: Caller, call: _User) -> object:
        await backend.delete(caller, call.user)
        return {}

    async def undeny(caller: Caller, call: _Undeny) -> object:
        return {"removed": await backend.undeny(caller, call.user, call.group)}

    async def dms(_caller: Caller, call: _Dms) -> object:
        return {"dms": await backend.dms(call.user, call.bound)}

    return {
        f"{USERS}.List": Unary(Listing, list_all),
        f"{USERS}.Get": Unary(_User, get),
        f"{USERS}.Create": Unary(_CreateUser, create),
        f"{USERS}.Update": Unary(_UpdateUser, update),
        f"{USERS}.Delete": Unary(_User, delete),
        f"{USERS}.Undeny": Unary(_Undeny, undeny),
        f"{USERS}.Dms": Unary(_Dms, dms),
    }


class _List(Listing, frozen=True):
    user: Reference | None = None
    group: Name | None = None


class _Role(Parameters, frozen=True):
    user: Reference
    role: Name
    group: Name | None = None


def roles(backend: RolesBackend) -> Methods:
    """Return the methods of io.nanoclaw.Roles."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"roles": await backend.list(call.user, call.group, call.bound)}

    async def grant(caller: Caller, call: _Role) -> object:
        return {"role": await backend.grant(caller, call.user, call.role, call.group)}

    async def revoke(caller: Caller, call: _Role) -> object:
        await backend.revoke(caller, call.user, call.role, call.group)
        return {}

    async def claim(peer: Peer, _call: NoParameters) -> object:
        return {"role": await backend.claim(peer)}

    return {
        f"{ROLES}.List": Unary(_List, list_all),
        f"{ROLES}.Grant": Unary(_Role, grant),
        f"{ROLES}.Revoke": Unary(_Role, revoke),
        f"{ROLES}.Claim": Unary(NoParameters, claim),
    }


class _Member(Parameters, frozen=True):
    group: Name
    user: Reference


def members(backend: MembersBackend) -> Methods:
    """Return the methods of io.nanoclaw.Members."""

    async def list_all(_caller: Caller, call: _List) -> object:
        return {"members": await backend.list(call.group, call.user, call.bound)}

    async def add(caller: Caller, call: _Member) -> object:
        return {"member": await backend.add(caller, call.group, call.user)}

    async def remove(caller: Caller, call: _Member) -> object:
        await backend.remove(caller, call.group, call.user)
        return {}

    return {
        f"{MEMBERS}.List": Unary(_List, list_all),
        f"{MEMBERS}.Add": Unary(_Member, add),
        f"{MEMBERS}.Remove": Unary(_Member, remove),
    }
