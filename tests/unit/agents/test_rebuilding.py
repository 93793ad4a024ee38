"""What is known of a group's image that could not be built anew, once nobody is there to be told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nanoclawd.agents.outfit import Outfit
from nanoclawd.config import Config
from nanoclawd.images.group_images import BuildError, Built
from nanoclawd.store import agent_groups, group_configuration, troubles
from nanoclawd.store.database import Database


class Images:
    """Builds, or does not."""

    def __init__(self) -> None:
        self.fails = False

    def building(self, _group: str) -> asyncio.Lock:
        return asyncio.Lock()

    async def build(self, _group: str, stage: str, _base: str, _packages: object) -> Built:
        if self.fails:
            raise BuildError("the image could not be built (failed). It said:\nE: no such package")
        return Built(stage, "0123456789ab")

    async def remove(self, _group: str, _tag: str) -> None:
        """Nothing is there."""


class Agents:
    """Has one image, and writes nothing."""

    def image_of(self, _provider: str) -> str:
        return "localhost/nanoclaw-agent:1"

    async def write(self, _group_id: str) -> None:
        """Files are for others to look at."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "central.db")
    await opened.open()
    yield opened
    await opened.close()


async def test_an_image_that_could_not_be_built_anew_is_a_trouble_until_it_is(database: Database):
    """The old one stays in use; ``ncl status`` says so also days later, and until it was built or needs not be."""
    images, agents, provisioner = Images(), Agents(), None
    given: Any = (agents, images, provisioner)
    outfit = Outfit(Config(), database, *given)
    group = await database.run(agent_groups.create, "main")
    await database.run(group_configuration.add_packages, group.id, {"apt": ("jq",)})
    await outfit.rebuild_all()
    before = (await database.run(group_configuration.load, group.id)).image_tag
    images.fails = True
    for _ in range(2):
        await outfit.rebuild_all()
    assert (await database.run(group_configuration.load, group.id)).image_tag == before
    (found,) = await database.run(troubles.since, "9999-01-01T00:00:00.000Z")
    assert (found.group, found.kind, found.count) == ("main", "image", 2)
    assert found.message.endswith("goes on with the old one: the image could not be built (failed).")
    images.fails = False
    await outfit.rebuild("main")
    assert not await database.run(troubles.since, "")
    images.fails = True
    await outfit.rebuild_all()
    assert await database.run(troubles.since, "")
    await outfit.remove_packages("main", {"apt": ("jq",)})
    assert not await database.run(troubles.since, "")
