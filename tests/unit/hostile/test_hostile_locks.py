"""Locks between two processes: the container's SQLite, with POSIX locks, and the host, with its own."""

import json
import threading
import time
from typing import Any

import apsw
import pytest
from hostile_stage import INSERT, Victim, another_process

from nanoclaw_runner.contract.rows import OutboundRow
from nanoclawd.sessions import outbound
from nanoclawd.sessions.hostile_vfs import NotNowError

HOLD = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN " + sys.argv[2])
if sys.argv[2] == "IMMEDIATE":
    connection.execute("DELETE FROM messages_out")
if sys.argv[2] == "DEFERRED":
    connection.execute("SELECT * FROM messages_out").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""

PENDING = """
import fcntl, struct, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 1, 0x40000000, 0)
print("ready", flush=True)
sys.stdin.read()
"""

WRITER = """
import apsw, sys, time
from nanoclaw_runner.contract.schema import apply_session_pragmas
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(5000)
apply_session_pragmas(connection)
print("ready", flush=True)
longest = 0
for number in range(int(sys.argv[2])):
    began = time.monotonic()
    with connection:
        connection.execute(
            "INSERT INTO messages_out (id, seq, timestamp, kind, content) VALUES (?, ?, 't', 'chat', ?)",
            (f"out-{number}", 2 * number + 1, "x" * (number % 37 * 100)),
        )
    longest = max(longest, time.monotonic() - began)
print(longest, flush=True)
sys.stdin.read()
"""


def not_now(victim: Victim) -> None:
    began = time.monotonic()
    with pytest.raises(NotNowError):
        victim.read()
    assert time.monotonic() - began < 0.5


def test_an_exclusive_lock_for_ever_is_not_now(victim: Victim) -> None:
    with another_process(HOLD, victim.database, "EXCLUSIVE"):
        not_now(victim)
        not_now(victim)
    assert len(victim.read().rows) == 5


def test_a_pending_lock_for_ever_is_not_now(victim: Victim) -> None:
    with another_process(PENDING, victim.database):
        not_now(victim)
    assert len(victim.read().rows) == 5


def test_a_writer_that_prepares_does_not_hide_what_was_committed(victim: Victim) -> None:
    """RESERVED: its journal is there and has content, and is not hot. The writer deletes all rows and dies."""
    with another_process(HOLD, victim.database, "IMMEDIATE"):
        assert len(victim.read().rows) == 5
    # Now the same journal is hot, or was never written: the host touches nothing either way.
    before = victim.database.read_bytes()
    try:
        assert len(victim.read().rows) == 5
    except NotNowError:
        assert victim.beside("-journal").exists()
    assert victim.database.read_bytes() == before


def test_a_reader_in_the_container_does_not_matter(victim: Victim) -> None:
    with another_process(HOLD, victim.database, "DEFERRED"):
        assert len(victim.read().rows) == 5


def test_the_hosts_lock_keeps_a_real_writer_out_and_lets_it_in_again(victim: Victim) -> None:
    """Open file description locks (ours) and POSIX locks (SQLite's) exclude each other."""
    ticket = victim.reader._vfs.admit(victim.database)
    ours = apsw.Connection(ticket, flags=apsw.SQLITE_OPEN_READONLY, vfs=victim.reader._vfs.name)
    theirs = apsw.Connection(str(victim.database))
    ours.execute("BEGIN")
    ours.execute("SELECT count(*) FROM messages_out").fetchall()
    theirs.execute("BEGIN IMMEDIATE; DELETE FROM messages_out")
    with pytest.raises(apsw.BusyError):
        theirs.execute("COMMIT")
    # The writer waits with PENDING: who begins to read now is told so, who reads already goes on.
    not_now(victim)
    assert ours.execute("SELECT count(*) FROM messages_out").get == 5
    ours.execute("ROLLBACK")
    theirs.execute("COMMIT")
    assert victim.read().rows == ()
    ours.close()
    theirs.close()


def test_a_second_reader_of_ours_that_closes_does_not_drop_the_first_ones_lock(victim: Victim) -> None:
    """POSIX locks would: any close() of the file in this process drops them all."""
    ticket = victim.reader._vfs.admit(victim.database)
    ours = apsw.Connection(ticket, flags=apsw.SQLITE_OPEN_READONLY, vfs=victim.reader._vfs.name)
    ours.execute("BEGIN")
    ours.execute("SELECT count(*) FROM messages_out").fetchall()
    victim.read()
    theirs = apsw.Connection(str(victim.database))
    with pytest.raises(apsw.BusyError):
        theirs.execute("DELETE FROM messages_out")
    ours.close()
    theirs.execute("DELETE FROM messages_out")
    theirs.close()


def test_every_row_once_and_in_order_beside_a_busy_writer(empty: Victim) -> None:
    """F-36, F-37: 2,000 commits of another process; the writer is never held up for long by who reads."""
    rows = 2000
    seen: list[int] = []
    not_nows = 0
    deadline = time.monotonic() + 120
    with another_process(WRITER, empty.database, rows) as writer:
        while len(seen) < rows and time.monotonic() < deadline:
            try:
                found = empty.read(after_seq=seen[-1] if seen else 0)
            except NotNowError:
                not_nows += 1
                time.sleep(0.001)  # a lock has no event: the daemon looks again at the next ring
                continue
            for row in found.rows:
                assert isinstance(row, OutboundRow)
                assert len(row.content) == (row.seq - 1) // 2 % 37 * 100
                seen.append(row.seq)
        assert seen == [2 * number + 1 for number in range(rows)]
        assert writer.stdout is not None
        longest = float(writer.stdout.readline())
    print(json.dumps({"not now": not_nows, "longest commit of the writer": longest}))
    # Its busy handler sleeps up to 100 ms between tries; it gives up after 5 s.
    assert longest < 2.0


def test_rows_and_acknowledgements_are_of_one_moment(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn is never seen as completed before its answer: no commit comes between the two statements of a look."""
    theirs = apsw.Connection(str(victim.database))
    theirs.execute("BEGIN IMMEDIATE")
    theirs.execute(INSERT, ("out-late", 101, "t", "{}"))
    theirs.execute("INSERT INTO processing_ack VALUES ('in-2', 'completed', 't')")
    rows = outbound._rows

    def rows_and_a_commit(connection: apsw.Connection, after_seq: int) -> Any:
        found = rows(connection, after_seq)
        with pytest.raises(apsw.BusyError):
            theirs.execute("COMMIT")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(outbound, "_rows", rows_and_a_commit)
        before = victim.read(pending=("in-1", "in-2"))
    assert (len(before.rows), before.acks) == (5, {"in-1": "completed"})
    theirs.execute("COMMIT")
    after = victim.read(pending=("in-1", "in-2"))
    assert (len(after.rows), set(after.acks)) == (6, {"in-1", "in-2"})
    theirs.close()


def test_many_threads_read_many_databases(empty: Victim, victim: Victim) -> None:
    """One reader serves all threads of the pool."""
    wrong: list[object] = []

    def look() -> None:
        for _ in range(50):
            found = [row.seq for row in victim.read().rows]
            if found != [1, 3, 5, 7, 9]:
                wrong.append(found)

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
