from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from machine import House
from session_stage import Stage

from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.directory import make
from nanoclawd.sessions.inbound import Inbound


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    await made.files.make()
    yield made
    await made.end()


@pytest.fixture
def paths(tmp_path: Path) -> SessionPaths:
    made = SessionPaths(tmp_path / "sessions" / "main" / "abcdefghijkl")
    make(made)
    return made


@pytest.fixture
def inbound(paths: SessionPaths) -> Iterator[Inbound]:
    opened = Inbound(paths.inbound_db)
    yield opened
    opened.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.open()
    yield made
    await made.end()
