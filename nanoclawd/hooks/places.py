"""Where a hook's messages go: into the conversation that its agent has in a chat, so that people see the answer."""

import apsw

from nanoclawd.errors import NotFound, Refused
from nanoclawd.store import chats, resolve
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat


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
