"""``central.db``: one connection, one thread, write-ahead log, durable commits.

SQLite is blocking, so the connection lives in a thread of its own (one writer and a queue, as datasette does it) and
the event loop awaits the answer. All of the appliance's tables are small; every statement here is indexed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw

from nanoclawd.errors import NanoclawError, Unavailable
from nanoclawd.store import migrations

BUSY_TIMEOUT_MS = 5000
"""A backup tool may hold the file for a moment (W-42)."""

_NOT_NOW = (apsw.BusyError, apsw.CantOpenError, apsw.FullError, apsw.IOError, apsw.ReadOnlyError)
_NOT_OPEN = "the central database is not open: Database.open() comes first"
_CLOSED = "the daemon is being stopped"


class Database:
    """The central database, used as ``await database.run(function, *arguments)``.

    A function gets the connection first. One that writes more than a row wraps itself in ``with writing(connection):``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="central-db")
        self._connection: apsw.Connection | None = None
        self._closed = False

    async def open(self) -> None:
        """Open or create the file and bring its schema up to date.

        Raises:
            SchemaTooNew: a newer version of the appliance has used this file.
            NanoclawError: the file can't be opened or is not a database.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def run[T](self, function: Callable[..., T], *arguments: object) -> T:
        """Run a function with the connection in the database's thread.

        Raises:
            Unavailable: the database was closed: what was asked is tried again by the next daemon. Or somebody else
                holds it, the disk is full or not writable: nothing has changed, and the same may be tried again.
            NanoclawError: it was never opened.
        """
        if self._closed:
            raise Unavailable(_CLOSED)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, function, arguments)

    async def close(self) -> None:
        """Close the file; waits for what is under way. Again does nothing."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _open(self) -> None:
        try:
            self._connection = connect(self._path)
        except (apsw.Error, OSError) as error:
            raise NanoclawError(
                f"{self._path}: the central database can't be opened: {error}",
                hint=f"sudo ls -l {self._path}; journalctl -u nanoclawd",
            ) from error

    def _call[T](self, function: Callable[..., T], arguments: tuple[object, ...]) -> T:
        if self._connection is None:
            raise NanoclawError(_NOT_OPEN)
        try:
            return function(self._connection, *arguments)
        except _NOT_NOW as error:
            raise Unavailable(f"the central database can't be used now: {error}", hint="df -h; ncl doctor") from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(path: Path) -> apsw.Connection:
    """Open ``central.db`` with the pragmas that the appliance relies on, and migrate it.

    Raises:
        SchemaTooNew: a newer version of the appliance has used this file.
        NanoclawError: another program's database.
        apsw.Error: the file can't be opened or is not a database.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        _check_ours(connection, path)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        migrations.apply(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_ours(connection: apsw.Connection, path: Path) -> None:
    """Refuse another program's database before anything is written: it would get our tables beside its own."""
    if connection.execute("SELECT count(*) FROM sqlite_schema").get and not migrations.has_ledger(connection):
        raise NanoclawError(
            f"{path}: this is another program's database",
            hint=f"sudo mv {path} {path}.other; sudo systemctl restart nanoclawd",
        )
