"""What is known about an event, read in one visit of the database's thread. Nothing is decided here."""

from dataclasses import dataclass, replace
from typing import Any

import apsw

from nanoclawd.config import Access
from nanoclawd.errors import NotFound
from nanoclawd.routing import ids
from nanoclawd.routing.answers import MAX_ANSWER_CHARACTERS, OpenCard
from nanoclawd.routing.event import InboundEvent
from nanoclawd.store import agent_groups, approvals, chats, host_messages, questions, roles
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.chats import Chat, Wiring
from nanoclawd.store.roles import Standing
from nanoclawd.store.sessions import Session

_AGENTS = """SELECT w.id, w.messaging_group_id, w.agent_group_id, w.session_mode, w.priority, w.engage_mode,
  w.engage_pattern, w.sender_scope, w.ignored_message_policy, w.created_at, g.folder, ?3, ?4, g.name,
  t.since IS NOT NULL
FROM messaging_group_agents w
JOIN agent_groups g ON g.id = w.agent_group_id
LEFT JOIN sticky_threads t ON t.wiring_id = w.id AND t.thread_id = ?2
WHERE w.messaging_group_id = ?1 ORDER BY w.priority DESC, w.rowid"""


@dataclass(frozen=True, slots=True)
class WiredAgent:
    """An agent that a chat is wired to.

    Attributes:
        group: the agent group's folder.
        name: its shown name.
        session_mode: the mode that holds for this event, which threads may have changed.
        thread_id: the thread of the session.
        session: the active session for this event, if there is one.
        is_sticky: it was mentioned in this thread before.
    """

    wiring: Wiring
    group: str
    name: str
    session_mode: str
    thread_id: str | None
    session: Session | None
    is_sticky: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a decision depends on but the event.

    Attributes:
        threads: a thread of this channel is a conversation of its own.
        thread_id: the event's thread where it counts.
        access: the configuration's word on what is unknown.
        default_group: the folder of the agent for unknown chats, if it exists.
        shown_name: the sender's stored name; None for people that nothing is stored about.
        name_for: the approval that waits for a name from this sender.
        cards: what is open here and can be answered by a text.
        answered_before: the event is told again, and was an answer or a name the first time.
    """

    chat: Chat | None
    agents: tuple[WiredAgent, ...]
    standing: Standing
    threads: bool
    thread_id: str | None
    access: Access
    default_group: str | None = None
    shown_name: str | None = None
    name_for: str | None = None
    cards: tuple[OpenCard, ...] = ()
    answered_before: bool = False


def load(
    connection: apsw.Connection,
    event: InboundEvent,
    channel_threads: bool,
    channel_buttons: bool,
    access: Access,
    intercept: bool = True,
) -> Facts:
    """Read what is known about an event.

    Args:
        connection: the central database.
        event: a clean one (:mod:`nanoclawd.routing.cleaning`).
        channel_threads: the channel's threads are conversations.
        channel_buttons: the channel has buttons, so that a text answers no card.
        access: what the configuration says about unknown chats.
        intercept: whether the event may be an answer or a name; a message that is told again after an approval isn't.
    """
    address = event.address
    thread_id = address.thread_id if channel_threads else None
    user_id = event.sender.user_id
    standing = roles.standing(connection, user_id)
    chat = chats.by_address(connection, address.channel_type, address.platform_id)
    agents = () if chat is None else _agents(connection, chat, event, channel_threads, thread_id)
    default_group = None
    if not agents and access.unknown_chats == "public" and access.default_group is not None:
        default_group = _existing(connection, access.default_group)
    may_answer = intercept and not channel_buttons and 0 < len(event.text.strip()) <= MAX_ANSWER_CHARACTERS
    return Facts(
        chat=chat,
        agents=agents,
        standing=standing,
        threads=channel_threads,
        thread_id=thread_id,
        access=access,
        default_group=default_group,
        shown_name=_shown_name(connection, user_id),
        name_for=_name_for(connection, event) if intercept else None,
        cards=_open_cards(connection, event, thread_id) if may_answer else (),
        answered_before=intercept and _answered_before(connection, event, thread_id, may_answer=may_answer),
    )


def said(connection: apsw.Connection, message_id: str) -> bool:
    """Tell whether the appliance has said something under this id."""
    try:
        host_messages.by_id(connection, message_id)
    except NotFound:
        return False
    return True


def session_mode(wiring: Wiring, *, threads: bool, is_group: bool) -> str:
    """Return the mode that holds: where threads are conversations, each of a group has its own session (F-123)."""
    if threads and is_group and wiring.session_mode != "agent-shared":
        return "per-thread"
    return wiring.session_mode


def _agents(
    connection: apsw.Connection, chat: Chat, event: InboundEvent, threads: bool, thread_id: str | None
) -> tuple[WiredAgent, ...]:
    found = []
    bindings = (chat.id, thread_id, chat.channel_type, chat.platform_id)
    rows: list[tuple[Any, ...]] = connection.execute(_AGENTS, bindings).fetchall()
    for *columns, name, is_sticky in rows:
        wiring = Wiring(*columns)
        mode = session_mode(wiring, threads=threads, is_group=event.is_group)
        thread = thread_id if mode == "per-thread" else None
        if mode == "agent-shared":
            session = session_rows.find_agent_shared(connection, wiring.agent_group_id)
        else:
            session = session_rows.find_active(connection, wiring.agent_group_id, chat.id, thread)
        found.append(WiredAgent(wiring, wiring.group, name, mode, thread, session, bool(is_sticky)))
    return tuple(found)


def _existing(connection: apsw.Connection, folder: str) -> str | None:
    try:
        return agent_groups.by_folder(connection, folder).folder
    except NotFound:
        return None


def _shown_name(connection: apsw.Connection, user_id: str | None) -> str | None:
    if user_id is None:
        return None
    row = connection.execute("SELECT ifnull(display_name, '') FROM users WHERE id = ?", (user_id,)).fetchone()
    return None if row is None else str(row[0])


def _name_for(connection: apsw.Connection, event: InboundEvent) -> str | None:
    """A name is written where nobody else reads: in a chat of two."""
    if event.is_group or event.sender.user_id is None:
        return None
    waiting = approvals.waiting_for_name(connection, event.sender.user_id)
    return None if waiting is None else waiting.id


def _open_cards(connection: apsw.Connection, event: InboundEvent, thread_id: str | None) -> tuple[OpenCard, ...]:
    address = event.address
    asked = questions.of_chat(connection, address.channel_type, address.platform_id, thread_id)
    cards = [OpenCard("question", one.id, one.options, _asker(connection, one.session_id)) for one in asked]
    if not event.is_group and event.sender.user_id is not None:
        mine = host_messages.open_cards_for(connection, event.sender.user_id)
        cards += [OpenCard("approval", one.id, one.options) for one in mine]
    return tuple(cards)


def _answered_before(
    connection: apsw.Connection, event: InboundEvent, thread_id: str | None, *, may_answer: bool
) -> bool:
    """The outcome of an answer or a name, and what is asked back, is told under an id of this event."""
    kinds = (*(("answer", "ask") if may_answer else ()), *(() if event.is_group else ("named",)))
    address = replace(event.address, thread_id=thread_id)
    return any(said(connection, ids.words_id(kind, address, event.message_id)) for kind in kinds)


def _asker(connection: apsw.Connection, session_id: str) -> str:
    return session_rows.by_id(connection, session_id).agent_group_id
