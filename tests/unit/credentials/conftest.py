from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from credential_stage import Stage, stage_in


@pytest.fixture
async def stage(place: Path) -> AsyncIterator[Stage]:
    async with stage_in(place) as made:
        yield made
