"""What troubles agents, as they report it: bounded, until it is over or long ago."""

from dataclasses import dataclass
from typing import Final

import apsw

from nanoclawd.store.transaction import together

MAX_OF_GROUP: Final = 20
IMAGE: Final = "image"
"""The kind of the trouble that a group's own image could not be built anew; it lasts until that is mended."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One trouble of a group; ``subject`` is what it is about, where it has a name."""

    group: str
    kind: str
    subject: str
    message: str
    count: int
    first_at: str
    last_at: str


def note(connection: apsw.Connection, agent_group_id: str, kind: str, subject: str, message: str, moment: str) -> None:
    """Write a trouble down, or that it is still there. Of too many the oldest goes."""
    with together(connection):
        connection.execute(
            "INSERT INTO troubles (agent_group_id, kind, subject, message, first_at, last_at)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (agent_group_id, kind, subject)"
            " DO UPDATE SET message = ?4, count = count + 1, last_at = ?5",
            (agent_group_id, kind, subject, message, moment),
        )
        connection.execute(
            "DELETE FROM troubles WHERE agent_group_id = ?1 AND (kind, subject) NOT IN (SELECT kind, subject"
            " FROM troubles WHERE agent_group_id = ?1 ORDER BY last_at DESC LIMIT ?2)",
            (agent_group_id, MAX_OF_GROUP),
        )


def over(connection: apsw.Connection, agent_group_id: str, kinds: tuple[str, ...]) -> bool:
    """Forget a group's troubles of these kinds; tell whether there were any."""
    marks = ", ".join("?" * len(kinds))
    connection.execute(f"DELETE FROM troubles WHERE agent_group_id = ? AND kind IN ({marks})", (agent_group_id, *kinds))
    return bool(connection.changes())


def end(connection: apsw.Connection, agent_group_id: str, kind: str, subject: str | None = None) -> None:
    """Forget a group's trouble of a kind with a subject; None: whatever it is about."""
    connection.execute(
        "DELETE FROM troubles WHERE agent_group_id = ?1 AND kind = ?2 AND subject = ifnull(?3, subject)",
        (agent_group_id, kind, subject),
    )


def since(connection: apsw.Connection, moment: str, limit: int = 20) -> list[Trouble]:
    """Read the troubles that were there after a moment, the newest first; what is older is forgotten."""
    connection.execute("DELETE FROM troubles WHERE last_at <= ? AND kind <> ?", (moment, IMAGE))
    rows = connection.execute(
        "SELECT g.folder, t.kind, t.subject, t.message, t.count, t.first_at, t.last_at FROM troubles t"
        " JOIN agent_groups g ON g.id = t.agent_group_id ORDER BY t.last_at DESC, g.folder LIMIT ?",
        (limit,),
    )
    return [Trouble(*row) for row in rows]


def refuse(connection: apsw.Connection, endpoint: str, moment: str) -> bool:
    """Note that an endpoint refuses its credential; False where that was known."""
    connection.execute(
        "INSERT INTO refused_credentials (endpoint, since) VALUES (?, ?) ON CONFLICT (endpoint) DO NOTHING",
        (endpoint, moment),
    )
    return bool(connection.changes())


def works(connection: apsw.Connection, endpoint: str) -> None:
    """Note that an endpoint has answered."""
    connection.execute("DELETE FROM refused_credentials WHERE endpoint = ?", (endpoint,))
