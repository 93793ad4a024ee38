"""Making, looking at and mending a session's directories.

Modes are the contract's (design: session directories): the container's uid differs from the daemon's and meets it only
in the group, so ``out/`` is sticky and owned by the daemon: its database can be written there, never replaced.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.schema import INBOUND_DDL, OUTBOUND_DDL, create
from nanoclawd.paths import SessionPaths


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells one state of a file from another without opening it."""

    inode: int
    size: int
    changed_ns: int

    def __str__(self) -> str:
        return f"{self.inode}:{self.size}:{self.changed_ns}"


def make(paths: SessionPaths) -> None:
    """Make a session's directories and both databases. Safe to repeat after a crash in the middle.

    Raises:
        OSError: the disk is full or not writable.
        apsw.Error: a database can't be made.
    """
    _directory(paths.root.parent, 0o750)
    _directory(paths.root, 0o750)
    _directory(paths.inbound, 0o750)
    _directory(paths.inbound / "files", 0o750)
    _directory(paths.outbound, 0o1770)
    _directory(paths.outbound_files, 0o770)
    _directory(paths.home, 0o770)
    _database(paths.inbound_db, INBOUND_DDL, 0o640)
    _database(paths.outbound_db, OUTBOUND_DDL, 0o660)


def unmake(paths: SessionPaths) -> None:
    """Remove the directories of a session that never was. No container has seen them: everything is our own."""
    shutil.rmtree(paths.root, ignore_errors=True)


def outbound_identity(paths: SessionPaths) -> FileIdentity | None:
    """Return the identity of ``outbound.db``, or None where there is none."""
    try:
        found = os.lstat(paths.outbound_db)
    except FileNotFoundError:
        return None
    return FileIdentity(found.st_ino, found.st_size, found.st_ctime_ns)


def replace_outbound(paths: SessionPaths) -> Path:
    """Move a damaged ``out/`` aside and make an empty one; return where the old one is. No container may be running.

    The whole directory, because what lies beside the database (a journal, a WAL, whatever the container called so)
    belongs to the damaged one and would be applied to the new, and because a directory that another user has made in
    there can't be moved out of it.
    """
    kept = paths.root / f"out-damaged-{now_text().replace(':', '').replace('.', '')}"
    if paths.outbound.exists():
        paths.outbound.rename(kept)
    make(paths)
    return kept


def _directory(path: Path, mode: int) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)


def _database(path: Path, ddl: tuple[str, ...], mode: int) -> None:
    """Make a database under another name and move it in place, so that a half-made one is never seen."""
    if path.exists():
        return
    draft = path.parent.parent / f".{path.name}.draft"
    for suffix in ("", "-journal"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)
    connection = apsw.Connection(str(draft))
    try:
        create(connection, ddl)
    finally:
        connection.close()
    draft.chmod(mode)
    draft.rename(path)
