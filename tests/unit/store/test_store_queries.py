"""What a message asks of the database is answered from indexes: nothing there grows with the tables."""

from collections.abc import Callable

import apsw
import pytest

from nanoclaw_runner.contract.cards import Option
from nanoclaw_runner.contract.rows import Address
from nanoclawd.config import Access
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.routing.facts import load
from nanoclawd.store import (
    agent_groups,
    approvals,
    chats,
    destinations,
    dropped,
    host_messages,
    members,
    peers,
    questions,
    roles,
    sessions,
    sticky,
    tasks,
    troubles,
    usage,
    user_dms,
    users,
)

MOMENT = "2030-01-01T00:00:00.000Z"
YES = (Option("Yes", "yes", "Yes"),)
RUN = tasks.Run("task-x", MOMENT, "pending", False, 0, None, None, MOMENT, None, None)
TURN = usage.Turn("s/out-1", "ag-x", "main", "abcdefghijkl", "2030-01-01", "m", 1, 1, 0, 0, None, 0, 1.0)

type Ask = Callable[[apsw.Connection], object]

ASKED: dict[str, Ask] = {
    "chat by address": lambda c: chats.by_address(c, "irc", "#den"),
    "wirings of a chat with folders": lambda c: chats.wirings_of_chat(c, "mg-x"),
    "group": lambda c: agent_groups.by_folder(c, "main"),
    "standing": lambda c: roles.standing(c, "irc:ada"),
    "make sticky": lambda c: sticky.make_sticky(c, "mga-x", "thread"),
    "session of a place": lambda c: sessions.find_active(c, "ag-x", "mg-x", "thread"),
    "agent-shared session": lambda c: sessions.find_agent_shared(c, "ag-x"),
    "open cards": lambda c: host_messages.open_cards_for(c, "irc:ada"),
    "pending name": lambda c: approvals.waiting_for_name(c, "irc:ada"),
    "questions of a chat": lambda c: questions.of_chat(c, "irc", "#den", None),
    "question by row": lambda c: questions.by_session_and_row(c, "abcdefghijkl", "out-1"),
    "may write": lambda c: destinations.may_write_to(c, "ag-x", "irc", "#den"),
    "destinations": lambda c: destinations.of_group(c, "ag-x"),
    "user": lambda c: users.ensure(c, "irc:ada"),
    "direct chat": lambda c: user_dms.find(c, "irc:ada", "irc"),
    "owner": roles.has_owner,
    "approval in flight": lambda c: approvals.begin(c, approvals.NewApproval("x", "s", "T", "B", YES, MOMENT)),
    "decide": lambda c: approvals.decide(c, "abcdefghijkl", "approved", "irc:ada", "yes"),
    "expiry of approvals": approvals.earliest_expiry,
    "expired approvals": lambda c: approvals.expired(c, MOMENT),
    "expiry of questions": questions.earliest_expiry,
    "expired questions": lambda c: questions.expired(c, MOMENT),
    "due host messages": lambda c: host_messages.due(c, MOMENT),
    "next host message": lambda c: host_messages.earliest(c, MOMENT),
    "answer to a message": lambda c: host_messages.answer_to(c, "irc", "m1"),
    "record a host message": lambda c: host_messages.record(c, "x", "sending"),
    "reachable channel": lambda c: host_messages.make_channel_due(c, "irc"),
    "clock set back": lambda c: host_messages.bring_forward(c, MOMENT),
    "cards of an approval": lambda c: host_messages.of_approval(c, "abcdefghijkl"),
    "due tasks": lambda c: tasks.due(c, MOMENT, 200),
    "next task": tasks.earliest,
    "runs to hand over": tasks.pending_runs,
    "runs that go on": tasks.dispatched_runs,
    "open runs of a task": lambda c: tasks.open_runs_of(c, "task-x"),
    "open runs of a group": lambda c: tasks.count_open_runs(c, "ag-x"),
    "end of a run": lambda c: tasks.end_run(c, "task-x", MOMENT, "completed"),
    "old runs of a task": lambda c: tasks.prune_runs(c, "task-x", 200),
    "a task's key": lambda c: tasks.by_key(c, "ag-x", "key"),
    "usage of a turn": lambda c: usage.record(c, TURN),
    "usage of a day": lambda c: usage.used_on(c, "2030-01-01"),
    "old usage": lambda c: usage.prune(c, "2029-01-01"),
    "trouble that is over": lambda c: troubles.over(c, "ag-x", ("network", "refused")),
    "message of an agent": lambda c: peers.by_id(c, "peer-x"),
    "messages before it": lambda c: peers.farthest(c, ["peer-x", "peer-y"]),
    "what two sessions said": lambda c: peers.count_between(c, "abcdefghijkl", "bcdefghijklm", MOMENT),
    "old messages of agents": lambda c: peers.prune(c, MOMENT),
    "agent made under a key": lambda c: peers.made_under(c, "ag-x", "key"),
    "known drop": lambda c: dropped.record(c, "irc", "#known", "irc:eve", None, "sender_scope"),
}
OF_THE_OPEN = ("USING INDEX task_runs_open", "USING INDEX tasks_due")
"""Indexes of nothing but what is not done yet: to read one through is no more than that."""

# These order a handful of rows that an index has found.
SORTS = frozenset(
    {
        *("wirings of a chat with folders", "open cards", "pending name", "questions of a chat"),
        *("cards of an approval", "messages before it", "due tasks", "runs to hand over"),
    }
)


def statements_of(connection: apsw.Connection, ask: Ask) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []

    def trace(_: apsw.Cursor, sql: str, bindings: object) -> bool:
        found.append((sql, bindings))
        return True

    connection.exec_trace = trace
    try:
        ask(connection)
    finally:
        connection.exec_trace = None
    return [(sql, bindings) for sql, bindings in found if sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE")]


def plan(connection: apsw.Connection, sql: str, bindings: object) -> list[str]:
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings)]


@pytest.mark.parametrize("name", ASKED)
def test_no_table_is_read_through(connection: apsw.Connection, name: str):
    agent_groups.create(connection, "main")
    dropped.record(connection, "irc", "#known", "irc:eve", None, "no_agent_wired")
    asked = statements_of(connection, ASKED[name])
    assert asked
    for sql, bindings in asked:
        steps = plan(connection, sql, bindings)
        for step in steps:
            first_of_an_index = "USING COVERING INDEX" in step and sql.endswith("LIMIT 1")
            no_table = "CONSTANT ROW" in step or "VIRTUAL TABLE" in step  # the latter: a list of ours, by json_each
            few = no_table or first_of_an_index or any(one in step for one in OF_THE_OPEN)
            assert not step.startswith("SCAN") or few, (sql, steps)
            assert "AUTOMATIC" not in step, (sql, steps)
            assert name in SORTS or "TEMP B-TREE" not in step, (sql, steps)


@pytest.mark.parametrize("buttons", [True, False])
def test_routing_reads_no_table_through(connection: apsw.Connection, buttons: bool):
    """Everything that one event asks, in a chat with an agent."""
    chat = chats.create(connection, "irc", "#den")
    chats.wire(connection, chat.id, agent_groups.create(connection, "main").id)
    event = InboundEvent(Address("irc", "#den", "thread"), "m1", "1", Sender("irc:ada", "Ada"), is_group=False)
    access = Access("public", "public", 24, "main")
    asked = statements_of(connection, lambda c: load(c, event, True, buttons, access))
    assert len(asked) >= 6
    for sql, bindings in asked:
        steps = plan(connection, sql, bindings)
        assert not any(step.startswith("SCAN") or "AUTOMATIC" in step for step in steps), (sql, steps)


def test_a_read_through_is_noticed(connection: apsw.Connection):
    (found,) = statements_of(connection, lambda c: members.every(c, "ag-x"))
    assert any(step.startswith("SCAN") for step in plan(connection, *found))


def test_approvers_come_from_the_index(connection: apsw.Connection):
    (found,) = statements_of(connection, lambda c: roles.approvers(c, "ag-x"))
    steps = plan(connection, *found)
    assert sum("USING INDEX user_roles_of_group" in step for step in steps) == 2, steps
