"""Words of the appliance to a session's next container."""

import json

import apsw

from nanoclawd.sessions.inbound import NewMessage
from nanoclawd.store import places
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
        address=places.of_session(connection, session),
        kind="system",
        on_wake=True,
    )
