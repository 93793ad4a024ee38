"""A database of the first schema with people's data in it becomes one of the second, and loses nothing."""

from pathlib import Path

import apsw
import pytest

from nanoclawd.store import agent_groups, chats, destinations, members, migrations, roles, sessions
from nanoclawd.store.database import connect
from nanoclawd.store.migrations import MIGRATIONS

OLD_TABLES = ("agent_groups", "messaging_groups", "messaging_group_agents", "sessions", "images")
SINCE = "2026-01-01T00:00:00.000Z"
ROWS = f"""
INSERT INTO agent_groups (id, folder, name, provider, instructions, created_at)
  VALUES ('ag-1', 'main', 'Ada', 'openai', 'Be brief.', '{SINCE}'), ('ag-2', 'other', 'o', NULL, '', '{SINCE}');
INSERT INTO messaging_groups (id, channel_type, platform_id, name, is_group, unknown_sender_policy, created_at)
  VALUES ('mg-1', 'terminal', 'ada/main', 'ada', 0, 'public', '{SINCE}'),
  ('mg-2', 'telegram', '-100', 'Den', 1, 'strict', '{SINCE}'),
  ('mg-3', 'telegram', '-200', NULL, 1, 'strict', '{SINCE}');
INSERT INTO messaging_group_agents (id, messaging_group_id, agent_group_id, engage_mode, engage_pattern, created_at)
  VALUES ('mga-1', 'mg-1', 'ag-1', 'pattern', '.', '{SINCE}'), ('mga-2', 'mg-2', 'ag-1', 'mention', NULL, '{SINCE}'),
  ('mga-3', 'mg-2', 'ag-2', 'mention', NULL, '{SINCE}'), ('mga-4', 'mg-3', 'ag-1', 'mention', NULL, '{SINCE}');
INSERT INTO sessions (id, agent_group_id, messaging_group_id, thread_id, status, next_due_at, created_at)
  VALUES ('aaaaaaaaaaaa', 'ag-1', 'mg-1', NULL, 'active', '2030-01-01T00:00:00.000Z', '{SINCE}'),
  ('bbbbbbbbbbbb', 'ag-1', 'mg-2', 't', 'closed', NULL, '{SINCE}'),
  ('cccccccccccc', 'ag-2', NULL, NULL, 'active', NULL, '{SINCE}');
INSERT INTO images VALUES ('agent', 'tag', '{SINCE}');
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "central.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA foreign_keys = ON")
    migrations.apply(connection, MIGRATIONS[:1])
    connection.execute(ROWS)
    connection.close()
    return path


def contents(connection: apsw.Connection, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    return {
        table: connection.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY rowid").fetchall()
        for table, names in columns.items()
    }


def columns_of(connection: apsw.Connection) -> dict[str, list[str]]:
    return {
        table: [str(row[0]) for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
        for table in OLD_TABLES
    }


def test_nothing_is_lost(old: Path):
    """W-32: a group of before can start after; its scope is its own group's."""
    before = apsw.Connection(str(old))
    columns = columns_of(before)
    expected = contents(before, columns)
    before.close()
    connection = connect(old)
    assert contents(connection, columns) == expected
    assert [group.cli_scope for group in agent_groups.every(connection)] == ["group", "group"]
    assert [session.mode for session in sessions.every(connection)] == ["shared"] * 3
    assert {chat.denied_at for chat in chats.every(connection)} == {None}
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    connection.close()


def test_wirings_of_before_have_their_destinations(old: Path):
    """W-31: an agent may write after the upgrade where it was heard before, under a name that it can use."""
    connection = connect(old)
    book = {
        group.folder: [(one.local_name, one.platform_id) for one in destinations.of_group(connection, group.id)]
        for group in agent_groups.every(connection)
    }
    assert {name: {place for _, place in entries} for name, entries in book.items()} == {
        "main": {"ada/main", "-100", "-200"},
        "other": {"-100"},
    }
    for wiring in chats.every_wiring(connection):
        assert destinations.may_write_to(connection, wiring.agent_group_id, wiring.channel_type, wiring.platform_id)
        assert all(name == destinations.normalised(name) for name, _ in book[wiring.group])
        chats.unwire(connection, wiring.id)
    assert destinations.every(connection) == []
    connection.close()


def test_an_upgraded_database_is_in_use(old: Path):
    """F-82: the terminal's chat of before is found; sessions of before are found for their places."""
    connection = connect(old)
    main = agent_groups.by_folder(connection, "main")
    assert chats.ensure_terminal(connection, "ada/main", "ada", main.id).id == "mg-1"
    assert len(chats.every_wiring(connection)) == 4
    found = sessions.find_active(connection, main.id, "mg-1", None)
    assert found is not None
    assert found.id == "aaaaaaaaaaaa"
    assert sessions.find_agent_shared(connection, "ag-2") is None
    roles.grant(connection, "terminal:ada", "owner")
    members.add(connection, "telegram:1", main.id)
    assert agent_groups.create(connection, "third").number == 3
    connection.close()


def test_an_upgrade_that_fails_changes_nothing(old: Path):
    before = old.read_bytes()
    connection = apsw.Connection(str(old))
    broken = migrations.Migration(MIGRATIONS[1].name, (*MIGRATIONS[1].statements, "SELECT no_such_function()"))
    with pytest.raises(apsw.SQLError):
        migrations.apply(connection, (MIGRATIONS[0], broken))
    connection.close()
    assert old.read_bytes() == before
    connect(old).close()
