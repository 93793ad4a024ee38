"""An agent that another one has asked for: the two know each other, and asking again makes no second one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from nanoclawd.control.agent_calls.scope import caller_of, judge
from nanoclawd.errors import AlreadyExists, InvalidName, Refused, TooLarge
from nanoclawd.peers.making import AgentMaking
from nanoclawd.store import agent_groups, destinations
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.store.database import Database


@dataclass
class Agents:
    """Makes groups as rows only."""

    database: Database
    made: list[str] = field(default_factory=list)

    async def create(self, folder: str, **columns: Any) -> AgentGroup:
        group = await self.database.run(lambda connection: agent_groups.create(connection, folder, **columns))
        self.made.append(folder)
        return group

    async def delete(self, folder: str, *, force: bool) -> None:
        assert force
        group = await self.database.run(agent_groups.by_folder, folder)
        await self.database.run(agent_groups.delete, group.id)


@dataclass
class Stage:
    database: Database
    agents: Agents
    making: AgentMaking
    creator: AgentGroup
    projected: list[str]

    async def book(self, group: AgentGroup) -> dict[str, str | None]:
        found = await self.database.run(destinations.of_group, group.id)
        return {one.local_name: one.target_group for one in found}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(tmp_path / "central.db")
    await database.open()
    creator = await database.run(agent_groups.create, "main", "Ada", "scripted", "embedded/x")
    agents: Any = Agents(database)
    projected: list[str] = []

    async def project(agent_group_id: str) -> None:
        projected.append(agent_group_id)

    yield Stage(database, agents, AgentMaking(database, agents, project), creator, projected)
    await database.close()


async def test_the_two_can_write_to_each_other_at_once(stage: Stage):
    """W-31, W-26: both books have an entry, and every session of the creator is told, not only the one that asked."""
    made = await stage.making.make(stage.creator, "The Researcher!", "Look things up.")
    assert (made.group.folder, made.group.name, made.name, made.parent) == (
        "the-researcher",
        "The Researcher!",
        "the-researcher",
        "parent",
    )
    assert (made.group.provider, made.group.model, made.group.instructions) == (
        "scripted",
        "embedded/x",
        "Look things up.",
    )
    assert await stage.book(stage.creator) == {"the-researcher": "the-researcher"}
    assert await stage.book(made.group) == {"parent": "main"}
    assert stage.projected == [stage.creator.id]


async def test_asking_again_under_the_same_key_makes_no_second_one(stage: Stage):
    first = await stage.making.make(stage.creator, "helper", "", "key")
    assert await stage.making.make(stage.creator, "helper", "", "key") == first
    assert stage.agents.made == ["helper"]


async def test_asking_again_for_one_that_may_not_be_written_to_any_more_is_refused(stage: Stage):
    await stage.making.make(stage.creator, "helper", "", "key")
    await stage.database.run(destinations.remove, stage.creator.id, "helper")
    with pytest.raises(Refused, match="may not write to it any more"):
        await stage.making.make(stage.creator, "helper", "", "key")


async def test_a_name_that_the_creator_knows_is_refused_and_one_of_another_folder_is_numbered(stage: Stage):
    await stage.database.run(agent_groups.create, "helper")
    made = await stage.making.make(stage.creator, "helper", "")
    assert (made.group.folder, made.name) == ("helper-2", "helper")
    with pytest.raises(AlreadyExists, match="has a destination helper already"):
        await stage.making.make(stage.creator, "Helper", "")
    reserved = await stage.making.make(stage.creator, "model", "")
    assert reserved.group.folder == "model-2"


async def test_what_cannot_be_is_refused(stage: Stage):
    with pytest.raises(InvalidName):
        await stage.making.make(stage.creator, " \n ", "")
    with pytest.raises(TooLarge):
        await stage.making.make(stage.creator, "x", "y" * 20_000)
    with pytest.raises(InvalidName):
        await stage.making.make(stage.creator, "x", "", "k" * 200)
    assert not stage.agents.made


async def test_nothing_is_left_where_the_creator_has_gone(stage: Stage):
    await stage.database.run(agent_groups.delete, stage.creator.id)
    with pytest.raises(Exception, match="there is no group"):
        await stage.making.make(stage.creator, "orphan", "")
    assert not await stage.database.run(agent_groups.every)


async def test_only_who_decides_about_all_agents_may_allow_another_one(stage: Stage):
    """W-26: in the reference any agent could make agents; here each is asked about, with all that it is told."""

    def judged(connection: apsw.Connection) -> tuple[bool, bool, str]:
        caller = caller_of(connection, stage.creator.id, "aaaabbbbcccc")
        found = judge(connection, caller, "io.nanoclaw.Peers.Create", {"name": "x", "instructions": "y"})
        return found.needs_approval, found.beyond, str(found.parameters["group"])

    assert await stage.database.run(judged) == (True, True, "main")


@pytest.mark.parametrize("limit", ["daily_tokens", "daily_cost"])
async def test_an_agent_that_wants_to_use_more_asks_who_decides_about_all(stage: Stage, limit: str):
    """Whoever pays is not its group's administrator."""

    def judged(connection: apsw.Connection) -> tuple[bool, bool]:
        caller = caller_of(connection, stage.creator.id, "aaaabbbbcccc")
        found = judge(connection, caller, "io.nanoclaw.Groups.Update", {limit: "none"})
        return found.needs_approval, found.beyond

    assert await stage.database.run(judged) == (True, True)
