from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_stage import Host
from told_provider import Opens, Talk


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    stage = Host(tmp_path)
    yield stage
    stage.close()


@pytest.fixture
def opened(host: Host, monkeypatch: pytest.MonkeyPatch) -> Opens:
    return lambda **changes: Talk(host, monkeypatch, **changes)
