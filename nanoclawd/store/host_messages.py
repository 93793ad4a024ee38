"""The appliance's own messages outside of sessions, with the same states as replies.

``sending`` is recorded before the I/O. A row with no ``next_attempt_at`` waits for its chat to become reachable
(:func:`make_channel_due`), without a timer.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import NotFound
from nanoclawd.store import approvals
from nanoclawd.store.approvals import Approval
from nanoclawd.store.constraints import is_missing_parent

_COLUMNS = (
    "id, channel_type, platform_id, thread_id, content, in_reply_to, approval_id, person, status, attempts,"
    " next_attempt_at, platform_message_id, reason, created_at, changed_at"
)
_OPEN = "status IN ('pending', 'sending')"


@dataclass(frozen=True, slots=True)
class HostMessage:
    """One message of the appliance.

    Attributes:
        id: given by whoever posts it: the same id is the same message.
        content: JSON: ``{"text"}``, ``{"card": …}``, or ``{"edit": id of an earlier host message, "text"}``.
        in_reply_to: the inbound message that this one answers, so that its turn ends with the delivery.
        approval_id: the approval whose card this is.
        person: the user for whom a card was made.
        status: pending, sending, delivered or failed.
    """

    id: str
    channel_type: str
    platform_id: str
    thread_id: str | None
    content: str
    in_reply_to: str | None = None
    approval_id: str | None = None
    person: str | None = None
    status: str = "pending"
    attempts: int = 0
    next_attempt_at: str | None = None
    platform_message_id: str | None = None
    reason: str | None = None
    created_at: str = ""
    changed_at: str = ""


def post(connection: apsw.Connection, message: HostMessage) -> bool:
    """Store a new message, due at once; False when this id was posted before.

    Raises:
        NotFound: its approval has gone.
    """
    now = now_text()
    try:
        connection.execute(
            "INSERT INTO host_messages (id, channel_type, platform_id, thread_id, content, in_reply_to, approval_id,"
            " person, next_attempt_at, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO NOTHING",
            (
                message.id,
                message.channel_type,
                message.platform_id,
                message.thread_id,
                message.content,
                message.in_reply_to,
                message.approval_id,
                message.person,
                message.next_attempt_at or now,
                now,
                now,
            ),
        )
    except apsw.ConstraintError as error:
        if not is_missing_parent(error):
            raise
        raise NotFound(f"there is no approval {message.approval_id!r}", hint="ncl approvals list") from error
    return bool(connection.changes())


def by_id(connection: apsw.Connection, message_id: str) -> HostMessage:
    """Read a message.

    Raises:
        NotFound: there is none.
    """
    found = _some(connection, "WHERE id = ?", (message_id,))
    if not found:
        raise NotFound(f"the appliance has no message {message_id[:40]!r}")
    return found[0]


def due(
    connection: apsw.Connection, moment: str, limit: int = 100, busy: Collection[tuple[str, str]] = ()
) -> list[HostMessage]:
    """Read the open messages whose next attempt is due, in the order of their posting.

    One in ``sending`` is among them as long as it is open: a restart has interrupted it, or it is under way now.

    Args:
        connection: the central database.
        moment: when they are due.
        limit: no more than so many.
        busy: chats (channel, platform id) that are left out: however much waits there hides nothing of the others.
    """
    return _some(
        connection,
        f"WHERE {_OPEN} AND next_attempt_at <= ? AND (channel_type, platform_id) NOT IN"
        " (SELECT value ->> 0, value ->> 1 FROM json_each(?)) ORDER BY next_attempt_at, rowid LIMIT ?",
        (moment, json.dumps(list(busy)), limit),
    )


def earliest(connection: apsw.Connection, after: str) -> str | None:
    """Return the earliest next attempt after a moment, or None."""
    row = connection.execute(
        f"SELECT next_attempt_at FROM host_messages WHERE {_OPEN} AND next_attempt_at > ?"
        " ORDER BY next_attempt_at LIMIT 1",
        (after,),
    ).fetchone()
    return None if row is None else str(row[0])


def record(
    connection: apsw.Connection,
    message_id: str,
    status: str,
    attempts: int | None = None,
    next_attempt_at: str | None = None,
    platform_message_id: str | None = None,
    reason: str | None = None,
) -> None:
    """Write a message's new state.

    Args:
        connection: the central database.
        message_id: which.
        status: pending, sending, delivered or failed.
        attempts: None leaves the number as it is.
        next_attempt_at: for ``pending``; None has it wait until its chat is reachable. ``sending`` keeps the old one,
            so that it is due again when a restart interrupts it.
        platform_message_id: the platform's id; None keeps a known one.
        reason: why it is not delivered yet or never will be.
    """
    connection.execute(
        "UPDATE host_messages SET status = ?2, attempts = coalesce(?3, attempts),"
        " next_attempt_at = iif(?2 = 'sending', coalesce(?4, next_attempt_at, ?7), ?4),"
        " platform_message_id = coalesce(?5, platform_message_id), reason = ?6, changed_at = ?7 WHERE id = ?1",
        (message_id, status, attempts, next_attempt_at, platform_message_id, reason, now_text()),
    )


def of_approval(connection: apsw.Connection, approval_id: str) -> list[HostMessage]:
    """Read the cards and notices of an approval, oldest first."""
    return _some(connection, "WHERE approval_id = ? ORDER BY created_at, rowid", (approval_id,))


def outlive(connection: apsw.Connection, message_id: str) -> None:
    """Have a message stay when its approval is deleted."""
    connection.execute("UPDATE host_messages SET approval_id = NULL WHERE id = ?", (message_id,))


def answer_to(connection: apsw.Connection, channel_type: str, in_reply_to: str) -> HostMessage | None:
    """Return the appliance's last answer to an inbound message of a channel, or None."""
    found = _some(
        connection,
        "WHERE channel_type = ? AND in_reply_to = ? ORDER BY rowid DESC LIMIT 1",
        (channel_type, in_reply_to),
    )
    return found[0] if found else None


def open_cards_for(connection: apsw.Connection, person: str) -> list[Approval]:
    """Read the approvals that wait for a choice and whose card this person has got, oldest first, each once."""
    return approvals.some(
        connection,
        "WHERE a.status = 'pending' AND a.stage = 'decision' AND a.id IN (SELECT approval_id FROM host_messages"
        " WHERE person = ? AND status = 'delivered') ORDER BY a.created_at, a.rowid",
        (person,),
    )


def make_channel_due(connection: apsw.Connection, channel_type: str | None = None) -> int:
    """Have everything that waits without a timer on a channel, or (None) anywhere, looked at; return how many."""
    connection.execute(
        "UPDATE host_messages SET next_attempt_at = ?1 WHERE status IN ('pending', 'sending')"
        " AND next_attempt_at IS NULL AND (?2 IS NULL OR channel_type = ?2)",
        (now_text(), channel_type),
    )
    return int(connection.changes())


def open_by_channel(connection: apsw.Connection) -> dict[str, int]:
    """Return how many messages are not delivered yet, by channel."""
    rows = connection.execute(f"SELECT channel_type, count(*) FROM host_messages WHERE {_OPEN} GROUP BY channel_type")
    return {str(channel): int(count) for channel, count in rows}


def bring_forward(connection: apsw.Connection, latest: str) -> int:
    """Have nothing wait for longer than until a moment (the clock was set back); return how many would have."""
    connection.execute(
        "UPDATE host_messages SET next_attempt_at = ?1 WHERE status IN ('pending', 'sending') AND next_attempt_at > ?1",
        (latest,),
    )
    return int(connection.changes())


def prune(connection: apsw.Connection, before: str) -> int:
    """Forget messages that ended before a moment, but not the cards of what still waits; return how many."""
    connection.execute(
        "DELETE FROM host_messages WHERE status IN ('delivered', 'failed') AND changed_at < ? AND approval_id IS NULL"
        " OR status IN ('delivered', 'failed') AND changed_at < ?"
        " AND approval_id IN (SELECT id FROM approvals WHERE status <> 'pending')",
        (before, before),
    )
    return int(connection.changes())


def _some(connection: apsw.Connection, tail: str, bindings: tuple[str | int, ...]) -> list[HostMessage]:
    return [HostMessage(*row) for row in connection.execute(f"SELECT {_COLUMNS} FROM host_messages {tail}", bindings)]
