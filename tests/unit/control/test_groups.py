"""The groups' backend over the service that makes them, with a stand-in for systemd."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from machine import House, at
from session_stage import message

import nanoclawd
from eventually import eventually
from nanoclaw_runner.contract.rows import Address
from nanoclawd.agents import provision
from nanoclawd.agents.outfit import Outfit
from nanoclawd.agents.provision import Provisioner, Published
from nanoclawd.agents.service import AgentService
from nanoclawd.config import Config
from nanoclawd.control.values import GroupSettings
from nanoclawd.core.backends.groups import GroupsBackend
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, Refused
from nanoclawd.images.group_images import GroupImages
from nanoclawd.store import agent_groups
from nanoclawd.supervision.quadlets import UnitFiles
from nanoclawd.usage.limits import Limits
from nanoclawd.usage.service import UsageService
from unit.control.terminal_stage import ROOT

DEN = Address("irc", "#den")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.open()
    yield made
    await made.end()


@pytest.fixture
async def groups(house: House, monkeypatch: pytest.MonkeyPatch) -> GroupsBackend:
    monkeypatch.setattr(provision, "AGENTS_FILE", house.root / "agents.json")
    config = Config()
    units = UnitFiles(Path(nanoclawd.__file__).parents[1] / "quadlets", house.paths)
    provisioner = Provisioner(house.paths, units, config)
    agents = AgentService(config, house.paths, house.database, house.sessions, house.machine, units, provisioner)
    await agents.publish(Published("c0ffee", "localhost/nanoclaw-agent:0123456789ab"))
    images = GroupImages(config, house.paths, house.machine, units)
    outfit = Outfit(config, house.database, agents, images, provisioner)
    telling: Any = None
    usage = UsageService(house.database, Limits(), "UTC", telling, config.endpoint_of)
    return GroupsBackend(house.database, agents, outfit, house.sessions, config, usage)


async def test_a_group_by_the_command_can_start(house: House, groups: GroupsBackend):
    """W-32: the reference's command makes a row that no container can start from."""
    made = await groups.create(ROOT, "main", GroupSettings(display_name="Ada", instructions="Be brief."))
    assert (made.name, made.display_name, made.cli_scope) == ("main", "Ada", "group")
    assert (made.provider, made.model) == (Config().provider, Config().model)
    session = await house.session(await house.database.run(agent_groups.by_folder, "main"), DEN)
    await house.say(session, at(DEN, message("m")))
    await eventually(lambda: house.platform.texts == ["re: m"])
    found = await groups.get("Ada")
    assert (found.name, found.sessions, found.awake) == ("main", 1, 1)
    assert await groups.restart(ROOT, made.name, rebuild=True, message=None) == (1, False)
    with pytest.raises(Refused):
        await groups.delete(ROOT, "main", force=False)
    await groups.delete(ROOT, "main", force=True)
    assert await groups.list(10) == []
    assert house.machine.running == []


async def test_settings_are_checked_and_an_empty_one_is_the_default(groups: GroupsBackend):
    for settings in (GroupSettings(cli_scope="everything"), GroupSettings(model="nonsense")):
        with pytest.raises(InvalidName):
            await groups.create(ROOT, "main", settings)
    assert await groups.list(10) == []
    await groups.create(ROOT, "main", GroupSettings(display_name="Ada"))
    with pytest.raises(AlreadyExists):
        await groups.create(ROOT, "main", GroupSettings())
    changed = await groups.update(ROOT, "main", GroupSettings(instructions="Be kind.", cli_scope="global"))
    assert (changed.display_name, changed.instructions, changed.cli_scope) == ("Ada", "Be kind.", "global")
    changed = await groups.update(ROOT, "main", GroupSettings(instructions="", display_name=""))
    assert (changed.display_name, changed.instructions, changed.cli_scope) == ("main", "", "global")
    with pytest.raises(InvalidName, match="cli_scope"):
        await groups.update(ROOT, "main", GroupSettings(cli_scope="grp"))
    with pytest.raises(NotFound):
        await groups.restart(ROOT, "none", rebuild=False, message=None)
    await groups.create(ROOT, "another", GroupSettings())
    assert [one.name for one in await groups.list(10)] == ["another", "main"]
    assert len(await groups.list(1)) == 1
