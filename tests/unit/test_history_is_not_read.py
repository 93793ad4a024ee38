"""What a turn asks costs the same after ten thousand messages: no statement of it reads the history."""

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.schema import INBOUND_DDL, create
from nanoclaw_runner.store.inbox import Inbox
from nanoclawd.sessions.inbound import Inbound, NewMessage

HISTORY = 2000
MOST_PAGES = 60
"""Far below the history's own pages; the schema and the waiting rows are among them."""


@pytest.fixture
def inbound_db(tmp_path: Path) -> Path:
    path = tmp_path / "inbound.db"
    connection = apsw.Connection(str(path))
    create(connection, INBOUND_DDL)
    with connection:
        connection.executemany(
            "INSERT INTO messages_in (id, seq, kind, timestamp, status, series_id, content)"
            " VALUES (?1, ?2, 'chat', '2026-04-16T14:37:01.000Z', 'completed', ?1, ?3)",
            ((f"m-{number}", number * 2, "x" * 200) for number in range(1, HISTORY + 1)),
        )
        connection.executemany(
            "INSERT INTO delivered (message_out_id, status, next_attempt_at, changed_at) VALUES (?, 'delivered', ?, ?)",
            ((f"out-{number}", None, "2026-04-16T14:37:01.000Z") for number in range(HISTORY)),
        )
    connection.close()
    inbound = Inbound(path)
    inbound.append(NewMessage(id="waits", content='{"text": "hello"}', address=Address("terminal", "root/main")))
    inbound.close()
    return path


@pytest.fixture
def pages_read(monkeypatch: pytest.MonkeyPatch):
    """Return how many pages the connections opened from now on have fetched."""
    opened: list[apsw.Connection] = []

    class Kept(apsw.Connection):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            opened.append(self)

    monkeypatch.setattr(apsw, "Connection", Kept)
    yield lambda: sum(connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)[0] for connection in opened)
    for connection in opened:
        connection.close()


def test_the_runner_looks_at_waiting_rows_only(inbound_db: Path, pages_read: Callable[[], int]):
    look = Inbox(inbound_db).look(lambda found: found, now="2026-04-16T15:00:00.000Z", fresh=True)
    assert [row.id for row in look.rows] == ["waits"]
    assert 0 < pages_read() < MOST_PAGES


def test_the_host_looks_at_waiting_rows_only(inbound_db: Path, pages_read: Callable[[], int]):
    inbound = Inbound(inbound_db)
    assert [row.id for row in inbound.pending()] == ["waits"]
    assert inbound.next_due("2026-04-16T15:00:00.000Z") is not None
    assert 0 < pages_read() < MOST_PAGES
