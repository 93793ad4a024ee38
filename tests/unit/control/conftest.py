from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memory_backend.harness import Running, serving


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path) as found:
        yield found
