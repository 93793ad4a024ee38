"""A central database in memory's speed, and the router with all that is around it: one for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from unit.routing.house import House, open_house
from unit.routing.world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    opened = open_world(tmp_path)
    yield opened
    opened.connection.close()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened
