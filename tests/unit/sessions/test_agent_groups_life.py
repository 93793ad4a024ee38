"""The life of an agent group: made so that it can start, changed, restarted, deleted without a trace."""

import ast
import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from machine import House, at, busy
from session_stage import message

import nanoclawd
from eventually import eventually
from nanoclaw_runner.contract import agent_config
from nanoclaw_runner.contract.rows import Address
from nanoclawd.agents import provision
from nanoclawd.agents.provision import Provisioner, Published
from nanoclawd.agents.service import AgentService
from nanoclawd.config import Config
from nanoclawd.config.model import Timeouts
from nanoclawd.errors import AlreadyExists, InvalidName, NotFound, Refused, Unavailable
from nanoclawd.store import agent_groups, chats, destinations, group_configuration
from nanoclawd.store import sessions as session_rows
from nanoclawd.supervision.quadlets import UnitFiles

ROOT = Path(nanoclawd.__file__).parents[1]
DEN = Address("irc", "#den")
HALL = Address("irc", "#hall")


@dataclass
class Town:
    house: House
    agents: AgentService
    units: UnitFiles
    agents_file: Path

    def trees(self) -> list[str]:
        """Everything below the state directory that bears a group's name."""
        root = self.house.root
        return sorted(
            str(path.relative_to(root))
            for path in root.rglob("*")
            if any(part.split("@")[0] in ("gone", "nanoclaw-gone") for part in path.relative_to(root).parts)
        )

    def reachable(self) -> list[str]:
        """The groups that the gateway knows."""
        return [agent["group"] for agent in json.loads(self.agents_file.read_text())["agents"]]


@pytest.fixture
async def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    agents_file = tmp_path / "agents.json"
    monkeypatch.setattr(provision, "AGENTS_FILE", agents_file)
    house = House(tmp_path)
    await house.open()
    units = UnitFiles(ROOT / "quadlets", house.paths)
    config = Config(timeouts=Timeouts(idle=90, silence=80, quiet=7))
    agents = AgentService(
        config,
        house.paths,
        house.database,
        house.sessions,
        house.machine,
        units,
        Provisioner(house.paths, units, config),
    )
    await agents.publish(Published("c0ffee", "localhost/nanoclaw-agent:0123456789ab"))
    yield Town(house, agents, units, agents_file)
    await house.end()


async def test_a_runner_is_told_the_configured_times(town: Town):
    """F-39: the time after which a quiet query is closed is one of them."""
    await town.agents.create("main")
    told = agent_config.from_json(town.house.paths.agent_json("main").read_text())
    assert (told.idle_seconds, told.silence_seconds, told.quiet_seconds) == (90, 80, 7)


async def test_a_new_group_can_start(town: Town):
    """W-32: row, unit, configuration, directories and the gateway's leave, all from one call; and it answers."""
    group = await town.agents.create("main", name="Ada", instructions="Be brief.", cli_scope="disabled")
    assert (group.name, group.cli_scope) == ("Ada", "disabled")
    told = agent_config.from_json(town.house.paths.agent_json("main").read_text())
    assert (told.assistant_name, told.instructions) == ("Ada", "Be brief.")
    assert town.units.groups() == {"main"}
    assert town.reachable() == ["main"]
    assert town.house.machine.reloads == 1
    session = await town.house.session(group, DEN)
    await town.house.say(session, at(DEN, message("m")))
    await eventually(lambda: town.house.platform.texts == ["re: m"])


async def test_a_groups_python_package_may_bring_a_provider(town: Town):
    group = await town.agents.create("main")
    with pytest.raises(Refused, match="there is no provider 'parrot'"):
        await town.agents.update("main", provider="parrot")
    await town.house.database.run(group_configuration.add_packages, group.id, {"pip": ["nanoclaw-parrot"]})
    assert (await town.agents.update("main", provider="parrot")).provider == "parrot"
    told = agent_config.from_json(town.house.paths.agent_json("main").read_text())
    assert told.provider == "parrot"
    with pytest.raises(Refused, match="there is no provider"):
        await town.agents.update("main", provider="../parrot")


def test_there_is_one_way_to_make_a_group():
    """W-32: nothing but the service makes the row, so that no path can forget the rest."""
    makers = []
    for path in (ROOT / "nanoclawd").rglob("*.py"):
        tree = ast.parse(path.read_text())
        makers += [
            path.relative_to(ROOT).as_posix()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr == "create"
            and isinstance(node.value, ast.Name)
            and node.value.id == "agent_groups"
        ]
    assert makers == ["nanoclawd/agents/service.py"]


async def test_a_row_without_its_files_is_mended_at_the_next_start(town: Town):
    """W-32: an older database that was put back has groups of which nothing else is left."""
    await town.house.database.run(agent_groups.create, "restored")
    await town.agents.publish(Published("c0ffee", "localhost/nanoclaw-agent:0123456789ab"))
    assert town.units.groups() == {"restored"}
    assert town.house.paths.agent_json("restored").exists()
    assert town.reachable() == ["restored"]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"folder": "Main Group"}, InvalidName),
        ({"folder": "main", "cli_scope": "all"}, InvalidName),
        ({"folder": "main", "provider": "oracle"}, Refused),
        ({"folder": "main", "provider": "scripted"}, Refused),
        ({"folder": "main", "model": "nowhere/big"}, NotFound),
    ],
)
async def test_what_can_not_be_made_leaves_nothing(town: Town, settings: dict[str, str], error: type[Exception]):
    with pytest.raises(error):
        await town.agents.create(**settings)  # type: ignore[arg-type]  # the fault
    assert await town.house.database.run(agent_groups.every) == []
    assert town.units.groups() == set()


async def test_a_disk_that_fails_leaves_no_half_group(town: Town, monkeypatch: pytest.MonkeyPatch):
    def full(*_arguments: object) -> bool:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Provisioner, "publish_agents", full)
        with pytest.raises(Unavailable, match="No space left"):
            await town.agents.create("main")
    assert await town.house.database.run(agent_groups.every) == []
    assert town.units.groups() == set()
    await town.agents.create("main")
    assert town.units.groups() == {"main"}


async def test_settings_change_and_go_back(town: Town):
    await town.agents.create("main", name="Ada")
    group = await town.agents.update("main", name="Eve", model="embedded/other", cli_scope="global")
    assert (group.name, group.model, group.cli_scope) == ("Eve", "embedded/other", "global")
    unchanged = await town.agents.update("main", instructions="Be brief.")
    assert (unchanged.name, unchanged.cli_scope, unchanged.instructions) == ("Eve", "global", "Be brief.")
    back = await town.agents.update("main", name="", model="", instructions="", cli_scope="")
    assert (back.name, back.model, back.instructions, back.cli_scope) == ("main", None, "", "group")
    with pytest.raises(InvalidName):
        await town.agents.update("main", cli_scope="everything")
    with pytest.raises(NotFound):
        await town.agents.update("nobody", name="x")


async def test_changes_at_once_undo_nothing_of_each_other(town: Town):
    """An operator, and an agent that was allowed to change its settings in the same moment."""
    group = await town.agents.create("main")
    changes: list[dict[str, Any]] = [
        {"name": "Eve"},
        {"instructions": "Be brief."},
        {"effort": "low"},
        {"skills": "none"},
    ]
    await asyncio.gather(*(town.agents.update("main", **change) for change in changes))
    found = await town.house.database.run(agent_groups.by_folder, "main")
    settings = await town.house.database.run(group_configuration.load, group.id)
    assert (found.name, found.instructions, settings.effort, settings.skills) == ("Eve", "Be brief.", "low", ())


async def test_a_deleted_group_leaves_nothing(town: Town):
    """No row, unit, directory, doorbell, leave at the gateway, nor the turn that was under way; another group stays."""
    house = town.house
    group, other = await town.agents.create("gone"), await town.agents.create("stays")
    session, neighbour = await house.session(group, DEN), await house.session(other, HALL)
    await house.database.run(destinations.add_agent, other.id, group.id)
    terminal = await house.database.run(chats.ensure_terminal, "ada/gone", "ada", group.id)
    await house.sessions.create(group.id, "gone", terminal.id)
    await house.sessions.create(group.id, "gone", None, None, "agent-shared")
    house.machine.program = busy
    await house.say(session, at(DEN, message("m")))
    await house.say(neighbour, at(HALL, message("n")))
    await eventually(lambda: len(house.machine.running) == 2)
    with pytest.raises(Refused, match="3 sessions"):
        await town.agents.delete("gone", force=False)
    await town.agents.delete("gone", force=True)
    assert town.trees() == []
    assert house.machine.running == [f"nanoclaw-stays@{neighbour.id}.service"]
    assert house.admission.awake == 1
    assert house.sessions.living(session.id) is None
    assert list(house.platform.at_work) == [neighbour.id]
    assert town.reachable() == ["stays"]
    assert town.units.groups() == {"stays"}

    def left(connection: apsw.Connection) -> dict[str, int]:
        """Every row of every table that names the group, its sessions or its terminal chat."""
        found = {}
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            for column in columns:
                count = connection.execute(
                    f"SELECT count(*) FROM {table} WHERE {column} IN (?, ?, ?)", (group.id, session.id, terminal.id)
                ).get
                if count:
                    found[f"{table}.{column}"] = int(count)
        return found

    assert await house.database.run(left) == {}
    assert await house.database.run(session_rows.count) == 1


async def test_what_ends_after_its_groups_deletion_brings_nothing_back(town: Town):
    """A build of half an hour, say, which was begun before."""
    group = await town.agents.create("gone")
    await town.agents.delete("gone", force=True)
    before = town.trees()
    with pytest.raises(NotFound):
        await town.agents.write(group.id)
    assert (town.trees(), town.units.groups(), town.reachable()) == (before, set(), [])


async def test_a_name_can_be_used_again(town: Town):
    """And what an interrupted deletion left of its last bearer is not the new agent's to read."""
    first = await town.agents.create("main")
    await town.agents.delete("main", force=False)
    workspace = town.house.paths.workspace("main")
    workspace.mkdir(parents=True)
    (workspace / "diary.txt").write_text("secret")
    second = await town.agents.create("main")
    assert second.uid != first.uid
    assert sorted(path.name for path in workspace.iterdir()) == ["AGENTS.md", "CLAUDE.md"]
    assert (workspace / "AGENTS.md").read_text() == ""
    (kept,) = workspace.parent.glob("main.before-*")
    assert (kept / "diary.txt").read_text() == "secret"


async def test_a_name_that_is_being_deleted_is_taken(town: Town, monkeypatch: pytest.MonkeyPatch):
    """Else the new group's files would go with the old one's."""
    group = await town.agents.create("main")
    await town.house.session(group, DEN)
    removing, go_on = asyncio.Event(), asyncio.Event()
    run = town.house.machine.run_transient

    async def slow(*arguments: Any) -> str:
        removing.set()
        await go_on.wait()
        return await run(*arguments)

    monkeypatch.setattr(town.house.machine, "run_transient", slow)
    deleting = asyncio.create_task(town.agents.delete("main", force=True))
    await removing.wait()
    with pytest.raises(AlreadyExists, match="being deleted"):
        await town.agents.create("main")
    go_on.set()
    await deleting
    await town.agents.create("main")


async def test_the_calling_session_alone_restarts(town: Town):
    """W-29: not the group's others."""
    group = await town.agents.create("main")
    one, two = await town.house.session(group, DEN), await town.house.session(group, HALL)
    await town.house.say(one, at(DEN, message("m")))
    await town.house.say(two, at(HALL, message("n")))
    await eventually(lambda: len(town.house.platform.texts) == 2)
    await eventually(lambda: len(town.house.machine.running) == 2)
    assert await town.agents.restart_session(one.id)
    await eventually(lambda: town.house.machine.running == [f"nanoclaw-main@{two.id}.service"])
    await eventually(lambda: town.house.sessions.living(one.id) is None)
    assert not await town.agents.restart_session(one.id)
    assert await town.agents.restart("main") == 1


async def test_who_waits_for_a_group_is_told_with_its_deletion(town: Town):
    """Told in the transaction that deletes it: the group is still there, and nothing is told if it stays."""
    told = []

    def ending(connection: apsw.Connection, group_id: str) -> None:
        told.append((agent_groups.by_id(connection, group_id).folder, connection.in_transaction))

    town.agents.ending, town.agents.ended = ending, lambda: told.append(("ended", False))
    await town.agents.create("gone")
    await town.agents.delete("gone", force=False)
    assert told == [("gone", True), ("ended", False)]
