"""Where a session talks, for what nobody has asked for in a chat: notes, replies to calls, what a task has found."""

import apsw

from nanoclaw_runner.contract.rows import AGENT, Address
from nanoclawd.errors import NotFound
from nanoclawd.store import chats
from nanoclawd.store.sessions import Session


def of_session(connection: apsw.Connection, session: Session) -> Address:
    """Return a session's own chat and thread; of one that belongs to no chat, or whose chat has gone, its agent's."""
    if session.messaging_group_id is not None:
        try:
            chat = chats.by_id(connection, session.messaging_group_id)
        except NotFound:
            pass
        else:
            return Address(chat.channel_type, chat.platform_id, session.thread_id)
    return of_agent(connection, session.agent_group_id, session.group)


def of_agent(connection: apsw.Connection, agent_group_id: str, group: str) -> Address:
    """Return the first chat of an agent, best one whose words go to its one session for all; without any, itself."""
    wirings = chats.wirings_of_agent(connection, agent_group_id)
    heard = [one for one in wirings if one.session_mode == "agent-shared"] or wirings
    return Address(heard[0].channel_type, heard[0].platform_id) if heard else Address(AGENT, group)
