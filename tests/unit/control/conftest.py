import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

# The stage of whole sessions is a module of their tests' own directory.
sys.path.append(str(Path(__file__).parents[1] / "sessions"))

from memory_backend.harness import Running, serving  # after the path


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(tmp_path) as found:
        yield found
