"""io.nanoclaw.Groups."""

from typing import Annotated

import msgspec

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES
from nanoclawd.control.api import GroupsBackend
from nanoclawd.control.methods import Methods, Name, NoParameters, Parameters, Unary
from nanoclawd.control.values import GroupSettings, Peer
from nanoclawd.errors import TooLarge

INTERFACE = "io.nanoclaw.Groups"

type _Setting = Annotated[str, msgspec.Meta(max_length=256)]


class _Named(Parameters, frozen=True):
    name: Name


class _Settings(_Named, frozen=True):
    provider: _Setting | None = None
    model: _Setting | None = None
    instructions: str | None = None


class _Delete(_Named, frozen=True):
    force: bool | None = None


def methods(backend: GroupsBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_peer: Peer, _call: NoParameters) -> object:
        return {"groups": await backend.list()}

    async def get(_peer: Peer, call: _Named) -> object:
        return {"group": await backend.get(call.name)}

    async def create(peer: Peer, call: _Settings) -> object:
        return {"group": await backend.create(peer, call.name, _settings(call))}

    async def update(peer: Peer, call: _Settings) -> object:
        return {"group": await backend.update(peer, call.name, _settings(call))}

    async def delete(peer: Peer, call: _Delete) -> object:
        await backend.delete(peer, call.name, force=bool(call.force))
        return {}

    async def restart(peer: Peer, call: _Named) -> object:
        return {"restarted": await backend.restart(peer, call.name)}

    return {
        f"{INTERFACE}.List": Unary(NoParameters, list_all),
        f"{INTERFACE}.Get": Unary(_Named, get),
        f"{INTERFACE}.Create": Unary(_Settings, create),
        f"{INTERFACE}.Update": Unary(_Settings, update),
        f"{INTERFACE}.Delete": Unary(_Delete, delete),
        f"{INTERFACE}.Restart": Unary(_Named, restart),
    }


def _settings(call: _Settings) -> GroupSettings:
    if call.instructions is not None and len(call.instructions.encode()) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"instructions are {MAX_MESSAGE_BYTES // 1024} KiB at most")
    return GroupSettings(provider=call.provider, model=call.model, instructions=call.instructions)
