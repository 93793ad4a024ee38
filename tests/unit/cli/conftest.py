from collections.abc import Iterator
from pathlib import Path

import pytest

from memory_backend.process import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path)
    running.start()
    running.ncl("groups", "create", "main")
    yield running
    running.stop()
