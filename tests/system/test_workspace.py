"""What containers of a group share, what they may not write, and what they are given of the machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from system import appliance
from system.appliance import Person, call, configured, podman, session_of

STATE = Path("/var/lib/nanoclaw")
OWN = STATE / "skills" / "test-own"


@pytest.fixture
def person(group: str) -> Iterator[Person]:
    with Person(group) as somebody:
        assert somebody.ask("hello").answers == ("echo: hello",)
        yield somebody


def restarted(group: str, person: Person) -> None:
    assert call("Groups.Restart", name=group)["restarted"] == 1
    person.ask("hello again")


def test_what_is_shared_is_read_only(group: str, person: Person) -> None:
    """F-184, F-188, F-203, F-204: skills, configuration and composed memory are files of the host's."""
    (STATE / "agents" / group / "agent-runner-src").mkdir()
    for path in ("/app/skills/shipped/new", "/app/skills/shipped/welcome/SKILL.md", "/app/skills/own/new"):
        assert "OSError" in person.ask(f"!write {path} x").text
    for path in ("/app/agent/agent.json", "/app/agent/AGENTS.md", "/app/agent/new"):
        assert "OSError" in person.ask(f"!write {path} x").text
    assert "welcome" in person.ask("!read /app/skills/shipped").text
    restarted(group, person)


def test_the_environment_has_no_configuration(group: str, person: Person) -> None:
    """F-189, F-190: no variable of ours; the settings are in the file."""
    names = {
        entry.partition("=")[0]
        for entry in json.loads(
            podman("container", "inspect", "-f", "{{json .Config.Env}}", session_of(group).container)
        )
    }
    assert not [name for name in names if "NANOCLAW" in name]
    known = {"HOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TZ", "LANG", "PATH", "WATCHDOG_USEC", "NOTIFY_SOCKET"}
    assert names <= known | {"container", "HOSTNAME", "TERM", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"}
    settings = json.loads(person.ask("!read /app/agent/agent.json").text.partition(": ")[2])
    assert (settings["group"], settings["max_messages_per_prompt"], settings["may_ask_host"]) == (group, 10, True)


def test_settings_reach_the_next_container_only(group: str, person: Person) -> None:
    """F-216, F-222: a verb that configures writes, and ends nothing; a restart without a name is a mistake."""
    container = podman("container", "inspect", "-f", "{{.Id}}", session_of(group).container)
    subprocess.run(
        ["ncl", "groups", "update", group, "--effort", "high", "--max-messages", "3", "--skills", "welcome"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    call("Packages.Add", group=group, apt=["jq"])
    call("Packages.Remove", group=group, apt=["jq"])
    call("Mcp.Add", group=group, name="files", program="mcp-files", instructions="It has files.")
    person.ask("still there?")
    assert podman("container", "inspect", "-f", "{{.Id}}", session_of(group).container) == container
    restarted(group, person)
    assert podman("container", "inspect", "-f", "{{.Id}}", session_of(group).container) != container
    settings = json.loads(person.ask("!read /app/agent/agent.json").text.partition(": ")[2])
    assert (settings["effort"], settings["max_messages_per_prompt"], settings["skills"]) == ("high", 3, ["welcome"])
    assert "It has files." in person.ask("!read /app/agent/AGENTS.md").text
    call("Mcp.Remove", group=group, name="files")
    shown = call("Groups.Get", name=group)["group"]
    assert (shown["effort"], shown["max_messages"], shown["skills"], shown["image"]) == ("high", 3, "welcome", "")
    done = subprocess.run(
        ["ncl", "groups", "restart"], capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 2, "F-222: it says that a name is missing"


def test_skills_are_those_that_are_there_at_the_start(group: str, person: Person) -> None:
    """F-185, F-186: the package's and the operator's, all or those that are named."""
    links = "/home/agent/.claude/skills"
    assert sorted(person.ask(f"!read {links}").text.split()[2:]) == ["self-customize", "welcome"]
    OWN.mkdir(parents=True)
    try:
        (OWN / "SKILL.md").write_text("---\ndescription: a test\n---\n")
        restarted(group, person)
        assert sorted(person.ask(f"!read {links}").text.split()[2:]) == ["self-customize", "test-own", "welcome"]
        assert "test-own" in [one["name"] for one in call("Skills.List")["skills"]]
        call("Groups.Update", name=group, skills="test-own")
        assert [one["name"] for one in call("Skills.List", group=group)["skills"]] == ["test-own"]
        restarted(group, person)
        assert person.ask(f"!read {links}").text.split()[2:] == ["test-own"]
    finally:
        shutil.rmtree(OWN)


def test_the_workspace_lasts_and_is_the_groups_own(group: str, person: Person) -> None:
    """F-187, F-192: notes that the agent makes are kept, in every container, and no other group sees them."""
    person.ask("!write /workspace/AGENTS.md remember this")
    assert person.ask("!read /workspace/CLAUDE.md").text == "read /workspace/CLAUDE.md: @AGENTS.md\n"
    call("Groups.Update", name=group, display_name="Other")
    restarted(group, person)
    assert person.ask("!read /workspace/AGENTS.md").text.endswith("remember this")
    with appliance.group() as another, Person(another) as other:
        other.ask("hello")
        assert other.ask("!read /workspace/AGENTS.md").text.strip() == "read /workspace/AGENTS.md:"


def test_directories_of_the_machine(group: str) -> None:
    """W-68, W-71: by ncl, read-only unless both sides say otherwise; what is allowed is looked at anew each time."""
    root = Path("/srv/nanoclaw-test-mounts")
    for name in ("docs", "shared", "docs/.ssh"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "docs" / "letter.txt").write_text("dear reader")
    os.chmod(root / "shared", 0o777)  # noqa: PTH101  # whoever it is in the container
    try:
        done = subprocess.run(
            ["ncl", "mounts", "add", group, f"{root}/docs"], capture_output=True, text=True, check=False, timeout=30
        )
        assert "may not be given" in done.stderr
        with configured(mounts={"readable": [f"{root}/docs"], "writable": [f"{root}/shared"]}):
            for words in ([f"{root}/docs"], [f"{root}/shared", "--name", "team", "--writable"]):
                subprocess.run(["ncl", "mounts", "add", group, *words], check=True, capture_output=True, timeout=30)
            refused = subprocess.run(
                ["ncl", "mounts", "add", group, f"{root}/docs/.ssh"],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert "secrets" in refused.stderr
            with Person(group) as person:
                assert person.ask("!read /mnt/docs/letter.txt").text.endswith("dear reader")
                assert "OSError" in person.ask("!write /mnt/docs/new x").text
                assert "wrote 1 bytes" in person.ask("!write /mnt/team/new x").text
            shown = call("Mounts.List", group=group)["mounts"]
            assert [(one["name"], one["writable"], one["problem"]) for one in shown] == [
                ("docs", False, None),
                ("team", True, None),
            ]
        shown = call("Mounts.List", group=group)["mounts"]
        assert all("may not be given" in one["problem"] for one in shown)
        call("Groups.Restart", name=group)
        with Person(group) as person:
            assert "FileNotFoundError" in person.ask("!read /mnt/docs/letter.txt").text
    finally:
        shutil.rmtree(root)
