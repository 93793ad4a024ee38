"""Words of the appliance to a session's next container."""

import json

import apsw

from nanoclaw_runner.contract.rows import Address
from nanoclawd.errors import NotFound
from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import chats
from nanoclawd.store.names import new_id
from nanoclawd.store.sessions import Session


def note_to(connection: apsw.Connection, session: Session, text: str, note_id: str | None = None) -> NewMessage:
    """Return a note that only a container sees which begins after it was stored; it asks for a turn.

    Args:
        connection: to the central database.
        session: who is told.
        text: what.
        note_id: the same one twice is one note; by default a new one.
    """
    return NewMessage(
        id=note_id or new_id("restart"),
        content=json.dumps({"type": "note", "text": text}),
        address=_place_of(connection, session),
        kind="system",
        on_wake=True,
    )


def _place_of(connection: apsw.Connection, session: Session) -> Address:
    """Return where a session talks: its own chat, or the first that its agent hears."""
    if session.messaging_group_id is not None:
        try:
            chat = chats.by_id(connection, session.messaging_group_id)
        except NotFound:
            pass
        else:
            return Address(chat.channel_type, chat.platform_id, session.thread_id)
    wirings = chats.wirings_of_agent(connection, session.agent_group_id)
    heard = [one for one in wirings if one.session_mode == "agent-shared"] or wirings
    return Address(heard[0].channel_type, heard[0].platform_id) if heard else Address("agent", session.group)
