"""Migrations of the central database. Nothing here knows how many there are (F-133)."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from nanoclawd.errors import SchemaTooNew
from nanoclawd.store import migrations
from nanoclawd.store.migrations import MIGRATIONS, Migration

APPENDED = Migration("appended-by-a-test", ("CREATE TABLE appended (x TEXT) STRICT",))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    with contextlib.closing(apsw.Connection(str(tmp_path / "central.db"))) as opened:
        yield opened


def ledger(connection: apsw.Connection) -> list[tuple[int, str, str]]:
    return connection.execute("SELECT version, name, applied FROM schema_version ORDER BY version").fetchall()


def schema(connection: apsw.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")]


def test_a_new_database_gets_all_of_them(connection: apsw.Connection):
    """F-8: one line of the ledger each, with name and ISO time."""
    names = [migration.name for migration in MIGRATIONS]
    assert migrations.apply(connection) == names
    assert [row[1] for row in ledger(connection)] == names
    assert [row[0] for row in ledger(connection)] == list(range(1, len(names) + 1))
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row[2]) for row in ledger(connection))


def test_a_second_run_does_nothing(connection: apsw.Connection):
    """F-9"""
    migrations.apply(connection)
    before = (ledger(connection), schema(connection))
    assert migrations.apply(connection) == []
    assert (ledger(connection), schema(connection)) == before


def test_a_migration_that_fails_leaves_nothing(connection: apsw.Connection):
    """F-10: neither its tables nor its rows nor its line; those before it stay, and it can be run again."""
    migrations.apply(connection)
    before = (ledger(connection), schema(connection))
    bad = Migration(
        "bad",
        (
            "CREATE TABLE half_made (x TEXT) STRICT",
            "INSERT INTO images (name, tag, built_at) VALUES ('agent', 'half', 'made')",
            "CREATE TABLE half_made (x TEXT) STRICT",
        ),
    )
    with pytest.raises(apsw.SQLError):
        migrations.apply(connection, (*MIGRATIONS, APPENDED, bad))
    names = [row[1] for row in ledger(connection)]
    assert names == [*(row[1] for row in before[0]), APPENDED.name]
    assert not any("half_made" in sql for sql in schema(connection))
    assert connection.execute("SELECT count(*) FROM images").get == 0
    mended = Migration("bad", ("CREATE TABLE half_made (x TEXT) STRICT",))
    assert migrations.apply(connection, (*MIGRATIONS, APPENDED, mended)) == ["bad"]


def test_only_newer_ones_run_and_in_order(connection: apsw.Connection):
    """F-11, F-133: each needs what the one before it made; what has run is known by its name."""
    steps = (
        Migration("first", ("CREATE TABLE log (step TEXT) STRICT", "INSERT INTO log VALUES ('first')")),
        Migration("second", ("INSERT INTO log VALUES ('second')",)),
        Migration("third", ("INSERT INTO log SELECT 'third after ' || group_concat(step) FROM log",)),
    )
    assert migrations.apply(connection, steps[:1]) == ["first"]
    assert migrations.apply(connection, steps) == ["second", "third"]
    assert [row[0] for row in connection.execute("SELECT step FROM log")] == [
        "first",
        "second",
        "third after first,second",
    ]


def test_names_are_for_ever():
    names = [migration.name for migration in MIGRATIONS]
    assert len(set(names)) == len(names)


def test_a_newer_schema_is_refused_and_not_touched(connection: apsw.Connection):
    migrations.apply(connection, (*MIGRATIONS, APPENDED))
    before = (ledger(connection), schema(connection))
    with pytest.raises(SchemaTooNew, match=APPENDED.name) as caught:
        migrations.apply(connection)
    assert caught.value.hint
    assert (ledger(connection), schema(connection)) == before


def test_answers_to_agents_that_asked_for_passwords_are_not_kept(connection: apsw.Connection):
    """F-140, F-141: a database that comes with such a table loses it, and no new one has it."""
    before = [migration for migration in MIGRATIONS if migration.name != "secrets"]
    migrations.apply(connection, before)
    connection.execute("CREATE TABLE pending_credentials (id TEXT PRIMARY KEY, value TEXT) STRICT")
    connection.execute("INSERT INTO pending_credentials VALUES ('a', 'hunter2')")
    assert migrations.apply(connection) == ["secrets"]
    assert not any("pending_credentials" in sql for sql in schema(connection))
    assert migrations.apply(connection) == []


def test_a_new_database_has_no_place_for_a_value_of_a_secret(connection: apsw.Connection):
    """F-119, F-141: bindings have names, hosts and groups."""
    migrations.apply(connection)
    columns = connection.execute(
        "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.name LIKE 'secret%'"
        " OR c.name LIKE '%credential%' OR c.name LIKE '%password%'"
    ).fetchall()
    assert {name for (name,) in columns if "value" in name or not name.startswith("secret")} == set()
    assert ("secrets.name",) in columns
