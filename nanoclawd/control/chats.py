"""io.nanoclaw.Chats, Wirings and Destinations: where agents hear and where they may speak."""

from nanoclawd.control.api import ChatsBackend, DestinationsBackend, WiringsBackend
from nanoclawd.control.methods import Listing, Methods, Name, Parameters, Reference, Unary, Word
from nanoclawd.control.values import Caller, ChatSettings, WiringSettings

CHATS = "io.nanoclaw.Chats"
WIRINGS = "io.nanoclaw.Wirings"
DESTINATIONS = "io.nanoclaw.Destinations"


class _ListChats(Listing, frozen=True):
    channel: Name | None = None
    group: Name | None = None


class _Chat(Parameters, frozen=True):
    chat: Reference


class _UpdateChat(_Chat, frozen=True):
    name: Word | None = None
    is_group: bool | None = None
    unknown_sender_policy: Word | None = None


class _CreateChat(_UpdateChat, frozen=True, kw_only=True):
    channel: Name


def chats(backend: ChatsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Chats."""

    async def list_all(_caller: Caller, call: _ListChats) -> object:
        return {"chats": await backend.list(call.channel, call.group, call.bound)}

    async def get(_caller: Caller, call: _Chat) -> object:
        return {"chat": await backend.get(call.chat)}

    async def create(caller: Caller, call: _CreateChat) -> object:
        return {"chat": await backend.create(caller, call.channel, call.chat, _chat_settings(call))}

    async def update(caller: Caller, call: _UpdateChat) -> object:
        return {"chat": await backend.update(caller, call.chat, _chat_settings(call))}

    async def delete(caller: Caller, call: _Chat) -> object:
        await backend.delete(caller, call.chat)
        return {}

    async def undeny(caller: Caller, call: _Chat) -> object:
        return {"chat": await backend.undeny(caller, call.chat)}

    return {
        f"{CHATS}.List": Unary(_ListChats, list_all),
        f"{CHATS}.Get": Unary(_Chat, get),
        f"{CHATS}.Create": Unary(_CreateChat, create),
        f"{CHATS}.Update": Unary(_UpdateChat, update),
        f"{CHATS}.Delete": Unary(_Chat, delete),
        f"{CHATS}.Undeny": Unary(_Chat, undeny),
    }


def _chat_settings(call: _UpdateChat) -> ChatSettings:
    return ChatSettings(call.name, call.is_group, call.unknown_sender_policy)


class _ListWirings(Listing, frozen=True):
    chat: Reference | None = None
    group: Name | None = None


class _Wiring(Parameters, frozen=True):
    wiring: Reference


class _WiringSettings(Parameters, frozen=True, kw_only=True):
    session_mode: Word | None = None
    priority: int | None = None
    engage_mode: Word | None = None
    engage_pattern: Reference | None = None
    sender_scope: Word | None = None
    ignored_message_policy: Word | None = None


class _CreateWiring(_WiringSettings, frozen=True, kw_only=True):
    chat: Reference
    group: Name


class _UpdateWiring(_WiringSettings, frozen=True, kw_only=True):
    wiring: Reference


def wirings(backend: WiringsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Wirings."""

    async def list_all(_caller: Caller, call: _ListWirings) -> object:
        return {"wirings": await backend.list(call.chat, call.group, call.bound)}

    async def get(_caller: Caller, call: _Wiring) -> object:
        return {"wiring": await backend.get(call.wiring)}

    async def create(caller: Caller, call: _CreateWiring) -> object:
        return {"wiring": await backend.create(caller, call.chat, call.group, _wiring_settings(call))}

    async def update(caller: Caller, call: _UpdateWiring) -> object:
        return {"wiring": await backend.update(caller, call.wiring, _wiring_settings(call))}

    async def delete(caller: Caller, call: _Wiring) -> object:
        await backend.delete(caller, call.wiring)
        return {}

    return {
        f"{WIRINGS}.List": Unary(_ListWirings, list_all),
        f"{WIRINGS}.Get": Unary(_Wiring, get),
        f"{WIRINGS}.Create": Unary(_CreateWiring, create),
        f"{WIRINGS}.Update": Unary(_UpdateWiring, update),
        f"{WIRINGS}.Delete": Unary(_Wiring, delete),
    }


def _wiring_settings(call: _WiringSettings) -> WiringSettings:
    return WiringSettings(
        call.session_mode,
        call.priority,
        call.engage_mode,
        call.engage_pattern,
        call.sender_scope,
        call.ignored_message_policy,
    )


class _ListDestinations(Listing, frozen=True):
    group: Name | None = None


class _AddDestination(Parameters, frozen=True):
    group: Name
    name: Word | None = None
    chat: Reference | None = None
    agent: Name | None = None


class _RemoveDestination(Parameters, frozen=True):
    group: Name
    name: Name


def destinations(backend: DestinationsBackend) -> Methods:
    """Return the methods of io.nanoclaw.Destinations."""

    async def list_all(_caller: Caller, call: _ListDestinations) -> object:
        return {"destinations": await backend.list(call.group, call.bound)}

    async def add(caller: Caller, call: _AddDestination) -> object:
        added = await backend.add(caller, call.group, call.name, chat=call.chat, agent=call.agent)
        return {"destination": added}

    async def remove(caller: Caller, call: _RemoveDestination) -> object:
        await backend.remove(caller, call.group, call.name)
        return {}

    return {
        f"{DESTINATIONS}.List": Unary(_ListDestinations, list_all),
        f"{DESTINATIONS}.Add": Unary(_AddDestination, add),
        f"{DESTINATIONS}.Remove": Unary(_RemoveDestination, remove),
    }
