"""What lies at ``outbound.db`` and beside it is not what the contract says (issue: a hostile container)."""

import fcntl
import os
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hostile_stage import Victim, another_process, fill

from nanoclaw_runner.contract.schema import OUTBOUND_DDL, create
from nanoclawd.sessions.hostile_vfs import MAX_OUTBOUND_BYTES, DamagedError, NotNowError

PAGE = 4096


def refused(victim: Victim, words: str) -> None:
    """Check that a read says that it is damage, soon."""
    began = time.monotonic()
    with pytest.raises(DamagedError, match=words):
        victim.read()
    assert time.monotonic() - began < 2


def test_an_honest_database_is_read(victim: Victim) -> None:
    found = victim.read(pending=("in-1", "in-2"))
    assert [row.seq for row in found.rows] == [1, 3, 5, 7, 9]
    assert found.acks == {"in-1": "completed"}
    assert not found.more


def test_nothing_stays_open_after_reads_good_and_bad(victim: Victim) -> None:
    victim.read()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        victim.read()
    victim.beside("-journal").write_bytes(b"x" * 100)
    for _ in range(50):
        with pytest.raises(NotNowError):
            victim.read()
    victim.beside("-journal").unlink()
    os.truncate(victim.database, 700)
    for _ in range(50):
        with pytest.raises(DamagedError):
            victim.read()
    victim.database.write_bytes(b"no")
    for _ in range(50):
        with pytest.raises(DamagedError):
            victim.read()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("size", [0, 1, 15, 18, 19, 99, 100, 512, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_truncated(victim: Victim, size: int) -> None:
    os.truncate(victim.database, size)
    refused(victim, "outbound.db")


@pytest.mark.parametrize("keeps_magic", [False, True])
def test_random_bytes(victim: Victim, keeps_magic: bool) -> None:
    head = victim.database.read_bytes()[:100] if keeps_magic else b""
    victim.database.write_bytes(head + os.urandom(60_000))
    refused(victim, "outbound.db")


def test_sparse_ten_gigabytes(victim: Victim) -> None:
    os.truncate(victim.database, 10 * 1024**3)
    refused(victim, "the limit is")


def test_grown_beyond_the_limit_after_the_first_check(victim: Victim) -> None:
    ticket = victim.reader._vfs.admit(victim.database)
    os.truncate(victim.database, MAX_OUTBOUND_BYTES + 1)
    with pytest.raises((DamagedError, apsw.Error)):
        apsw.Connection(ticket, flags=apsw.SQLITE_OPEN_READONLY, vfs=victim.reader._vfs.name).execute(
            "SELECT 1 FROM sqlite_schema"
        )
    victim.reader._vfs.forget(ticket)


def test_gone(victim: Victim) -> None:
    victim.database.unlink()
    refused(victim, "can't be found")


def test_replaced_by_a_symlink(victim: Victim, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    victim.database.rename(elsewhere)
    victim.database.symlink_to(elsewhere)
    refused(victim, "not a regular file")


def test_replaced_by_a_fifo_a_directory_or_a_socket(victim: Victim) -> None:
    victim.database.unlink()
    os.mkfifo(victim.database)
    refused(victim, "not a regular file")
    victim.database.unlink()
    victim.database.mkdir()
    refused(victim, "not a regular file")
    victim.database.rmdir()
    with socket.socket(socket.AF_UNIX) as listening:
        os.chdir(victim.database.parent)
        listening.bind(victim.database.name)
        refused(victim, "not a regular file")


def test_a_hard_link_to_somebody_elses_database_is_only_read(victim: Victim, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    create(connection, OUTBOUND_DDL[:1])
    connection.close()
    before = other.read_bytes()
    victim.database.unlink()
    os.link(other, victim.database)
    refused(victim, "another schema")
    assert other.read_bytes() == before


def hot_journal(names: Path) -> bytes:
    """A rollback journal of no page whose super-journal is a file of the attacker's choice."""
    name = os.fsencode(names)
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 0, 0, 1, 512, PAGE)
    check = sum(name) & 0xFFFFFFFF
    tail = struct.pack(">I", PAGE) + name + struct.pack(">II", len(name), check) + magic
    return header.ljust(512, b"\0") + tail


def test_a_forged_super_journal_deletes_nothing_and_is_left_to_the_runner(victim: Victim, tmp_path: Path) -> None:
    precious = tmp_path / "central.db"
    precious.write_bytes(b"precious")
    victim.beside("-journal").write_bytes(hot_journal(precious))
    before = victim.database.read_bytes()
    with pytest.raises(NotNowError):
        victim.read()
    assert precious.read_bytes() == b"precious"
    assert victim.database.read_bytes() == before
    assert victim.beside("-journal").exists()


def test_an_empty_journal_is_no_journal(victim: Victim) -> None:
    victim.beside("-journal").touch()
    assert len(victim.read().rows) == 5


@pytest.mark.parametrize("kind", ["fifo", "symlink", "dangling", "directory"])
def test_what_is_called_journal_is_no_file(victim: Victim, kind: str) -> None:
    journal = victim.beside("-journal")
    if kind == "fifo":
        os.mkfifo(journal)
    elif kind == "directory":
        journal.mkdir()
    else:
        journal.symlink_to("/etc/passwd" if kind == "symlink" else "/nowhere")
    refused(victim, "not a regular file")


def test_switched_to_wal(victim: Victim) -> None:
    """With a truncated ``-shm`` beside it: an ordinary reader that is to map it dies of SIGBUS."""
    victim.sql("PRAGMA journal_mode = WAL", "CREATE TABLE more (x)")
    victim.beside("-wal").write_bytes(b"\x37\x7f\x06\x82" + b"\0" * 28)
    victim.beside("-shm").write_bytes(b"\0" * 7)
    refused(victim, "journal mode")


def test_wal_files_beside_an_honest_header_mean_nothing(victim: Victim) -> None:
    victim.beside("-wal").write_bytes(os.urandom(8192))
    victim.beside("-shm").write_bytes(b"\0" * 7)
    assert len(victim.read().rows) == 5
    assert victim.beside("-shm").stat().st_size == 7


@pytest.mark.parametrize("versions", [b"\x02\x01", b"\x01\x02", b"\x00\x00", b"\xff\xff"])
def test_a_header_of_another_mode(victim: Victim, versions: bytes) -> None:
    with victim.database.open("r+b") as file:
        file.seek(18)
        file.write(versions)
    refused(victim, "journal mode")


@pytest.fixture
def deaf_to_sigio() -> Iterator[None]:
    """Who holds a lease gets SIGIO when somebody opens the file; untreated, that ends the process."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


@pytest.mark.usefixtures("deaf_to_sigio")
def test_a_write_lease_does_not_hold_the_open_up(victim: Victim) -> None:
    """An ordinary open() waits for /proc/sys/fs/lease-break-time, 45 s."""
    with victim.database.open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        began = time.monotonic()
        with pytest.raises(NotNowError, match="lease"):
            victim.read()
        assert time.monotonic() - began < 1
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)


LEASE = """
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("ready", flush=True)
signal.pause()
"""


def test_a_write_lease_of_another_process(victim: Victim) -> None:
    with another_process(LEASE, victim.database):
        began = time.monotonic()
        with pytest.raises(NotNowError, match="lease"):
            victim.read()
        assert time.monotonic() - began < 1
    assert len(victim.read().rows) == 5


def test_a_full_scan_costs_bounded_memory(empty: Victim) -> None:
    """200 rows of half a megabyte are more than one look takes along."""
    fill(empty.database, 300, content='{"text": "' + "x" * 500_000 + '"}')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen: list[int] = []
    while True:
        found = empty.read(after_seq=seen[-1] if seen else 0)
        seen += [row.seq for row in found.rows]
        if not found.more:
            break
    assert seen == [2 * n + 1 for n in range(300)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
