from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_stage import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    stage = Host(tmp_path)
    yield stage
    stage.close()
