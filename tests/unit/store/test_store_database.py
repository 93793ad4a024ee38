"""The central database as a file: how it is opened, what is refused, one thread for all."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from nanoclawd.errors import NanoclawError, SchemaTooNew, Unavailable
from nanoclawd.store import agent_groups, images
from nanoclawd.store.database import BUSY_TIMEOUT_MS, Database, connect


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "state" / "central.db")
    await opened.open()
    yield opened
    await opened.close()


def pragma(connection: apsw.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").get


async def test_pragmas(database: Database, tmp_path: Path):
    """F-6: write-ahead log, foreign keys, FULL; the directory is made."""
    assert await database.run(pragma, "journal_mode") == "wal"
    assert await database.run(pragma, "foreign_keys") == 1
    assert await database.run(pragma, "synchronous") == 2
    assert await database.run(pragma, "busy_timeout") == BUSY_TIMEOUT_MS
    assert (tmp_path / "state" / "central.db").is_file()


async def test_before_it_is_open(tmp_path: Path):
    """F-7: and after it was closed."""
    database = Database(tmp_path / "central.db")
    with pytest.raises(NanoclawError, match="is not open"):
        await database.run(agent_groups.every)
    await database.open()
    assert await database.run(agent_groups.every) == []
    await database.close()
    with pytest.raises(Unavailable, match="being stopped"):
        await database.run(agent_groups.every)
    await database.close()


async def test_what_is_asked_at_once_is_done_in_turn(database: Database):
    """One writer: no read-modify-write of 200 concurrent callers is lost, and each runs in the one thread."""

    def count(connection: apsw.Connection) -> int:
        found = int(images.current_tag(connection, "counter") or 0) + 1
        images.set_current(connection, "counter", str(found))
        return found

    answers = await asyncio.gather(*(database.run(count) for _ in range(200)))
    assert answers == list(range(1, 201))
    threads = await asyncio.gather(*(database.run(lambda _: threading.get_ident()) for _ in range(20)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_a_failed_call_leaves_nothing_and_hinders_nobody(database: Database):
    def half(connection: apsw.Connection) -> None:
        with connection:
            images.set_current(connection, "agent", "half")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        await database.run(half)
    assert await database.run(images.current_tag, "agent") is None


async def test_a_caller_that_gives_up_does_not_stop_the_next(database: Database):
    entered, leave = threading.Event(), threading.Event()

    def slow(_: apsw.Connection) -> None:
        entered.set()
        leave.wait(10)

    call = asyncio.create_task(database.run(slow))
    await asyncio.get_running_loop().run_in_executor(None, entered.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    leave.set()
    await database.run(images.set_current, "agent", "1")
    assert await database.run(images.current_tag, "agent") == "1"


async def test_everything_is_there_again(tmp_path: Path):
    for expected in (None, "one"):
        database = Database(tmp_path / "central.db")
        await database.open()
        assert await database.run(images.current_tag, "agent") == expected
        await database.run(images.set_current, "agent", "one")
        await database.close()


def make_text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 100)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_damaged(path: Path) -> None:
    connect(path).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996
    path.write_bytes(content)


def make_somebody_elses(path: Path) -> None:
    with apsw.Connection(str(path)) as other:
        other.execute("CREATE TABLE recipes (id INTEGER PRIMARY KEY, name TEXT)")
    other.close()


def make_other_ledger(path: Path) -> None:
    with apsw.Connection(str(path)) as other:
        other.execute("CREATE TABLE schema_version (revision INTEGER)")
    other.close()


@pytest.mark.parametrize("make", [make_text, make_directory, make_damaged, make_somebody_elses, make_other_ledger])
async def test_what_is_not_our_database_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], None]):
    path = tmp_path / "central.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    database = Database(path)
    with pytest.raises(NanoclawError, match=r"central\.db") as caught:
        await database.open()
    assert caught.value.hint
    assert not isinstance(caught.value, SchemaTooNew)
    assert (path.read_bytes() if path.is_file() else b"") == before
    await database.close()


async def test_an_empty_file_is_a_new_database(tmp_path: Path):
    """What a crash leaves between making the file and its first page."""
    path = tmp_path / "central.db"
    path.touch()
    database = Database(path)
    await database.open()
    assert await database.run(agent_groups.every) == []
    await database.close()


async def test_what_cannot_be_written_now_may_be_tried_again(database: Database, tmp_path: Path):
    """W-42: a program that holds the file too long, or a full disk, is Unavailable and no fault; nothing changed."""
    await database.run(lambda connection: connection.set_busy_timeout(10))
    other = apsw.Connection(str(tmp_path / "state" / "central.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="can't be used now"):
        await database.run(agent_groups.create, "main")
    other.execute("ROLLBACK")
    other.close()
    await database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").get)
    with pytest.raises(Unavailable, match="full"):
        await database.run(lambda connection: connection.execute("CREATE TABLE big AS SELECT zeroblob(1000000)").get)
    await database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").get)
    assert (await database.run(agent_groups.create, "main")).folder == "main"
