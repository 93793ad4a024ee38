"""Approvals: what waits for a person's decision. One mechanism for senders, chats, agents' requests and others."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.clock import now_text
from nanoclawd.errors import NotFound
from nanoclawd.store.constraints import is_missing_parent
from nanoclawd.store.names import new_card_id
from nanoclawd.store.options import from_json, to_json
from nanoclawd.store.transaction import together

_COLUMNS = (
    "a.id, a.action, a.subject, a.status, a.stage, a.name_from, a.agent_group_id, a.session_id, a.messaging_group_id,"
    " a.user_id, a.title, a.body, a.options, a.payload, a.created_at, a.expires_at, a.decided_at, a.decided_by,"
    " a.decision, g.folder, m.channel_type, m.platform_id"
)
_FROM = (
    "FROM approvals a LEFT JOIN agent_groups g ON g.id = a.agent_group_id"
    " LEFT JOIN messaging_groups m ON m.id = a.messaging_group_id"
)


@dataclass(frozen=True, slots=True)
class NewApproval:
    """What is to be decided, before it is stored.

    Attributes:
        action: names the handler.
        subject: what is asked about: two of one action and subject never wait at once.
        user_id: whom it is about (a sender), not who decides.
        payload: whatever the handler needs to carry it out; JSON.
    """

    action: str
    subject: str
    title: str
    body: str
    options: tuple[Option, ...]
    expires_at: str
    payload: dict[str, Any] = field(default_factory=dict)
    agent_group_id: str | None = None
    session_id: str | None = None
    messaging_group_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A stored approval.

    Attributes:
        status: pending, approved, rejected or expired.
        stage: ``decision``, or ``name`` while the person ``name_from`` has to send a name before it goes on.
        decided_by: a user's id, or ``terminal:<unix name>`` of an operator; None where time decided.
        decision: the chosen option's value.
        group: the agent group's folder, where there is one.
        channel_type: of the chat it is about, as ``platform_id``.
    """

    id: str
    action: str
    subject: str
    status: str
    stage: str
    name_from: str | None
    agent_group_id: str | None
    session_id: str | None
    messaging_group_id: str | None
    user_id: str | None
    title: str
    body: str
    options: tuple[Option, ...]
    payload: dict[str, Any]
    created_at: str
    expires_at: str
    decided_at: str | None = None
    decided_by: str | None = None
    decision: str | None = None
    group: str | None = None
    channel_type: str | None = None
    platform_id: str | None = None


def begin(connection: apsw.Connection, new: NewApproval) -> tuple[Approval, bool]:
    """Store an approval, or return the one of this action and subject that waits already (then with False).

    Raises:
        NotFound: what it refers to (group, session, chat) has gone.
    """
    with together(connection):
        waiting = some(
            connection,
            "WHERE a.action = ? AND a.subject = ? AND a.status = 'pending'",
            (new.action, new.subject),
        )
        if waiting:
            return waiting[0], False
        approval_id = new_card_id()
        try:
            connection.execute(
                "INSERT INTO approvals (id, action, subject, agent_group_id, session_id, messaging_group_id, user_id,"
                " title, body, options, payload, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    approval_id,
                    new.action,
                    new.subject,
                    new.agent_group_id,
                    new.session_id,
                    new.messaging_group_id,
                    new.user_id,
                    new.title,
                    new.body,
                    to_json(new.options),
                    json.dumps(new.payload),
                    now_text(),
                    new.expires_at,
                ),
            )
        except apsw.ConstraintError as error:
            if not is_missing_parent(error):
                raise
            raise NotFound("the group, session or chat of this request has gone") from error
        return by_id(connection, approval_id), True


def by_id(connection: apsw.Connection, approval_id: str) -> Approval:
    """Read an approval.

    Raises:
        NotFound: there is none.
    """
    found = some(connection, "WHERE a.id = ?", (approval_id,))
    if not found:
        raise NotFound(f"there is no approval {approval_id[:40]!r}", hint="ncl approvals list")
    return found[0]


def pending(connection: apsw.Connection) -> list[Approval]:
    """Read what waits for a decision, oldest first."""
    return some(connection, "WHERE a.status = 'pending' ORDER BY a.created_at, a.rowid", ())


def unreached(connection: apsw.Connection) -> list[str]:
    """Return the ids of those that wait for a decision while their newest card has not arrived, oldest first.

    A card has arrived nowhere, either, where the person who has it lost every role that could decide.
    Ids alone: what they carry may be long, and mostly there is nothing to be done about them.
    """
    rows = connection.execute(
        "SELECT a.id FROM approvals a WHERE a.status = 'pending' AND a.stage = 'decision'"
        " AND ifnull((SELECT h.status = 'delivered' AND EXISTS (SELECT 1 FROM user_roles r WHERE r.user_id = h.person"
        " AND (r.agent_group_id IS NULL OR r.agent_group_id = a.agent_group_id))"
        " FROM host_messages h WHERE h.approval_id = a.id AND h.person IS NOT NULL ORDER BY h.rowid DESC LIMIT 1), 0)"
        " = 0 ORDER BY a.created_at, a.rowid"
    )
    return [str(row[0]) for row in rows]


def waiting_in_vain(connection: apsw.Connection) -> list[Approval]:
    """Read those that wait for a name from somebody who may not make an agent any more, oldest first."""
    return some(
        connection,
        "WHERE a.status = 'pending' AND a.stage = 'name' AND NOT EXISTS (SELECT 1 FROM user_roles r"
        " WHERE r.user_id = a.name_from AND r.agent_group_id IS NULL) ORDER BY a.created_at, a.rowid",
        (),
    )


def is_waiting(connection: apsw.Connection, action: str, subject: str) -> bool:
    """Tell whether this is asked already."""
    row = connection.execute(
        "SELECT 1 FROM approvals WHERE action = ? AND subject = ? AND status = 'pending'", (action, subject)
    ).fetchone()
    return row is not None


def count_waiting(connection: apsw.Connection, action: str, messaging_group_id: str | None = None) -> int:
    """Count what waits of an action, in all or about one chat."""
    counted = connection.execute(
        "SELECT count(*) FROM approvals WHERE action = ?1 AND status = 'pending'"
        " AND (?2 IS NULL OR messaging_group_id = ?2)",
        (action, messaging_group_id),
    ).get
    return int(counted)


def newest(connection: apsw.Connection, action: str, subject: str) -> Approval | None:
    """Return the newest approval of an action and subject, whatever became of it, or None."""
    found = some(connection, "WHERE a.action = ? AND a.subject = ? ORDER BY a.rowid DESC LIMIT 1", (action, subject))
    return found[0] if found else None


def count_of_group(
    connection: apsw.Connection, action: str, agent_group_id: str, seconds: float, begins: str = ""
) -> tuple[int, int]:
    """Return how many of a group's approvals of an action wait, and how many were asked in the last seconds.

    Args:
        connection: the central database.
        action: which.
        agent_group_id: whose.
        seconds: how long ago at most.
        begins: with what their subjects begin.
    """
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE created_at > ?3) FROM approvals"
        " WHERE action = ?1 AND agent_group_id = ?2 AND substr(subject, 1, length(?4)) = ?4",
        (action, agent_group_id, now_text(plus_seconds=-seconds), begins),
    ).fetchone()
    return int(row[0]), int(row[1])  # type: ignore[index]  # counts are one row


def every(connection: apsw.Connection, limit: int = 1000) -> list[Approval]:
    """Read the newest approvals, decided ones too."""
    return some(connection, "ORDER BY a.rowid DESC LIMIT ?", (limit,))


def decide(connection: apsw.Connection, approval_id: str, status: str, by: str | None, decision: str | None) -> bool:
    """End an approval; False when it has ended already: there is exactly one decision."""
    connection.execute(
        "UPDATE approvals SET status = ?, decided_at = ?, decided_by = ?, decision = ?"
        " WHERE id = ? AND status = 'pending'",
        (status, now_text(), by, decision, approval_id),
    )
    return bool(connection.changes())


def ask_for_name(connection: apsw.Connection, approval_id: str, user_id: str) -> bool:
    """Have a pending approval wait for a name from a person (kept over a restart); False when it has ended."""
    connection.execute(
        "UPDATE approvals SET stage = 'name', name_from = ? WHERE id = ? AND status = 'pending'",
        (user_id, approval_id),
    )
    return bool(connection.changes())


def waiting_for_name(connection: apsw.Connection, user_id: str) -> Approval | None:
    """Return the oldest approval that waits for a name from this person, or None."""
    found = some(
        connection,
        "WHERE a.name_from = ? AND a.stage = 'name' AND a.status = 'pending' ORDER BY a.created_at, a.rowid LIMIT 1",
        (user_id,),
    )
    return found[0] if found else None


def ask_again(connection: apsw.Connection, approval_id: str) -> bool:
    """Have an approval that waits for a name wait for a decision again; False when it doesn't wait for a name."""
    connection.execute(
        "UPDATE approvals SET stage = 'decision', name_from = NULL"
        " WHERE id = ? AND status = 'pending' AND stage = 'name'",
        (approval_id,),
    )
    return bool(connection.changes())


def set_card(connection: apsw.Connection, approval_id: str, title: str, body: str, options: Sequence[Option]) -> bool:
    """Change what a pending approval asks; False when it has ended."""
    connection.execute(
        "UPDATE approvals SET title = ?, body = ?, options = ? WHERE id = ? AND status = 'pending'",
        (title, body, to_json(options), approval_id),
    )
    return bool(connection.changes())


def set_payload(connection: apsw.Connection, approval_id: str, payload: dict[str, Any]) -> bool:
    """Change what a pending approval carries; False when it has ended."""
    connection.execute(
        "UPDATE approvals SET payload = ? WHERE id = ? AND status = 'pending'", (json.dumps(payload), approval_id)
    )
    return bool(connection.changes())


def carry(connection: apsw.Connection, approval_id: str, payload: dict[str, Any]) -> bool:
    """Change what an ended approval still has before it; an empty payload says that nothing is left."""
    connection.execute(
        "UPDATE approvals SET payload = ? WHERE id = ? AND status <> 'pending'", (json.dumps(payload), approval_id)
    )
    return bool(connection.changes())


def unfinished(connection: apsw.Connection) -> list[Approval]:
    """Read the approvals that have ended and are not carried out yet, in the order of their decisions."""
    return some(connection, "WHERE a.status <> 'pending' AND a.payload <> '{}' ORDER BY a.decided_at, a.rowid", ())


def expired(connection: apsw.Connection, moment: str) -> list[Approval]:
    """Read what waits although its time is over at a moment, the longest over first."""
    return some(connection, "WHERE a.status = 'pending' AND a.expires_at <= ? ORDER BY a.expires_at", (moment,))


def earliest_expiry(connection: apsw.Connection) -> str | None:
    """Return when the next of those that wait expires, or None."""
    row = connection.execute(
        "SELECT expires_at FROM approvals WHERE status = 'pending' ORDER BY expires_at LIMIT 1"
    ).fetchone()
    return None if row is None else str(row[0])


def expire_now(connection: apsw.Connection, approval_id: str) -> None:
    """Have an approval that waits be over by now."""
    connection.execute(
        "UPDATE approvals SET expires_at = ? WHERE id = ? AND status = 'pending'", (now_text(), approval_id)
    )


def prune(connection: apsw.Connection, before: str) -> int:
    """Forget what was decided before a moment, with its cards, and return how many these were."""
    connection.execute("DELETE FROM approvals WHERE status <> 'pending' AND decided_at < ?", (before,))
    return int(connection.changes())


def some(connection: apsw.Connection, tail: str, bindings: tuple[str | int | None, ...]) -> list[Approval]:
    """Read approvals (table ``a``) by the rest of a statement; for the store's own modules."""
    return [_approval(row) for row in connection.execute(f"SELECT {_COLUMNS} {_FROM} {tail}", bindings)]


def _approval(row: tuple[Any, ...]) -> Approval:
    values = list(row)
    values[12:14] = from_json(row[12]), json.loads(row[13])
    return Approval(*values)
