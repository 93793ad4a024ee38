from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from unit.permissions.permission_stage import BUTTONS, PLAIN, MakeStage, Platform, Stage


@pytest.fixture
async def make_stage(tmp_path: Path) -> AsyncIterator[MakeStage]:
    made: list[Stage] = []

    async def make(channels: dict[str, Platform]) -> Stage:
        stage = Stage(tmp_path, channels)
        await stage.start()
        made.append(stage)
        return stage

    yield make
    for stage in made:
        await stage.end()


@pytest.fixture
async def stage(make_stage: MakeStage) -> Stage:
    """One channel with buttons, one without."""
    return await make_stage({"chat": Platform("chat", BUTTONS), "plain": Platform("plain", PLAIN)})
