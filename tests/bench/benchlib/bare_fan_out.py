"""The least that a fan-out's commits can cost: one in each of twenty databases, and their file operations alone."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import apsw

from benchlib.commits import INSERT_IN
from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.schema import INBOUND_DDL, apply_session_pragmas, create

_PAGE: Final = b"p" * 4096
_JOURNALLED: Final = b"j" * (4 + 4096 + 4)
_JOURNAL_HEADER: Final = b"h" * 512
_HEADER_SYNCED: Final = _JOURNAL_HEADER[:12]
_PAGES: Final = 6
"""So many does a message change: the database's header, the table, four indices (counted with strace)."""


class BareFanOut:
    """Does the commits side by side, one thread for each: without the product, then without SQLite as well."""

    def __init__(self, state: Path, count: int) -> None:
        self._directory = state / "bare-fan-out"
        self._directory.mkdir()
        self._threads = ThreadPoolExecutor(count)
        self._databases = [_database(self._directory / f"database-{number}") for number in range(count)]
        self._files = [_Files(self._directory / f"files-{number}") for number in range(count)]
        self._number = 0

    def commits(self, count: int) -> None:
        """Insert a message into each of so many databases."""
        self._number += 1
        seq, now = self._number * 2, now_text()
        message = f"bench-{seq:019}-000:bench"
        row = (message, seq, now, message, message, '{"text": "hello"}')
        self._side_by_side([partial(one.execute, INSERT_IN, row) for one in self._databases[:count]])

    def file_operations(self, count: int) -> None:
        """Do to so many files what SQLite does to them in such a commit."""
        self._side_by_side([one.commit for one in self._files[:count]])

    def close(self) -> None:
        """Remove the files."""
        self._threads.shutdown()
        for database in self._databases:
            database.close()
        for files in self._files:
            files.close()
        shutil.rmtree(self._directory)

    def _side_by_side(self, functions: list[Callable[[], object]]) -> None:
        for future in [self._threads.submit(function) for function in functions]:
            future.result()


class _Files:
    """A file, and its journal while it is written: the writes and the syncs of a rollback-journal commit."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._journal = directory / "file-journal"
        self._file = os.open(directory / "file", os.O_RDWR | os.O_CREAT, 0o640)
        os.pwrite(self._file, _PAGE * _PAGES, 0)
        os.fsync(self._file)

    def commit(self) -> None:
        """Journal, its place in the directory, its header, the file, the journal's end: five syncs (EXTRA)."""
        journal = os.open(self._journal, os.O_RDWR | os.O_CREAT, 0o640)
        os.pwrite(journal, _JOURNAL_HEADER, 0)
        for page in range(_PAGES):
            os.pwrite(journal, _JOURNALLED, len(_JOURNAL_HEADER) + page * len(_JOURNALLED))
        os.fdatasync(journal)
        self._sync_directory()
        os.pwrite(journal, _HEADER_SYNCED, 0)
        os.fdatasync(journal)
        for page in range(_PAGES):
            os.pwrite(self._file, _PAGE, page * len(_PAGE))
        os.fdatasync(self._file)
        os.close(journal)
        self._journal.unlink()
        self._sync_directory()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        os.fdatasync(directory)
        os.close(directory)


def _database(directory: Path) -> apsw.Connection:
    directory.mkdir()
    connection = apsw.Connection(str(directory / "inbound.db"))
    create(connection, INBOUND_DDL)
    apply_session_pragmas(connection)
    return connection
