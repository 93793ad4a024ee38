"""A migrated central database in memory, for properties that need many."""

import apsw

from nanoclawd.store import migrations


def fresh() -> apsw.Connection:
    opened = apsw.Connection(":memory:")
    opened.execute("PRAGMA foreign_keys = ON")
    migrations.apply(opened)
    return opened
