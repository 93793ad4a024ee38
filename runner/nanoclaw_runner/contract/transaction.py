"""Writing a database in one transaction, on both sides of the contract."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def writing(connection: apsw.Connection) -> Iterator[apsw.Connection]:
    """Run statements in one transaction that takes the write lock at its begin.

    IMMEDIATE, because numbers that are read in it must still be the highest when rows are written (W-12). Not apsw's
    own ``with connection:``, because a full disk makes SQLite roll back by itself, and its savepoint's end then hides
    the error behind another one.

    Raises:
        apsw.BusyError: another connection holds the lock for longer than the busy timeout.
        apsw.Error: what a statement raised; nothing of the transaction has remained.
    """
    if connection.in_transaction:
        yield connection
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
