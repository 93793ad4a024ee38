"""Questions of agents to the people of a chat, while they wait for an answer."""

from dataclasses import dataclass
from typing import Any

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclawd.errors import NotFound
from nanoclawd.store.constraints import is_missing_parent
from nanoclawd.store.options import from_json, to_json

_COLUMNS = (
    "q.question_id, q.session_id, q.message_out_id, q.channel_type, q.platform_id, q.thread_id, q.title, q.body,"
    " q.options, q.agent_reference, q.created_at, q.expires_at"
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: what a button carries; its first four characters are the tag that people may write.
        message_out_id: the row of the session's ``outbound.db`` that asked.
        agent_reference: the agent's own name for it, which comes back with the answer.
    """

    id: str
    session_id: str
    message_out_id: str
    channel_type: str
    platform_id: str
    thread_id: str | None
    title: str
    body: str
    options: tuple[Option, ...]
    agent_reference: str
    created_at: str
    expires_at: str


def add(connection: apsw.Connection, question: Question) -> bool:
    """Store a question; False when this row of this session has asked already (F-26: told twice, it is one).

    Raises:
        NotFound: the session has gone.
    """
    try:
        connection.execute(
            "INSERT INTO pending_questions (question_id, session_id, message_out_id, channel_type, platform_id,"
            " thread_id, title, body, options, agent_reference, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                question.id,
                question.session_id,
                question.message_out_id,
                question.channel_type,
                question.platform_id,
                question.thread_id,
                question.title,
                question.body,
                to_json(question.options),
                question.agent_reference,
                question.created_at,
                question.expires_at,
            ),
        )
    except apsw.ConstraintError as error:
        if not is_missing_parent(error):
            raise
        raise NotFound(f"there is no session {question.session_id[:40]!r}", hint="ncl sessions list") from error
    return bool(connection.changes())


def by_id(connection: apsw.Connection, question_id: str) -> Question:
    """Read a question.

    Raises:
        NotFound: there is none, or it was answered.
    """
    found = _some(connection, "WHERE q.question_id = ?", (question_id,))
    if not found:
        raise NotFound(f"there is no question {question_id[:40]!r}", hint="ncl questions list")
    return found[0]


def by_session_and_row(connection: apsw.Connection, session_id: str, message_out_id: str) -> Question | None:
    """Return the question that a row of a session asked, or None."""
    found = _some(connection, "WHERE q.session_id = ? AND q.message_out_id = ?", (session_id, message_out_id))
    return found[0] if found else None


def of_chat(connection: apsw.Connection, channel_type: str, platform_id: str, thread_id: str | None) -> list[Question]:
    """Read what is asked in a chat and thread (no thread is only no thread), oldest first."""
    return _some(
        connection,
        "WHERE q.channel_type = ? AND q.platform_id = ? AND q.thread_id IS ? ORDER BY q.created_at, q.rowid",
        (channel_type, platform_id, thread_id),
    )


def every(connection: apsw.Connection) -> list[Question]:
    """Read all questions, oldest first."""
    return _some(connection, "ORDER BY q.created_at, q.rowid", ())


def take(connection: apsw.Connection, question_id: str) -> Question | None:
    """Take a question away because it is answered or over; None when another was faster: one answer counts."""
    returned = _COLUMNS.replace("q.", "")
    rows = connection.execute(
        f"DELETE FROM pending_questions WHERE question_id = ? RETURNING {returned}", (question_id,)
    ).fetchall()
    return _question(rows[0]) if rows else None


def expired(connection: apsw.Connection, moment: str) -> list[Question]:
    """Read the questions whose time is over at a moment, the longest over first."""
    return _some(connection, "WHERE q.expires_at <= ? ORDER BY q.expires_at", (moment,))


def earliest_expiry(connection: apsw.Connection) -> str | None:
    """Return when the next question expires, or None."""
    row = connection.execute("SELECT expires_at FROM pending_questions ORDER BY expires_at LIMIT 1").fetchone()
    return None if row is None else str(row[0])


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str | None, ...]) -> list[Question]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM pending_questions q {tail}", bindings)
    return [_question(row) for row in rows]


def _question(row: tuple[Any, ...]) -> Question:
    values = list(row)
    values[8] = from_json(row[8])
    return Question(*values)
