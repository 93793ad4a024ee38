"""Which images an appliance needs, and what says that one is missing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from machine import House

import nanoclawd
from nanoclawd.config import Config
from nanoclawd.errors import NanoclawError, NotFound
from nanoclawd.images.service import ImageService
from nanoclawd.store import agent_groups
from nanoclawd.supervision.quadlets import UnitFiles
from nanoclawd.supervision.user_manager import UserManager

ROOT = Path(nanoclawd.__file__).parents[1]


@dataclass
class Builder:
    """A user manager whose builds succeed, except of the images named here; podman has those that were built."""

    failing: set[str] = field(default_factory=set)
    built: list[str] = field(default_factory=list)

    async def reload(self) -> None:
        return None

    async def reset_failed(self, _unit: str) -> None:
        return None

    async def stop_unit(self, _unit: str) -> None:
        return None

    async def start_unit(self, unit: str, _seconds: float = 0) -> str:
        stage = unit.removeprefix("nanoclaw-image-").removesuffix("-build.service")
        if stage in self.failing:
            return "failed"
        self.built.append(stage)
        return "done"

    async def run_transient(self, unit: str, _command: list[str], _words: str) -> str:
        stage = unit.removeprefix("nanoclaw-image-").removesuffix("-look.service")
        return "done" if stage in self.built or unit.endswith("-prune.service") else "failed"


@dataclass
class Images:
    house: House
    builder: Builder
    service: ImageService

    async def group(self, name: str, provider: str | None) -> None:
        await self.house.database.run(agent_groups.create, name, None, provider)

    async def build(self, name: str | None) -> list[str]:
        return [step.image async for step in self.service.build(name) if step.done]


@pytest.fixture
async def images(tmp_path: Path) -> AsyncIterator[Images]:
    house = House(tmp_path)
    await house.open()
    builder = Builder()
    units = UnitFiles(ROOT / "quadlets", house.paths)
    manager = cast("UserManager", builder)
    yield Images(house, builder, ImageService(Config(), house.paths, house.database, manager, units, ROOT))
    await house.end()


async def test_who_never_uses_claude_never_builds_it(images: Images):
    """F-202."""
    await images.group("main", None)
    assert await images.build(None) == ["agent", "model"]
    assert await images.service.used() == ("agent", "model")
    await images.group("helper", "claude")
    assert await images.service.used() == ("agent", "agent-claude", "model")
    assert await images.build(None) == ["agent", "agent-claude", "model"]


async def test_what_is_missing_is_named_by_the_command_that_builds_it(images: Images):
    """W-24: a group's provider says which image it needs."""
    await images.group("main", None)
    await images.group("helper", "claude")
    await images.build("agent")
    assert await images.service.missing("main") == ""
    assert await images.service.missing("helper") == "ncl images build agent-claude"
    assert await images.build("agent-claude") == ["agent-claude"]
    assert await images.service.missing("helper") == ""
    assert (await images.service.by_provider())["claude"].startswith("localhost/nanoclaw-agent-claude:")


async def test_a_failed_build_leaves_the_image_in_use(images: Images):
    await images.build("agent-claude")
    before = await images.service.reference("agent-claude")
    images.builder.failing.add("agent-claude")
    with pytest.raises(NanoclawError, match="the agent-claude image could not be built"):
        await images.build("agent-claude")
    assert await images.service.reference("agent-claude") == before


async def test_there_is_no_other_image(images: Images):
    with pytest.raises(NotFound, match="agent, agent-claude, model"):
        await images.build("agent-gpt")
