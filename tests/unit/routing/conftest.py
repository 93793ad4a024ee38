"""A central database in memory's speed: one for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.routing.world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(tmp_path)
    yield opened
    opened.connection.close()
