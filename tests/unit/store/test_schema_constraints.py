"""The schema of people refuses what can't be, whoever writes it: each CHECK, UNIQUE, NOT NULL and foreign key."""

import re
from dataclasses import dataclass

import apsw
import pytest

from nanoclawd.store.schema import PEOPLE

NOW = "2026-01-01T00:00:00.000Z"

GROUND = f"""
INSERT INTO agent_groups (id, folder, name, created_at)
  VALUES ('ag-1', 'main', 'm', '{NOW}'), ('ag-2', 'b', 'b', '{NOW}');
INSERT INTO messaging_groups (id, channel_type, platform_id, created_at)
  VALUES ('mg-1', 'irc', '#a', '{NOW}'), ('mg-2', 'irc', '#b', '{NOW}');
INSERT INTO messaging_group_agents (id, messaging_group_id, agent_group_id, created_at)
  VALUES ('mga-1', 'mg-1', 'ag-1', '{NOW}'), ('mga-2', 'mg-2', 'ag-1', '{NOW}');
INSERT INTO sessions (id, agent_group_id, created_at) VALUES ('aaaaaaaaaaaa', 'ag-1', '{NOW}');
"""

# One good row of each table; a fault changes a column or two of it.
GOOD: dict[str, dict[str, object]] = {
    "users": {"id": "irc:ada", "display_name": None, "created_at": NOW},
    "user_roles": {
        "user_id": "irc:known",
        "role": "admin",
        "agent_group_id": "ag-1",
        "granted_by": None,
        "granted_at": NOW,
    },
    "agent_group_members": {"user_id": "irc:known", "agent_group_id": "ag-1", "added_by": None, "added_at": NOW},
    "denied_senders": {"user_id": "irc:known", "agent_group_id": "ag-1", "denied_by": None, "denied_at": NOW},
    "user_dms": {"user_id": "irc:known", "channel": "irc", "messaging_group_id": "mg-1", "resolved_at": NOW},
    "agent_destinations": {
        "agent_group_id": "ag-1",
        "local_name": "den",
        "messaging_group_id": "mg-1",
        "target_group_id": None,
        "wiring_id": "mga-1",
        "created_at": NOW,
    },
    "sticky_threads": {"wiring_id": "mga-1", "thread_id": "t", "since": NOW},
    "approvals": {
        "id": "abcdefghijkl",
        "action": "sender",
        "subject": "s",
        "status": "pending",
        "stage": "decision",
        "name_from": None,
        "agent_group_id": "ag-1",
        "session_id": "aaaaaaaaaaaa",
        "messaging_group_id": "mg-1",
        "user_id": None,
        "title": "T",
        "body": "B",
        "options": "[]",
        "payload": "{}",
        "created_at": NOW,
        "expires_at": NOW,
        "decided_at": None,
        "decided_by": None,
        "decision": None,
    },
    "pending_questions": {
        "question_id": "abcdefghijkl",
        "session_id": "aaaaaaaaaaaa",
        "message_out_id": "out-1",
        "channel_type": "irc",
        "platform_id": "#a",
        "thread_id": None,
        "title": "T",
        "body": "B",
        "options": "[]",
        "agent_reference": "",
        "created_at": NOW,
        "expires_at": NOW,
    },
    "host_messages": {
        "id": "cmd-1",
        "channel_type": "irc",
        "platform_id": "#a",
        "thread_id": None,
        "content": "{}",
        "in_reply_to": None,
        "approval_id": "approval0001",
        "person": None,
        "status": "pending",
        "attempts": 0,
        "next_attempt_at": None,
        "platform_message_id": None,
        "reason": None,
        "created_at": NOW,
        "changed_at": NOW,
    },
    "dropped_messages": {
        "channel_type": "irc",
        "platform_id": "#a",
        "user_id": "",
        "sender_name": None,
        "reason": "no_agent_wired",
        "agent_group_id": "ag-1",
        "message_count": 1,
        "first_seen": NOW,
        "last_seen": NOW,
    },
    "sessions": {
        "id": "bbbbbbbbbbbb",
        "agent_group_id": "ag-1",
        "messaging_group_id": None,
        "thread_id": None,
        "mode": "agent-shared",
        "created_at": NOW,
    },
    "agent_groups": {"id": "ag-3", "folder": "third", "name": "t", "cli_scope": "disabled", "created_at": NOW},
}

NULLABLE = {
    "users": {"display_name"},
    "user_roles": {"agent_group_id", "granted_by"},
    "agent_group_members": {"added_by"},
    "denied_senders": {"denied_by"},
    "agent_destinations": {"target_group_id", "wiring_id"},
    "approvals": {"agent_group_id", "session_id", "messaging_group_id", "user_id"}
    | {"name_from", "decided_at", "decided_by", "decision"},
    "pending_questions": {"thread_id"},
    "host_messages": {"thread_id", "in_reply_to", "approval_id", "person"}
    | {"next_attempt_at", "platform_message_id", "reason"},
    "dropped_messages": {"sender_name", "agent_group_id"},
    "sessions": {"messaging_group_id", "thread_id"},
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that is refused: by which kind of rule, and what is wrong with it."""

    table: str
    rule: str
    changes: tuple[tuple[str, object], ...]

    def __str__(self) -> str:
        return f"{self.table}-{self.rule}-" + ",".join(f"{name}={value!r}"[:40] for name, value in self.changes)


def fault(table: str, rule: str, **changes: object) -> Fault:
    return Fault(table, rule, tuple(changes.items()))


CHECKS = [
    *(fault("users", "CHECK", id=user_id) for user_id in ("", "ada", ":", ":ada", "irc:", "irc", "irc:" + "a" * 509)),
    *(fault("user_roles", "CHECK", role=role) for role in ("", "Owner", "member", "admin ")),
    fault("user_roles", "CHECK", role="owner"),
    *(
        fault("agent_destinations", "CHECK", local_name=name)
        for name in ("", "Den", "d en", "d/n", "../x", "d\nn", "d_n", "\N{LATIN SMALL LETTER E WITH ACUTE}", "x" * 65)
    ),
    fault("agent_destinations", "CHECK", messaging_group_id=None, wiring_id=None),
    fault("agent_destinations", "CHECK", target_group_id="ag-2"),
    fault("agent_destinations", "CHECK", messaging_group_id=None, target_group_id="ag-2"),
    *(fault("approvals", "CHECK", id=text) for text in ("", "short", "ABCDEFGHIJKL", "abcdefghijk-", "a" * 13)),
    *(fault("approvals", "CHECK", action=text) for text in ("", "Sender", "a b", "a1", "a\n")),
    *(fault("approvals", "CHECK", status=text) for text in ("", "done", "PENDING")),
    fault("approvals", "CHECK", stage="more"),
    fault("approvals", "CHECK", stage="name"),
    fault("approvals", "CHECK", name_from="irc:ada"),
    fault("approvals", "CHECK", decided_at=NOW),
    *(fault("approvals", "CHECK", status=status) for status in ("approved", "rejected", "expired")),
    *(
        fault("pending_questions", "CHECK", question_id=text)
        for text in ("", "short", "ABCDEFGHIJKL", "../../../../", "a" * 13)
    ),
    *(fault("host_messages", "CHECK", status=text) for text in ("", "sent", "expired")),
    fault("host_messages", "CHECK", attempts=-1),
    *(fault("dropped_messages", "CHECK", reason=text) for text in ("", "whatever", "unknown_sender")),
    *(fault("dropped_messages", "CHECK", message_count=count) for count in (0, -1)),
    fault("sessions", "CHECK", mode="mine"),
    fault("sessions", "CHECK", mode=""),
    fault("sessions", "CHECK", messaging_group_id="mg-1"),
    *(fault("agent_groups", "CHECK", cli_scope=text) for text in ("", "all", "GROUP")),
]
PARENTS = {
    "user_roles": ("user_id", "agent_group_id"),
    "agent_group_members": ("user_id", "agent_group_id"),
    "denied_senders": ("user_id", "agent_group_id"),
    "user_dms": ("user_id", "messaging_group_id"),
    "agent_destinations": ("agent_group_id", "messaging_group_id", "wiring_id"),
    "sticky_threads": ("wiring_id",),
    "approvals": ("agent_group_id", "session_id", "messaging_group_id"),
    "pending_questions": ("session_id",),
    "host_messages": ("approval_id",),
    "dropped_messages": ("agent_group_id",),
}
ORPHANS = [
    *(fault(table, "FOREIGN KEY", **{column: "irc:gone"}) for table, columns in PARENTS.items() for column in columns),
    fault("agent_destinations", "FOREIGN KEY", messaging_group_id=None, wiring_id=None, target_group_id="ag-gone"),
]
NULLS = [
    fault(table, "NOT NULL", **{column: None})
    for table, row in GOOD.items()
    for column in row
    if column not in NULLABLE.get(table, set()) and (table, column) != ("agent_destinations", "messaging_group_id")
]
WRONG_TYPES = [
    fault(table, "cannot store", **{column: b"\x00\xff"}) for table, row in GOOD.items() for column in row
] + [
    fault("host_messages", "cannot store", attempts="many"),
    fault("dropped_messages", "cannot store", message_count=1.5),
]
# A second row that differs from the good one by so much, and still is the same to a rule.
DOUBLES = [
    fault("users", "UNIQUE", display_name="Other"),
    fault("user_roles", "UNIQUE", granted_at="later"),
    fault("agent_group_members", "UNIQUE", added_at="later"),
    fault("denied_senders", "UNIQUE", denied_at="later"),
    fault("user_dms", "UNIQUE", messaging_group_id="mg-2"),
    fault("agent_destinations", "UNIQUE", messaging_group_id="mg-2", wiring_id="mga-2"),
    fault("agent_destinations", "UNIQUE", local_name="other", wiring_id="mga-2"),
    fault("agent_destinations", "UNIQUE", local_name="other", messaging_group_id="mg-2"),
    fault("sticky_threads", "UNIQUE", since="later"),
    fault("approvals", "UNIQUE", id="another00001"),
    fault("approvals", "UNIQUE", subject="other"),
    fault("pending_questions", "UNIQUE", message_out_id="out-2"),
    fault("pending_questions", "UNIQUE", question_id="another00001"),
    fault("host_messages", "UNIQUE", platform_id="#b"),
    fault("dropped_messages", "UNIQUE", reason="no_identity"),
    fault("sessions", "UNIQUE", id="cccccccccccc"),
]


@pytest.fixture
def ground(connection: apsw.Connection) -> apsw.Connection:
    connection.execute(GROUND)
    connection.execute("INSERT INTO users (id, created_at) VALUES ('irc:known', ?)", (NOW,))
    put(connection, "approvals", GOOD["approvals"] | {"id": "approval0001", "subject": "of the card"})
    return connection


def put(connection: apsw.Connection, table: str, row: dict[str, object]) -> None:
    names = ", ".join(row)
    holes = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({holes})", tuple(row.values()))


def refused(connection: apsw.Connection, one: Fault) -> None:
    before = connection.execute(f"SELECT * FROM {one.table}").fetchall()
    with pytest.raises(apsw.ConstraintError, match=one.rule):
        put(connection, one.table, GOOD[one.table] | dict(one.changes))
    assert connection.execute(f"SELECT * FROM {one.table}").fetchall() == before


@pytest.mark.parametrize("table", GOOD)
def test_good_rows(ground: apsw.Connection, table: str):
    """Else the faults below would prove nothing."""
    put(ground, table, GOOD[table])
    tables = set(re.findall(r"CREATE TABLE (\w+)", " ".join(PEOPLE)))
    assert tables <= set(GOOD)


@pytest.mark.parametrize("one", [*CHECKS, *NULLS, *WRONG_TYPES, *ORPHANS], ids=str)
def test_faulty_rows(ground: apsw.Connection, one: Fault):
    refused(ground, one)


@pytest.mark.parametrize("one", DOUBLES, ids=str)
def test_doubles(ground: apsw.Connection, one: Fault):
    """W-33: also where a column that tells rows apart is NULL (below)."""
    put(ground, one.table, GOOD[one.table])
    refused(ground, one)


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_global_roles_are_there_once(ground: apsw.Connection, role: str):
    """W-33: NULL is not another place than NULL."""
    everywhere = GOOD["user_roles"] | {"role": role, "agent_group_id": None}
    put(ground, "user_roles", everywhere)
    with pytest.raises(apsw.ConstraintError, match="UNIQUE"):
        put(ground, "user_roles", everywhere)
    with pytest.raises(apsw.ConstraintError, match="UNIQUE"):
        ground.execute("INSERT INTO user_roles SELECT * FROM user_roles")


def test_what_is_no_double(ground: apsw.Connection):
    """Roles in two places, a decided approval beside a new one, a closed agent-shared session beside an active one."""
    put(ground, "user_roles", GOOD["user_roles"])
    put(ground, "user_roles", GOOD["user_roles"] | {"agent_group_id": "ag-2"})
    put(ground, "user_roles", GOOD["user_roles"] | {"agent_group_id": None})
    put(ground, "user_roles", GOOD["user_roles"] | {"agent_group_id": None, "role": "owner"})
    put(ground, "approvals", GOOD["approvals"] | {"status": "expired", "decided_at": NOW})
    put(ground, "approvals", GOOD["approvals"] | {"id": "another00001"})
    put(ground, "approvals", GOOD["approvals"] | {"id": "another00002", "action": "chat"})
    put(ground, "sessions", GOOD["sessions"] | {"status": "closed"})
    put(ground, "sessions", GOOD["sessions"] | {"id": "cccccccccccc"})
    put(ground, "sessions", GOOD["sessions"] | {"id": "dddddddddddd", "agent_group_id": "ag-2"})
    put(ground, "agent_destinations", GOOD["agent_destinations"] | {"wiring_id": None})
    put(ground, "agent_destinations", GOOD["agent_destinations"] | {"agent_group_id": "ag-2", "wiring_id": None})


def test_updates_are_held_to_the_same(ground: apsw.Connection):
    for table, row in GOOD.items():
        put(ground, table, row)
    ground.execute("UPDATE approvals SET stage = 'name', name_from = 'irc:ada' WHERE id = 'abcdefghijkl'")
    for statement in (
        "UPDATE users SET id = NULL WHERE id = 'irc:ada'",
        "UPDATE user_roles SET role = 'owner'",
        "UPDATE approvals SET name_from = NULL WHERE id = 'abcdefghijkl'",
        "UPDATE approvals SET stage = 'decision' WHERE id = 'abcdefghijkl'",
        "UPDATE approvals SET status = 'approved'",
        "UPDATE approvals SET decided_at = 'now'",
        "UPDATE approvals SET subject = 's'",
        "UPDATE agent_destinations SET target_group_id = 'ag-2'",
        "UPDATE agent_destinations SET agent_group_id = 'ag-gone'",
        "UPDATE sessions SET messaging_group_id = 'mg-1' WHERE id = 'bbbbbbbbbbbb'",
        "UPDATE sessions SET mode = 'agent-shared'",
        "UPDATE host_messages SET status = 'sent'",
        "UPDATE dropped_messages SET message_count = 0",
        "UPDATE agent_groups SET cli_scope = NULL",
    ):
        with pytest.raises(apsw.ConstraintError):
            ground.execute(statement)


@pytest.mark.parametrize(
    ("deleted", "gone", "left"),
    [
        ("users WHERE id = 'irc:known'", "user_roles agent_group_members denied_senders user_dms", ""),
        ("messaging_group_agents WHERE id = 'mga-1'", "agent_destinations sticky_threads", "user_dms approvals"),
        (
            "messaging_groups WHERE id = 'mg-1'",
            "agent_destinations sticky_threads user_dms approvals host_messages",
            "",
        ),
        ("sessions WHERE id = 'aaaaaaaaaaaa'", "pending_questions", "approvals host_messages"),
        (
            "agent_groups WHERE id = 'ag-1'",
            "user_roles agent_group_members denied_senders agent_destinations sticky_threads approvals sessions",
            "users user_dms dropped_messages",
        ),
        ("agent_groups WHERE id = 'ag-1'", "pending_questions host_messages", "messaging_groups"),
        ("approvals", "host_messages", "sessions"),
    ],
)
def test_what_goes_along(ground: apsw.Connection, deleted: str, gone: str, left: str):
    """Nothing dangles: what only belongs to the deleted goes, the rest stays without it."""
    for table, row in GOOD.items():
        put(ground, table, row)
    ground.execute(f"DELETE FROM {deleted}")
    assert ground.execute("PRAGMA foreign_key_check").fetchall() == []
    for table in gone.split():
        assert ground.execute(f"SELECT count(*) FROM {table}").get == 0, table
    for table in left.split():
        assert ground.execute(f"SELECT count(*) FROM {table}").get > 0, table
