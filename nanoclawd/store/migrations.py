"""Named, transactional migrations of ``central.db``.

A migration is known by its name; its place in :data:`MIGRATIONS` is its order. Each runs in one transaction with its
line in ``schema_version``. A ledger with a name that this version doesn't know comes from a newer appliance: refused,
because to write into a schema one doesn't understand loses data.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.errors import SchemaTooNew
from nanoclawd.store.schema import INITIAL, PEOPLE
from nanoclawd.store.schema_added_channels import ADDED_CHANNELS
from nanoclawd.store.schema_channels import MOVED_CHATS
from nanoclawd.store.schema_egress import EGRESS, EGRESS_GRANTS, EGRESS_INSIDE
from nanoclawd.store.schema_groups import GROUP_CONFIGURATION
from nanoclawd.store.schema_hooks import HOOKS
from nanoclawd.store.schema_peers import PEERS
from nanoclawd.store.schema_secrets import SECRETS
from nanoclawd.store.schema_tasks import TASKS
from nanoclawd.store.schema_usage import USAGE


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its name for ever, and the statements that it runs."""

    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration("initial-schema", INITIAL),
    Migration("people-and-permissions", PEOPLE),
    Migration("group-configuration", GROUP_CONFIGURATION),
    Migration("tasks", TASKS),
    Migration("peers", PEERS),
    Migration("usage", USAGE),
    Migration("moved-chats", MOVED_CHATS),
    Migration("added-channels", ADDED_CHANNELS),
    Migration("hooks", HOOKS),
    Migration("egress", EGRESS),
    Migration("egress-inside", EGRESS_INSIDE),
    Migration("secrets", SECRETS),
    Migration("egress-grants", EGRESS_GRANTS),
)

_LEDGER = """CREATE TABLE IF NOT EXISTS schema_version (
  version INTEGER PRIMARY KEY NOT NULL,
  name TEXT NOT NULL UNIQUE,
  applied TEXT NOT NULL
) STRICT"""


def apply(connection: apsw.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> list[str]:
    """Run the migrations that this file has not seen, in order, and return their names.

    Raises:
        SchemaTooNew: the file names a migration that is not in the list.
        apsw.Error: a migration failed; nothing of it has remained.
    """
    connection.execute(_LEDGER)
    done = {str(row[0]) for row in connection.execute("SELECT name FROM schema_version")}
    unknown = sorted(done - {migration.name for migration in migrations})
    if unknown:
        raise SchemaTooNew(
            f"the central database was made by a newer nanoclawd (unknown migration: {', '.join(unknown)})",
            hint="install the newer nanoclawd again, or restore the backup that was made before the upgrade",
        )
    return [_run(connection, migration) for migration in migrations if migration.name not in done]


def has_ledger(connection: apsw.Connection) -> bool:
    """Tell whether this file has our ledger of migrations."""
    columns = connection.execute("SELECT name FROM pragma_table_info('schema_version') ORDER BY cid")
    return [row[0] for row in columns] == ["version", "name", "applied"]


def _run(connection: apsw.Connection, migration: Migration) -> str:
    with writing(connection):
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO schema_version (version, name, applied)"
            " SELECT coalesce(max(version), 0) + 1, ?, ? FROM schema_version",
            (migration.name, now_text()),
        )
    return migration.name
