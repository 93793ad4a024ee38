"""What routing writes into ``central.db``: each function is one visit, and one transaction."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import apsw

from nanoclaw_runner.contract.transaction import writing
from nanoclawd.config import Access
from nanoclawd.errors import NotFound
from nanoclawd.routing.decision import Action, DropReason, EventDecision, WiringDecision
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.facts import Facts, load
from nanoclawd.routing.wirings import default_wiring, wire
from nanoclawd.store import agent_groups, chats, dropped, sticky, users
from nanoclawd.store.chats import Chat

NEW: Final = "new"
"""The id of what is not there yet."""


def unheard(connection: apsw.Connection, event: InboundEvent, access: Access) -> Chat:
    """Write down a chat that somebody spoke in although no agent hears it."""
    with writing(connection):
        return _ensure_chat(connection, event, access)


def register(connection: apsw.Connection, event: InboundEvent, folder: str, threads: bool, access: Access) -> str:
    """Wire a chat to the default agent and return the agent's id.

    Raises:
        NotFound: the agent was deleted in this moment.
    """
    with writing(connection):
        group = agent_groups.by_folder(connection, folder)
        chat = _ensure_chat(connection, event, access)
        if not chats.wirings_of_chat(connection, chat.id):
            wire(connection, chat.id, group.id, default_wiring(is_group=event.is_group, threads=threads))
    return group.id


def rehearse(
    connection: apsw.Connection, event: InboundEvent, folder: str, threads: bool, buttons: bool, access: Access
) -> Facts:
    """Return what would be known of an event after :func:`register`, and undo that."""
    is_new = chats.by_address(connection, event.address.channel_type, event.address.platform_id) is None
    connection.execute("BEGIN IMMEDIATE")
    try:
        with contextlib.suppress(NotFound):  # the agent was deleted in this moment: there is no default then
            register(connection, event, folder, threads, access)
        found = load(connection, event, threads, buttons, access, intercept=False)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    chat = replace(found.chat, id=NEW) if found.chat is not None and is_new else found.chat
    agents = (replace(one, wiring=replace(one.wiring, id=NEW)) for one in found.agents)
    return replace(found, chat=chat, agents=tuple(agents))


@dataclass(frozen=True, slots=True)
class News:
    """What an event tells beside its text: names and kinds that have changed."""

    chat_changed: bool
    sender_renamed: bool


def news(event: InboundEvent, decision: EventDecision, stored_name: str | None) -> News | None:
    """Return what there is to write down about an event beside its rows and counts; mostly nothing (W-18)."""
    chat, sender = decision.chat, event.sender
    renamed = event.chat_name is not None and chat is not None and event.chat_name != chat.name
    chat_changed = chat is not None and (renamed or event.is_group != chat.is_group)
    sender_renamed = sender.user_id is not None and stored_name is not None and sender.name not in {"", stored_name}
    return News(chat_changed, sender_renamed) if chat_changed or sender_renamed else None


def note(connection: apsw.Connection, event: InboundEvent, decision: EventDecision, found: News) -> None:
    """Write down what an event tells beside its text."""
    with writing(connection):
        if found.chat_changed and decision.chat is not None:
            with contextlib.suppress(NotFound):  # it was deleted in this moment
                chats.update(connection, decision.chat.id, name=event.chat_name, is_group=event.is_group)
        if found.sender_renamed and event.sender.user_id is not None:
            users.ensure(connection, event.sender.user_id, event.sender.name)


def stick(connection: apsw.Connection, wiring_ids: Sequence[str], thread_id: str) -> None:
    """Make a thread sticky for wirings."""
    with writing(connection):
        for wiring_id in wiring_ids:
            sticky.make_sticky(connection, wiring_id, thread_id)


def drop_reason(wirings: Sequence[WiringDecision]) -> tuple[str, str | None]:
    """Return the one reason that is recorded for an event, and whose gate gave it.

    That an agent did not engage is worth a word only where no other took the message either.
    """
    refused = {one.reason: one.agent_group_id for one in reversed(wirings) if one.reason}
    taken = any(one.action not in {Action.DROP, Action.ASK} for one in wirings)
    if taken:
        refused.pop(DropReason.NO_AGENT_ENGAGED, None)
    if not refused:
        return "", None
    reason = dropped.most_specific(refused)
    return reason, None if reason == DropReason.NO_AGENT_ENGAGED else refused[reason]


def _ensure_chat(connection: apsw.Connection, event: InboundEvent, access: Access) -> Chat:
    address = event.address
    found = chats.by_address(connection, address.channel_type, address.platform_id)
    if found is not None:
        return found
    return chats.create(
        connection,
        address.channel_type,
        address.platform_id,
        name=event.chat_name,
        is_group=event.is_group,
        unknown_sender_policy=access.unknown_senders,
    )
