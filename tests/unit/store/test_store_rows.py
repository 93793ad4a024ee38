"""The rows of the central database: groups, chats, wirings, sessions, and what the schema itself refuses."""

from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from nanoclawd.errors import AlreadyExists, InvalidName, NotFound
from nanoclawd.store import agent_groups, chats, sessions
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import connect


def test_a_groups_life(connection: apsw.Connection):
    """F-12: create, read by id and folder, list, update, delete."""
    created = agent_groups.create(connection, "home", "Homer", "openai", "embedded/smollm2", "Be brief.")
    assert (created.folder, created.name, created.provider, created.model, created.instructions) == (
        "home",
        "Homer",
        "openai",
        "embedded/smollm2",
        "Be brief.",
    )
    assert agent_groups.by_id(connection, created.id) == created
    assert agent_groups.by_folder(connection, "home") == created
    other = agent_groups.create(connection, "other")
    assert (other.name, other.provider, other.model, other.instructions) == ("other", None, None, "")
    assert agent_groups.every(connection) == [created, other]
    assert (created.cli_scope, agent_groups.create(connection, "open", cli_scope="global").cli_scope) == (
        "group",
        "global",
    )
    agent_groups.delete(connection, agent_groups.by_folder(connection, "open").id)
    changed = replace(created, name="Bart", model=None, cli_scope="disabled")
    assert agent_groups.update(connection, changed) == changed
    assert agent_groups.by_folder(connection, "home") == changed
    assert agent_groups.by_folder(connection, "other") == other
    agent_groups.delete(connection, created.id)
    with pytest.raises(NotFound, match="home"):
        agent_groups.by_folder(connection, "home")
    with pytest.raises(NotFound):
        agent_groups.by_id(connection, created.id)
    with pytest.raises(NotFound):
        agent_groups.update(connection, changed)


def test_one_folder_one_group(connection: apsw.Connection, group: AgentGroup):
    """F-13"""
    with pytest.raises(AlreadyExists, match="main"):
        agent_groups.create(connection, "main", "Another")
    assert agent_groups.every(connection) == [group]
    with pytest.raises(apsw.ConstraintError):
        connection.execute(
            "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', 'main', 'x', '2026-01-01')"
        )


def test_a_bad_name_is_refused_with_the_rule(connection: apsw.Connection):
    with pytest.raises(InvalidName, match="begins and ends with a letter or digit"):
        agent_groups.create(connection, "main\n")
    assert agent_groups.every(connection) == []


def test_a_groups_number_never_comes_back(connection: apsw.Connection):
    """The number makes the uid: files of a deleted group must never belong to a new one, also after a restart."""
    numbers = []
    for _ in range(3):
        made = agent_groups.create(connection, "same")
        numbers.append(made.number)
        assert made.uid == 1000 + made.number
        agent_groups.delete(connection, made.id)
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 1
    path = connection.filename
    connection.close()
    again = connect(Path(path))
    assert agent_groups.create(again, "same").number > numbers[-1]
    again.close()


def test_a_chats_life(connection: apsw.Connection):
    """F-14"""
    created = chats.create(connection, "telegram", "-100200", "Family", is_group=True)
    assert (created.channel_type, created.platform_id, created.name, created.is_group) == (
        "telegram",
        "-100200",
        "Family",
        True,
    )
    assert chats.by_id(connection, created.id) == created
    assert chats.by_address(connection, "telegram", "-100200") == created
    assert chats.rename(connection, created.id, None) == replace(created, name=None)
    chats.delete(connection, created.id)
    assert chats.by_address(connection, "telegram", "-100200") is None
    with pytest.raises(NotFound):
        chats.by_id(connection, created.id)
    with pytest.raises(NotFound):
        chats.rename(connection, created.id, "gone")


def test_one_address_one_chat(connection: apsw.Connection, chat: Chat):
    """F-15: the same id on another channel is another chat."""
    with pytest.raises(AlreadyExists):
        chats.create(connection, chat.channel_type, chat.platform_id)
    assert chats.create(connection, "irc", chat.platform_id).id != chat.id


def test_any_chat_with_any_agent(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-16: one chat with two agents, one agent in two chats."""
    other_group = agent_groups.create(connection, "other")
    other_chat = chats.create(connection, "irc", "#den")
    made = [
        chats.wire(connection, in_chat.id, agent.id) for in_chat in (chat, other_chat) for agent in (group, other_group)
    ]
    of_chats = [*chats.wirings_of_chat(connection, chat.id), *chats.wirings_of_chat(connection, other_chat.id)]
    assert of_chats == made
    of_agents = [*chats.wirings_of_agent(connection, group.id), *chats.wirings_of_agent(connection, other_group.id)]
    assert sorted(of_agents, key=lambda wiring: wiring.id) == sorted(made, key=lambda wiring: wiring.id)


def test_a_pair_is_wired_once(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-17"""
    chats.wire(connection, chat.id, group.id)
    with pytest.raises(AlreadyExists, match="wired already"):
        chats.wire(connection, chat.id, group.id, priority=5)
    assert [wiring.priority for wiring in chats.wirings_of_chat(connection, chat.id)] == [0]


def test_wirings_by_priority(connection: apsw.Connection, chat: Chat):
    """F-18: highest first; equal ones in the order in which they were made."""
    for priority in (1, 10, 5, 10):
        agent = agent_groups.create(connection, f"p{priority}-{len(agent_groups.every(connection))}")
        chats.wire(connection, chat.id, agent.id, priority=priority)
    found = chats.wirings_of_chat(connection, chat.id)
    assert [wiring.priority for wiring in found] == [10, 10, 5, 1]
    assert [wiring.group for wiring in found] == ["p10-1", "p10-3", "p5-2", "p1-0"]


def test_a_wiring_needs_both_ends(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-19"""
    with pytest.raises(NotFound):
        chats.wire(connection, chat.id, "ag-nobody")
    with pytest.raises(NotFound):
        chats.wire(connection, "mg-nowhere", group.id)
    assert chats.wirings_of_chat(connection, chat.id) == []


def test_a_wirings_defaults(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-20: also those of the schema itself."""
    connection.execute(
        "INSERT INTO messaging_group_agents (id, messaging_group_id, agent_group_id, created_at) VALUES (?, ?, ?, ?)",
        ("mga-bare", chat.id, group.id, "2026-01-01T00:00:00.000Z"),
    )
    bare = chats.wirings_of_chat(connection, chat.id)[0]
    assert (bare.session_mode, bare.priority, bare.engage_mode) == ("shared", 0, "mention")
    assert (bare.sender_scope, bare.ignored_message_policy) == ("all", "drop")
    other = agent_groups.create(connection, "other")
    made = chats.wire(connection, chat.id, other.id)
    same_ends = replace(made, agent_group_id=bare.agent_group_id, group=bare.group)
    assert replace(same_ends, id=bare.id, created_at=bare.created_at) == bare


@pytest.mark.parametrize(
    "fault", [{"session_mode": "mine"}, {"engage_mode": "always"}, {"engage_mode": "pattern", "engage_pattern": None}]
)
def test_a_bad_wiring_is_not_called_a_double_one(
    connection: apsw.Connection, group: AgentGroup, chat: Chat, fault: dict[str, str | None]
):
    with pytest.raises(apsw.ConstraintError, match="CHECK"):
        chats.wire(connection, chat.id, group.id, **fault)


def test_a_bad_policy_is_not_called_a_double_chat(connection: apsw.Connection):
    with pytest.raises(apsw.ConstraintError, match="CHECK"):
        chats.create(connection, "irc", "#den", unknown_sender_policy="whatever")


def test_the_terminals_chat_is_made_once(connection: apsw.Connection, group: AgentGroup):
    """F-82: again makes nothing new."""
    first = chats.ensure_terminal(connection, "ada/main", "ada", group.id)
    assert chats.ensure_terminal(connection, "ada/main", "ada", group.id) == first
    assert len(chats.wirings_of_chat(connection, first.id)) == 1
    assert connection.execute("SELECT count(*) FROM messaging_groups").get == 1


def test_lookup_without_a_thread(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-21: finds only the active session whose thread is null."""
    assert sessions.find_active(connection, group.id, chat.id, None) is None
    sessions.create(connection, group.id, chat.id, "thread")
    assert sessions.find_active(connection, group.id, chat.id, None) is None
    plain = sessions.create(connection, group.id, chat.id)
    assert sessions.find_active(connection, group.id, chat.id, None) == plain


def test_lookup_with_a_thread(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-22"""
    sessions.create(connection, group.id, chat.id)
    assert sessions.find_active(connection, group.id, chat.id, "thread") is None
    threaded = sessions.create(connection, group.id, chat.id, "thread")
    sessions.create(connection, group.id, chat.id, "another")
    assert sessions.find_active(connection, group.id, chat.id, "thread") == threaded


def test_closed_sessions_are_found_no_more(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """F-23: but are listed; and their place is free for a new one."""
    closed = sessions.create(connection, group.id, chat.id)
    sessions.mark_asleep(connection, closed.id, None, "2026-01-01T00:00:00.000Z")
    sessions.close(connection, closed.id)
    assert sessions.find_active(connection, group.id, chat.id, None) is None
    assert [session.id for session in sessions.of_group(connection, group.id)] == [closed.id]
    assert sessions.due(connection, "2027-01-01T00:00:00.000Z") == []
    assert sessions.count(connection) == 0
    fresh = sessions.create(connection, group.id, chat.id)
    assert sessions.find_active(connection, group.id, chat.id, None) == fresh


def test_the_awake_ones(connection: apsw.Connection, group: AgentGroup):
    """F-24: running and idle only."""
    by_status = {}
    for status in ("running", "idle", "stopped"):
        session = sessions.create(connection, group.id, None)
        connection.execute("UPDATE sessions SET container_status = ? WHERE id = ?", (status, session.id))
        by_status[status] = session.id
    assert {session.id for session in sessions.awake(connection)} == {by_status["running"], by_status["idle"]}
    assert [row[1] for row in sessions.outbound_identities(connection)] == [by_status["stopped"]]


def test_a_sessions_defaults(connection: apsw.Connection, group: AgentGroup):
    """F-25"""
    session = sessions.create(connection, group.id, None)
    assert (session.status, session.container_status, session.group) == ("active", "stopped", "main")
    assert (session.quarantine_reason, session.next_due_at, session.outbound_identity) == (None, None, None)


def test_a_shared_session_belongs_to_no_chat(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """W-22: agent-shared finds its own session, never the newest of some chat; there is one an agent."""
    of_chat = sessions.create(connection, group.id, chat.id)
    sessions.create(connection, group.id, None)
    assert sessions.find_agent_shared(connection, group.id) is None
    shared = sessions.create(connection, group.id, None, mode="agent-shared")
    sessions.create(connection, group.id, chat.id, "newer", mode="per-thread")
    assert (shared.mode, of_chat.mode) == ("agent-shared", "shared")
    assert sessions.find_agent_shared(connection, group.id) == shared
    assert sessions.find_active(connection, group.id, chat.id, None) == of_chat
    with pytest.raises(apsw.ConstraintError):
        sessions.create(connection, group.id, None, mode="agent-shared")
    with pytest.raises(apsw.ConstraintError):
        sessions.create(connection, agent_groups.create(connection, "other").id, chat.id, mode="agent-shared")
    sessions.close(connection, shared.id)
    assert sessions.find_agent_shared(connection, group.id) is None
    assert sessions.create(connection, group.id, None, mode="agent-shared").id != shared.id


def test_one_place_one_active_session(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    """No thread and an empty thread are the same place; a session without a chat has none."""
    sessions.create(connection, group.id, chat.id)
    for thread in (None, ""):
        with pytest.raises(apsw.ConstraintError):
            sessions.create(connection, group.id, chat.id, thread)
    sessions.create(connection, group.id, chat.id, "a")
    with pytest.raises(apsw.ConstraintError):
        sessions.create(connection, group.id, chat.id, "a")
    sessions.create(connection, agent_groups.create(connection, "other").id, chat.id)
    sessions.create(connection, group.id, None)
    sessions.create(connection, group.id, None)


def test_deleting_takes_along_what_belongs(connection: apsw.Connection, group: AgentGroup, chat: Chat):
    chats.wire(connection, chat.id, group.id)
    session = sessions.create(connection, group.id, chat.id)
    chats.delete(connection, chat.id)
    assert chats.wirings_of_agent(connection, group.id) == []
    assert sessions.by_id(connection, session.id).messaging_group_id is None
    agent_groups.delete(connection, group.id)
    with pytest.raises(NotFound):
        sessions.by_id(connection, session.id)


def test_due_sessions(connection: apsw.Connection, group: AgentGroup):
    times = ["2026-04-16T14:37:00.000Z", "2026-04-16T14:37:00.001Z", "2027-01-01T00:00:00.000Z", None]
    ids = [sessions.create(connection, group.id, None).id for _ in times]
    for session_id, moment in zip(ids, times, strict=True):
        sessions.mark_asleep(connection, session_id, "1:2:3", moment)
    assert [session.id for session in sessions.due(connection, "2026-04-16T14:37:00.000Z")] == ids[:1]
    assert [session.id for session in sessions.due_after(connection, "2026-04-16T14:37:00.000Z")] == ids[1:3]
    assert sessions.earliest_due(connection, "2026-04-16T14:37:00.000Z") == times[1]
    assert sessions.earliest_due(connection, "2027-01-01T00:00:00.000Z") is None


def test_sessions_by_the_beginning_of_their_id(connection: apsw.Connection, group: AgentGroup):
    for session_id in ("aaaaaaaaaaaa", "aaaaaaaaaaab", "ab0000000000", "zzzzzzzzzzzz"):
        sessions.create(connection, group.id, None, session_id=session_id)
    assert [found.id for found in sessions.by_prefix(connection, "ab")] == ["ab0000000000"]
    assert len(sessions.by_prefix(connection, "a")) == 2
    assert [found.id for found in sessions.by_prefix(connection, "zzzzzzzzzzzz")] == ["zzzzzzzzzzzz"]
    assert sessions.by_prefix(connection, "%") == []


GARBAGE = [
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', 'UPPER', 'x', 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', '', 'x', 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', printf('%032d', 0), 'x', 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', 'a/b', 'x', 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', 'a' || char(10), 'x', 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES (NULL, 'ok', 'x', 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', 'ok', NULL, 't')",
    "INSERT INTO agent_groups (id, folder, name, created_at) VALUES ('x', 'ok', x'00ff', 't')",
    "INSERT INTO messaging_groups (id, channel_type, platform_id, is_group, created_at) VALUES ('x', 'a', 'b', 2, 't')",
    "INSERT INTO messaging_groups (id, channel_type, platform_id, created_at) VALUES ('x', NULL, 'b', 't')",
    "INSERT INTO messaging_groups (id, channel_type, platform_id, is_group, created_at) VALUES ('x', 'a', 'b', '', '')",
    "INSERT INTO sessions (id, agent_group_id, created_at) SELECT 'short', id, 't' FROM agent_groups",
    "INSERT INTO sessions (id, agent_group_id, created_at) SELECT 'ABCDEFGHIJKL', id, 't' FROM agent_groups",
    "INSERT INTO sessions (id, agent_group_id, created_at) SELECT '../../../../', id, 't' FROM agent_groups",
    "INSERT INTO sessions (id, agent_group_id, created_at) VALUES ('abcdefghijkl', 'ag-nobody', 't')",
    "UPDATE sessions SET status = 'asleep'",
    "UPDATE sessions SET container_status = 'dead'",
    "UPDATE sessions SET id = NULL",
    "INSERT INTO images (name, tag, built_at) VALUES ('agent', NULL, 't')",
]


@pytest.mark.parametrize("statement", GARBAGE)
def test_the_schema_refuses_garbage(connection: apsw.Connection, group: AgentGroup, statement: str):
    session = sessions.create(connection, group.id, None)
    with pytest.raises(apsw.ConstraintError):
        connection.execute(statement)
    assert agent_groups.every(connection) == [group]
    assert sessions.every(connection) == [session]
    for table in ("messaging_groups", "images"):
        assert connection.execute(f"SELECT count(*) FROM {table}").get == 0
