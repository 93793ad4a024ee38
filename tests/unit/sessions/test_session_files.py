"""A session's databases as the daemon uses them: what a lock, a full or a broken disk does to a write."""

import apsw
import pytest
from session_stage import READER, SESSION, Stage, message

from nanoclawd.errors import Unavailable
from nanoclawd.sessions import files as files_module
from nanoclawd.sessions.files import SessionFiles


class ReadLock:
    """What the container can do through its read-only mount: hold a read lock, so that no commit comes through."""

    def __init__(self, stage: Stage) -> None:
        self.connection = apsw.Connection(str(stage.paths.inbound_db), flags=apsw.SQLITE_OPEN_READONLY)
        self.connection.execute("BEGIN")
        self.connection.execute("SELECT count(*) FROM messages_in").fetchall()

    async def end(self, reason: str) -> None:
        assert "held a lock" in reason
        self.connection.close()


async def test_a_lock_is_ended_with_who_holds_it(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files_module, "LOCK_PATIENCE_SECONDS", 0.3)
    lock = ReadLock(stage)
    files = SessionFiles(SESSION.id, stage.paths, stage.jobs, READER, lock.end)
    assert await files.append(message("m1"))
    assert stage.query_inbound("SELECT count(*) FROM messages_in") == 1
    await files.close()


async def test_a_lock_that_nobody_can_end_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files_module, "LOCK_PATIENCE_SECONDS", 0.1)
    lock = ReadLock(stage)

    async def in_vain(_reason: str) -> None:
        """It goes on."""

    files = SessionFiles(SESSION.id, stage.paths, stage.jobs, READER, in_vain)
    with pytest.raises(Unavailable, match="stays locked"):
        await files.append(message("m1"))
    lock.connection.close()
    assert await files.append(message("m1"))
    await files.close()


@pytest.mark.parametrize(
    "content", [b"not a database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000], ids=["text", "garbage"]
)
async def test_a_broken_database_of_our_own_is_said(stage: Stage, content: bytes):
    """A dying card: the sender hears of it, in the words of an expected failure."""
    stage.paths.inbound_db.write_bytes(content)
    with pytest.raises(Unavailable, match="can't be written") as caught:
        await stage.files.append(message("m1"))
    assert caught.value.hint


async def test_a_missing_database_of_our_own_is_said(stage: Stage):
    stage.paths.inbound_db.unlink()
    with pytest.raises(Unavailable, match="can't be written"):
        await stage.files.append(message("m1"))


async def test_nothing_new_costs_no_write(stage: Stage):
    before = stage.paths.inbound_db.stat().st_mtime_ns
    await stage.files.record(())
    await stage.files.record((), acks={}, watermark=0)
    assert stage.paths.inbound_db.stat().st_mtime_ns == before


async def test_the_watermark_is_read_again_and_never_goes_back(stage: Stage):
    await stage.files.record((), watermark=7)
    await stage.files.record((), watermark=5)
    assert stage.files.watermark == 7
    await stage.restart()
    await stage.files.look(())
    assert stage.files.watermark == 7
    await stage.files.replace_outbound()
    assert stage.files.watermark == 0
    await stage.restart()
    await stage.files.look(())
    assert stage.files.watermark == 0
