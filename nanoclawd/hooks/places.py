"""Where a hook's messages go: into the conversation that its agent has in the hook's chat, so people see the answer."""

from collections.abc import Callable
from dataclasses import dataclass

import apsw

from nanoclawd.errors import NotFound, Refused, Unavailable
from nanoclawd.routing.facts import session_mode
from nanoclawd.store import chats, resolve
from nanoclawd.store import sessions as session_rows
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.hooks import Hook
from nanoclawd.store.sessions import Session

type HasThreads = Callable[[str], bool]
"""Tells whether a channel's threads are conversations."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session that is to be made.

    Attributes:
        chat_id: None for one of mode agent-shared.
    """

    chat_id: str | None
    mode: str


def session_for(connection: apsw.Connection, hook: Hook, has_threads: HasThreads) -> Session | Wanted:
    """Return the session that hears a hook, or what is to be made for it.

    Raises:
        Unavailable: the agent does not hear the hook's chat any more. Senders try again; meanwhile it can be mended.
    """
    wirings = chats.wirings_of_chat(connection, hook.chat_id)
    wiring = next((one for one in wirings if one.agent_group_id == hook.agent_group_id), None)
    if wiring is None:
        place = f"{hook.channel_type}:{hook.platform_id}"
        raise Unavailable(
            f"hook {hook.name}: {hook.group} does not hear {place} any more",
            hint=f"ncl wirings create {place} {hook.group}",
        )
    is_group = chats.by_id(connection, hook.chat_id).is_group
    mode = session_mode(wiring, threads=has_threads(hook.channel_type), is_group=is_group)
    if mode == "agent-shared":
        return session_rows.find_agent_shared(connection, hook.agent_group_id) or Wanted(None, mode)
    # Nothing of it is in a thread: where threads are conversations, this is the main one.
    found = session_rows.find_active(connection, hook.agent_group_id, hook.chat_id, None)
    return found or Wanted(hook.chat_id, mode)


def chat_for(connection: apsw.Connection, group: AgentGroup, to: str | None) -> Chat:
    """Return the chat of a new hook: the one that is named, or the only one that the agent hears.

    Raises:
        NotFound: no such chat.
        Refused: the agent does not hear it, or it has to be said which.
    """
    wirings = chats.wirings_of_agent(connection, group.id)
    if to is not None:
        chat = resolve.chat(connection, to)
        if all(one.messaging_group_id != chat.id for one in wirings):
            place = f"{chat.channel_type}:{chat.platform_id}"
            raise Refused(
                f"{group.folder} does not hear {place}, so it can't answer there",
                hint=f"ncl wirings create {place} {group.folder}",
            )
        return chat
    if not wirings:
        raise NotFound(
            f"{group.folder} hears no chat in which it could answer", hint=f"ncl wirings create CHAT {group.folder}"
        )
    if len(wirings) > 1:
        places = ", ".join(f"{one.channel_type}:{one.platform_id}" for one in wirings[:5])
        raise Refused(
            f"{group.folder} hears several chats: say with --to in which it is to answer", hint=f"--to one of {places}"
        )
    return chats.by_id(connection, wirings[0].messaging_group_id)
