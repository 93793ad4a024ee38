"""What a group was given, as files: what its runner is told, its memory, its unit, what it may reach."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_provision import GROUP, PUBLISHED
from test_quadlets import ROOT

from nanoclaw_runner.contract import agent_config
from nanoclaw_runner.contract.agent_config import McpServer
from nanoclawd.agents import provision
from nanoclawd.agents.provision import Provisioner
from nanoclawd.config import Config, Endpoint, Mounts
from nanoclawd.paths import StatePaths
from nanoclawd.store.group_configuration import DEFAULT, GroupConfiguration, Mount
from nanoclawd.supervision.quadlets import UnitFiles

BIG = replace(GROUP, model="big/one")


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path.resolve() / "state")


def provisioner(paths: StatePaths, **config: object) -> Provisioner:
    endpoints = {**Config().endpoints, "big": Endpoint(url="http://x/v1"), "files": Endpoint(url="http://y")}
    settings = Config(endpoints=endpoints, **config)  # type: ignore[arg-type]  # sections of the file
    return Provisioner(paths, UnitFiles(ROOT / "quadlets", paths), settings, ROOT)


def told(paths: StatePaths) -> agent_config.AgentConfig:
    return agent_config.from_json(paths.agent_json("main").read_text())


def unit(paths: StatePaths) -> str:
    return (paths.quadlets / "nanoclaw-main@.container").read_text()


def test_settings_are_told_by_file(paths: StatePaths):
    """F-189: nothing of them is in the unit; without any the defaults hold."""
    made = provisioner(paths)
    server = McpServer("files", "mcp-files", ("-v",), {"A": "1"})
    made.write(
        replace(BIG, cli_scope="disabled"),
        PUBLISHED,
        GroupConfiguration(effort="high", max_messages=3, skills=("welcome",), mcp_servers=(server,)),
    )
    found = told(paths)
    assert (found.effort, found.max_messages_per_prompt, found.skills) == ("high", 3, ("welcome",))
    assert (found.mcp_servers, found.may_ask_host) == ((server,), False)
    assert "mcp-files" not in unit(paths)
    made.write(BIG, PUBLISHED)
    assert (told(paths).effort, told(paths).max_messages_per_prompt, told(paths).skills) == ("", 10, None)
    assert told(paths).may_ask_host


def test_how_a_model_is_talked_to_is_its_endpoints_affair(paths: StatePaths):
    made = provisioner(paths)
    made.write(GROUP, PUBLISHED)
    assert (told(paths).prompt, told(paths).tools, told(paths).context_tokens) == ("plain", False, 8192)
    assert paths.agent_memory("main").read_text() == ""
    made.write(BIG, PUBLISHED)
    assert (told(paths).prompt, told(paths).tools, told(paths).context_tokens) == ("addressed", True, 128_000)
    assert told(paths).turn_seconds == Config().timeouts.turn - 30


def test_the_composed_memory_is_whole_at_each_write(paths: StatePaths):
    """F-188: base, what it was given, fragments of its skills, instructions of its servers; no trace of old ones."""
    skill = paths.skills / "zoo"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\ndescription: animals\n---\n")
    (skill / "instructions.md").write_text("Feed them.")
    made = provisioner(paths)
    server = McpServer("files", "mcp-files", instructions="It has files.")
    given = GroupConfiguration(packages={"apt": ("ffmpeg",)}, mcp_servers=(server,))
    made.write(BIG, PUBLISHED, given)
    text = paths.agent_memory("main").read_text()
    for words in ("/workspace/AGENTS.md", ", ffmpeg", "Feed them.", "It has files.", "install_packages"):
        assert words in text
    made.write(replace(BIG, cli_scope="disabled"), PUBLISHED, GroupConfiguration(skills=("welcome",)))
    text = paths.agent_memory("main").read_text()
    for words in ("ffmpeg", "Feed them.", "It has files.", "install_packages"):
        assert words not in text


def test_notes_are_made_once_and_never_touched(paths: StatePaths):
    """F-187, F-192: whoever has written them, and also where they are a link of the agent's."""
    made = provisioner(paths)
    made.write(BIG, PUBLISHED)
    workspace = paths.workspace("main")
    assert (workspace / "CLAUDE.md").read_text() == "@AGENTS.md\n"
    assert (workspace / "AGENTS.md").stat().st_mode & 0o777 == 0o660
    (workspace / "AGENTS.md").write_text("mine")
    (workspace / "CLAUDE.md").unlink()
    outside = paths.root / "outside"
    (workspace / "CLAUDE.md").symlink_to(outside)
    made.write(BIG, PUBLISHED)
    assert (workspace / "AGENTS.md").read_text() == "mine"
    assert not outside.exists()


def test_the_image_of_a_group(paths: StatePaths):
    """F-221: its own one, once it was built for the provider that it has; else its provider's."""
    made = provisioner(paths)
    built = GroupConfiguration(image_stage="agent", image_tag="abcdefabcdef")
    made.write(BIG, PUBLISHED, built)
    assert "Image=localhost/nanoclaw-group-main:abcdefabcdef\n" in unit(paths)
    made.write(BIG, PUBLISHED, replace(built, image_stage="agent-claude"))
    assert f"Image={PUBLISHED.image}\n" in unit(paths)
    made.write(BIG, PUBLISHED, replace(DEFAULT, packages={"apt": ("jq",)}))
    assert f"Image={PUBLISHED.image}\n" in unit(paths)


def test_directories_of_the_machine(paths: StatePaths, tmp_path: Path):
    """W-71: what may not be given any more is left out of the unit, and the group starts."""
    docs = tmp_path.resolve() / "docs"
    docs.mkdir()
    given = GroupConfiguration(mounts=(Mount("docs", str(docs), writable=True), Mount("gone", "/srv/gone")))
    made = provisioner(paths, mounts=Mounts(readable=(str(docs),)))
    made.write(BIG, PUBLISHED, given)
    assert f"Volume={docs}:/mnt/docs:ro,nosuid,nodev\n" in unit(paths)
    assert "/mnt/gone" not in unit(paths)
    assert "/mnt/docs" in paths.agent_memory("main").read_text()
    docs.rmdir()
    assert made.write(BIG, PUBLISHED, given)
    assert "/mnt/" not in unit(paths)
    assert made.mount_problem(given.mounts[0]).startswith("there is no directory")


def test_endpoints_of_mcp_servers_are_in_reach(paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its model's and its servers', and no others; one that has gone from the configuration is nobody's."""
    monkeypatch.setattr(provision, "AGENTS_FILE", tmp_path / "agents.json")
    servers = (McpServer("a", url="files/mcp"), McpServer("b", url="gone/mcp"), McpServer("c", "program"))
    provisioner(paths).publish_agents([BIG], {BIG.id: GroupConfiguration(mcp_servers=servers)})
    (agent,) = json.loads((tmp_path / "agents.json").read_text())["agents"]
    assert agent["endpoints"] == ["big", "files"]
