from collections.abc import Iterator
from pathlib import Path

import pytest
from varlink_stub import Stub, serving

from memory_backend.process import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path)
    running.start()
    running.ncl("groups", "create", "main")
    yield running
    running.stop()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with serving(tmp_path) as running:
        yield running
