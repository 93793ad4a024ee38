"""Where a task runs: in the session that scheduled it, or in the one that its chat has now, or in its agent's own."""

from dataclasses import dataclass
from typing import Protocol

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound
from nanoclawd.routing.facts import session_mode
from nanoclawd.store import agent_groups, chats, places
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.sessions import Session
from nanoclawd.store.tasks import Task


class HasThreads(Protocol):
    """Tells whether a channel's threads are conversations."""

    def __call__(self, channel: str, /) -> bool:
        """Tell it, of a channel's name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session that is to be made.

    Attributes:
        chat_id: None for one of mode agent-shared.
    """

    agent_group_id: str
    group: str
    chat_id: str | None
    thread_id: str | None
    mode: str


def session_for(connection: apsw.Connection, task: Task, has_threads: HasThreads) -> Session | Wanted:
    """Return the session in which a task runs now, or what is to be made for it."""
    own = _active(connection, task.session_id)
    if own is not None:
        return own
    return _of_chat(connection, task, has_threads) or _shared(connection, task)


def address_for(connection: apsw.Connection, task: Task, session: Session) -> Address:
    """Return where a task's answers go: where it was scheduled, else the session's chat, else one that it hears."""
    if task.address is not None:
        return task.address
    return places.of_session(connection, session)


def place_of_group(connection: apsw.Connection, agent_group_id: str) -> tuple[str | None, Address | None]:
    """Return the session and the chat for a task that names neither: where the agent talked last, or is heard."""
    talked = [one for one in session_rows.of_group(connection, agent_group_id) if one.status == "active"]
    talked.sort(key=lambda one: one.last_active or one.created_at, reverse=True)
    for one in talked:
        if one.messaging_group_id is not None:
            chat = chats.by_id(connection, one.messaging_group_id)
            return one.id, Address(chat.channel_type, chat.platform_id, one.thread_id)
    wirings = chats.wirings_of_agent(connection, agent_group_id)
    if wirings:
        return None, Address(wirings[0].channel_type, wirings[0].platform_id)
    return (talked[0].id if talked else None), None


def _of_chat(connection: apsw.Connection, task: Task, has_threads: HasThreads) -> Session | Wanted | None:
    if task.channel_type is None or task.platform_id is None:
        return None
    chat = chats.by_address(connection, task.channel_type, task.platform_id)
    if chat is None:
        return None
    wirings = chats.wirings_of_chat(connection, chat.id)
    wiring = next((one for one in wirings if one.agent_group_id == task.agent_group_id), None)
    if wiring is None:
        return None
    mode = session_mode(wiring, threads=has_threads(task.channel_type), is_group=chat.is_group)
    if mode == "agent-shared":
        return _shared(connection, task)
    thread_id = task.thread_id if mode == "per-thread" else None
    found = session_rows.find_active(connection, task.agent_group_id, chat.id, thread_id)
    return found or Wanted(task.agent_group_id, task.group, chat.id, thread_id, mode)


def _shared(connection: apsw.Connection, task: Task) -> Session | Wanted:
    # A deleted group's tasks go with it; one that is deleted at this moment is found out by whoever makes the session.
    group = agent_groups.by_id(connection, task.agent_group_id)
    found = session_rows.find_agent_shared(connection, group.id)
    return found or Wanted(group.id, group.folder, None, None, "agent-shared")


def _active(connection: apsw.Connection, session_id: str | None) -> Session | None:
    if session_id is None:
        return None
    try:
        session = session_rows.by_id(connection, session_id)
    except NotFound:
        return None
    return session if session.status == "active" else None
