import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from credential_stage import Stage, stage_in


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every uid may enter."""
    path = Path(tempfile.mkdtemp(prefix="credentials-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def stage(place: Path) -> AsyncIterator[Stage]:
    async with stage_in(place) as made:
        yield made
