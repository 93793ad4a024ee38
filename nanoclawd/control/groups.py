"""io.nanoclaw.Groups: the agents."""

from dataclasses import replace
from typing import Annotated

import msgspec

from nanoclaw_runner.contract.rows import MAX_MESSAGE_BYTES
from nanoclawd.control.api import GroupsBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Unary, Word
from nanoclawd.control.values import Caller, GroupSettings
from nanoclawd.errors import TooLarge

INTERFACE = "io.nanoclaw.Groups"


type Count = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
type Skills = Annotated[str, msgspec.Meta(max_length=8192)]


class _Named(Parameters, frozen=True):
    name: Name


class _Settings(_Named, frozen=True):
    provider: Word | None = None
    model: Word | None = None
    instructions: str | None = None
    display_name: Word | None = None
    cli_scope: Word | None = None


class _Update(_Settings, frozen=True):
    effort: Word | None = None
    max_messages: Count | None = None
    skills: Skills | None = None
    daily_tokens: Word | None = None
    daily_cost: Word | None = None


class _Restart(_Named, frozen=True):
    rebuild: bool | None = None
    message: str | None = None


class _Delete(_Named, frozen=True):
    force: bool | None = None


def methods(backend: GroupsBackend) -> Methods:
    """Return the interface's methods."""

    async def list_all(_caller: Caller, call: Listing) -> object:
        return {"groups": await backend.list(call.bound)}

    async def get(_caller: Caller, call: _Named) -> object:
        return {"group": await backend.get(call.name)}

    async def create(caller: Caller, call: _Settings) -> object:
        return {"group": await backend.create(caller, call.name, _settings(call))}

    async def update(caller: Caller, call: _Update) -> object:
        settings = replace(
            _settings(call),
            effort=call.effort,
            max_messages=call.max_messages,
            skills=call.skills,
            daily_tokens=call.daily_tokens,
            daily_cost=call.daily_cost,
        )
        return {"group": await backend.update(caller, call.name, settings)}

    async def delete(caller: Caller, call: _Delete) -> object:
        await backend.delete(caller, call.name, force=bool(call.force))
        return {}

    async def restart(caller: Caller, call: _Restart) -> object:
        if call.message is not None and len(call.message.encode()) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"a message is {MAX_MESSAGE_BYTES // 1024} KiB at most")
        restarted, rebuilt = await backend.restart(
            caller, call.name, rebuild=bool(call.rebuild), message=call.message or None
        )
        return {"restarted": restarted, "rebuilt": rebuilt}

    return {
        f"{INTERFACE}.List": Unary(Listing, list_all),
        f"{INTERFACE}.Get": Unary(_Named, get),
        f"{INTERFACE}.Create": Unary(_Settings, create),
        f"{INTERFACE}.Update": Unary(_Update, update),
        f"{INTERFACE}.Delete": Unary(_Delete, delete),
        f"{INTERFACE}.Restart": Unary(_Restart, restart),
    }


def _settings(call: _Settings) -> GroupSettings:
    if call.instructions is not None and len(call.instructions.encode()) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"instructions are {MAX_MESSAGE_BYTES // 1024} KiB at most")
    return GroupSettings(
        provider=call.provider,
        model=call.model,
        instructions=call.instructions,
        display_name=call.display_name,
        cli_scope=call.cli_scope,
    )
