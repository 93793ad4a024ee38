"""A session's directories: made with the contract's modes, mended, and put aside when a container has spoilt them."""

import os
import stat

import apsw
import pytest
from hostile_stage import Victim

from nanoclawd.sessions.directory import make, outbound_identity, replace_outbound
from nanoclawd.sessions.hostile_vfs import DamagedError


def test_modes_are_the_contracts(empty: Victim) -> None:
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (
            empty.paths.inbound,
            empty.paths.outbound,
            empty.paths.home,
            empty.paths.inbound_db,
            empty.database,
        )
    }
    assert modes == {"in": 0o750, "out": 0o1770, "home": 0o770, "inbound.db": 0o640, "outbound.db": 0o660}
    assert stat.S_IMODE((empty.paths.outbound / "files").stat().st_mode) == 0o770


def test_making_again_keeps_what_is_there(victim: Victim) -> None:
    make(victim.paths)
    assert len(victim.read().rows) == 5


def test_a_missing_outbound_is_made_again(victim: Victim) -> None:
    """F-105."""
    victim.database.unlink()
    make(victim.paths)
    assert victim.read().rows == ()


def test_a_crash_while_making_leaves_nothing_in_the_way(empty: Victim) -> None:
    empty.database.unlink()
    (empty.paths.root / ".outbound.db.draft").write_bytes(b"half")
    (empty.paths.root / ".outbound.db.draft-journal").write_bytes(b"half")
    make(empty.paths)
    assert empty.read().rows == ()


def test_identity_changes_with_every_write(victim: Victim) -> None:
    before = outbound_identity(victim.paths)
    victim.sql("DELETE FROM messages_out")
    assert outbound_identity(victim.paths) != before
    victim.database.unlink()
    assert outbound_identity(victim.paths) is None


@pytest.mark.parametrize("kind", ["file", "fifo", "directory", "dangling link", "wal"])
def test_damage_is_put_aside_with_all_that_lies_beside_it(victim: Victim, kind: str) -> None:
    journal = victim.beside("-wal" if kind == "wal" else "-journal")
    if kind == "fifo":
        os.mkfifo(journal)
    elif kind == "directory":
        # Another user's, closed to us: it could not even be moved into another directory.
        journal.mkdir()
        (journal / "more").touch()
        journal.chmod(0)
    elif kind == "dangling link":
        journal.symlink_to("/nowhere")
    else:
        journal.write_bytes(b"hot")
    (victim.paths.outbound / "files" / "mine").write_bytes(b"kept")
    victim.database.write_bytes(b"damaged")
    with pytest.raises(DamagedError):
        victim.read()
    kept = replace_outbound(victim.paths)
    assert (kept / "outbound.db").read_bytes() == b"damaged"
    assert os.path.lexists(kept / journal.name)
    assert (kept / "files" / "mine").read_bytes() == b"kept"
    assert sorted(path.name for path in victim.paths.outbound.iterdir()) == ["files", "outbound.db"]
    assert stat.S_IMODE(victim.paths.outbound.stat().st_mode) == 0o1770
    assert victim.read().rows == ()


def test_a_database_that_is_a_dangling_link_is_put_aside_too(victim: Victim) -> None:
    victim.database.unlink()
    victim.database.symlink_to("/nowhere")
    replace_outbound(victim.paths)
    assert victim.read().rows == ()


def test_a_crash_between_the_two_steps_is_mended(victim: Victim) -> None:
    victim.paths.outbound.rename(victim.paths.root / "out-damaged-before")
    replace_outbound(victim.paths)
    assert victim.read().rows == ()
    connection = apsw.Connection(str(victim.paths.inbound_db))
    connection.close()
