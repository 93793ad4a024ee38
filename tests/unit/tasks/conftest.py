from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from task_stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    await made.open()
    yield made
    await made.close()
