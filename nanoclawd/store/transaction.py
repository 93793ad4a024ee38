"""Several rows at once, also inside a caller's own transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw

from nanoclaw_runner.contract.transaction import writing


@contextmanager
def together(connection: apsw.Connection) -> Iterator[None]:
    """Run statements that hold together or not at all: in a transaction, or in the caller's as a savepoint.

    An approval grants, wires and posts at once, and each of these writes several rows by itself.

    Raises:
        apsw.Error: what a statement raised; nothing of these statements has remained.
    """
    if not connection.in_transaction:
        with writing(connection):
            yield
        return
    connection.execute("SAVEPOINT together")
    try:
        yield
        connection.execute("RELEASE together")
    except BaseException:
        # A full disk has made SQLite roll back everything by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK TO together")
            connection.execute("RELEASE together")
        raise
