from pathlib import Path

import pytest
from hostile_stage import Victim, fill

from nanoclawd.paths import SessionPaths
from nanoclawd.sessions.directory import make
from nanoclawd.sessions.outbound import OutboundReader


@pytest.fixture(scope="session")
def reader() -> OutboundReader:
    return OutboundReader()


@pytest.fixture
def empty(tmp_path: Path, reader: OutboundReader) -> Victim:
    paths = SessionPaths(tmp_path / "group" / "session")
    make(paths)
    return Victim(paths, reader)


@pytest.fixture
def victim(empty: Victim) -> Victim:
    fill(empty.database, 5)
    return empty
