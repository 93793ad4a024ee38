"""What a group needs to start, made from its row and the configuration."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_quadlets import ROOT

from nanoclaw_runner.contract import agent_config
from nanoclawd.agents import provision
from nanoclawd.agents.provision import Provisioner, Published, local_timezone
from nanoclawd.config import Config, Endpoint, Gateway, OneCli
from nanoclawd.config.model import Limits
from nanoclawd.paths import StatePaths
from nanoclawd.store.agent_groups import AgentGroup
from nanoclawd.supervision.quadlets import UnitFiles

GROUP = AgentGroup(7, "ag-1", "main", "Ada", None, None, "", "2026-01-01T00:00:00.000Z")
PUBLISHED = Published(runner="c0ffee", image="localhost/nanoclaw-agent:0123456789ab")


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


@pytest.fixture
def provisioner(paths: StatePaths) -> Provisioner:
    return Provisioner(paths, UnitFiles(ROOT / "quadlets", paths), Config())


def test_again_changes_nothing(provisioner: Provisioner, paths: StatePaths):
    """F-82, of files: only what makes another unit asks for a reload."""
    assert provisioner.write(GROUP, PUBLISHED)
    assert not provisioner.write(GROUP, PUBLISHED)
    assert not provisioner.write(replace(GROUP, instructions="Be brief."), PUBLISHED)
    assert provisioner.write(GROUP, replace(PUBLISHED, runner="c0ffef"))
    modes = {path: path.stat().st_mode & 0o7777 for path in (paths.sessions_of("main"), paths.workspace("main"))}
    assert modes == {paths.sessions_of("main"): 0o750, paths.workspace("main"): 0o770}


def test_what_the_runner_is_told(provisioner: Provisioner, paths: StatePaths):
    evil = 'Say "hi"\n%h $(id)\nExecStart=/bin/sh'
    provisioner.write(replace(GROUP, instructions=evil, name="Ada\nLovelace"), PUBLISHED)
    told = agent_config.from_json(paths.agent_json("main").read_text())
    assert (told.instructions, told.assistant_name, told.group) == (evil, "Ada\nLovelace", "main")
    assert (told.endpoint, told.model, told.provider) == ("embedded", "smollm2", "openai")
    for unit in (*paths.quadlets.iterdir(), *paths.user_units.iterdir()):
        assert "bin/sh" not in unit.read_text()
        assert "Lovelace" not in unit.read_text()


@pytest.mark.parametrize("allowed", [True, False])
def test_the_runner_is_told_whether_scripts_of_tasks_are_run(paths: StatePaths, allowed: bool):
    config = Config(limits=Limits(task_scripts=allowed))
    Provisioner(paths, UnitFiles(ROOT / "quadlets", paths), config).write(GROUP, PUBLISHED)
    assert agent_config.from_json(paths.agent_json("main").read_text()).task_scripts is allowed


def test_a_group_whose_endpoint_has_gone_reaches_nothing(
    provisioner: Provisioner, paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provision, "AGENTS_FILE", tmp_path / "agents.json")
    lost = replace(GROUP, number=8, folder="lost", model="gone/big")
    provisioner.publish_agents([GROUP, lost])
    assert json.loads((tmp_path / "agents.json").read_text()) == {
        "version": 3,
        "egress": [],
        "secrets": [],
        "agents": [
            {"uid": 1007, "group": "main", "endpoints": ["embedded"]},
            {"uid": 1008, "group": "lost", "endpoints": []},
        ],
    }
    provisioner.write(lost, PUBLISHED)
    told = agent_config.from_json(paths.agent_json("lost").read_text())
    assert (told.endpoint, told.model) == ("gone", "big")


def test_a_gateway_outside_has_to_know_a_groups_own_id(
    paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """F-130. And the agent is told that it needs no key, and what to say where one is missing (F-146)."""
    monkeypatch.setattr(provision, "AGENTS_FILE", tmp_path / "agents.json")
    config = Config(gateway=Gateway(onecli=OneCli()), endpoints={"big": Endpoint(url="http://box/v1")}, model="big/one")
    provisioner = Provisioner(paths, UnitFiles(ROOT / "quadlets", paths), config)
    provisioner.publish_agents([GROUP])
    (agent,) = json.loads((tmp_path / "agents.json").read_text())["agents"]
    assert (agent["id"], agent["name"]) == (GROUP.id, GROUP.name)
    provisioner.write(GROUP, PUBLISHED)
    assert f"assigned in OneCLI to the agent of group {GROUP.folder}" in paths.agent_memory("main").read_text()


@pytest.mark.parametrize(
    ("target", "zone"),
    [
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("../usr/share/zoneinfo/Etc/GMT+5", "Etc/GMT+5"),
        ("/usr/share/zoneinfo/", "UTC"),
        ("/somewhere/else", "UTC"),
        ("/usr/share/zoneinfo/Europe/Bad Name", "UTC"),
        ("/usr/share/zoneinfo/Mars%h", "UTC"),
        ("/usr/share/zoneinfo/../../etc/passwd", "UTC"),
    ],
)
def test_the_machines_time_zone(tmp_path: Path, target: str, zone: str):
    """A zone that no unit file could hold must not keep every group from starting."""
    link = tmp_path / "localtime"
    link.symlink_to(target)
    assert local_timezone(link) == zone


def test_a_machine_without_a_zone(tmp_path: Path):
    assert local_timezone(tmp_path / "localtime") == "UTC"
    (tmp_path / "copied").write_bytes(b"TZif2")
    assert local_timezone(tmp_path / "copied") == "UTC"
