"""A migrated central database, in a file and in memory, and the first rows of it."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from nanoclawd.store import agent_groups, chats
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.chats import Chat
from nanoclawd.store.database import connect


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    opened = connect(tmp_path / "central.db")
    yield opened
    opened.close()


@pytest.fixture
def group(connection: apsw.Connection) -> AgentGroup:
    return agent_groups.create(connection, "main")


@pytest.fixture
def chat(connection: apsw.Connection) -> Chat:
    return chats.create(connection, "matrix", "!room:example.org", "Room")
