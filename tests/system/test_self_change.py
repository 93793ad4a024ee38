"""Agents that change themselves: asked, shown, allowed, built, restarted, verified, reported; refused; failed.

The package is made here, and lies in a repository of its own: a build in the bed has no network.
"""

import hashlib
import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.appliance import SessionNames, call, configured, kill_daemon, podman, run, wired
from system.loopback import Account

REPOSITORY = Path("/srv/nanoclaw-test-packages")
GREETER = "nanoclaw-greeter"


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    """Make a flat apt repository with one package, and have the appliance build from it."""
    shutil.rmtree(REPOSITORY, ignore_errors=True)
    tree = REPOSITORY / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {GREETER}\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: greets\n"
    (tree / "DEBIAN" / "control").write_text(control)
    program = tree / "usr" / "bin" / GREETER
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho hello from the package\n")
    program.chmod(0o755)
    package = REPOSITORY / f"{GREETER}.deb"
    run("dpkg-deb", "--root-owner-group", "-b", str(tree), str(package))
    content = package.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (REPOSITORY / "Packages").write_text(
        f"{control}Filename: ./{package.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"
    )
    with configured(images={"packages": str(REPOSITORY)}):
        yield REPOSITORY
    shutil.rmtree(REPOSITORY)


@pytest.fixture
def loop(repository: Path) -> Iterator[Account]:
    del repository
    with Account("loop", idempotent=True) as account:
        yield account


@pytest.fixture
def admin(loop: Account, group: str) -> Iterator[str]:
    """An administrator of the group with a direct chat; taken back at the end."""
    name = f"admin-{secrets.token_hex(4)}"
    loop.direct_chat(name, f"dm-{name}")
    call("Roles.Grant", user=f"loopback:{name}", role="admin", group=group)
    yield name
    call("Users.Delete", user=f"loopback:{name}")


def asks(loop: Account, chat: str, tool: str, **arguments: object) -> None:
    loop.asks(chat, f"!call {tool} {json.dumps(arguments)}", "Not done yet")


def packages(group: str) -> list[str]:
    return [one["name"] for one in call("Packages.List", group=group)["packages"]]


def image_of(group: str) -> str:
    (found,) = call("Sessions.List", group=group)["sessions"]
    return podman("container", "inspect", "-f", "{{.ImageName}}", SessionNames(group, found["id"]).container).strip()


def test_a_package_is_asked_for_allowed_built_and_there(loop: Account, group: str, admin: str) -> None:
    """F-203, F-225: the card says exactly what is installed; a person's yes, and the next container has it."""
    chat = wired("loop", group)
    loop.asks(chat, "hello", "echo: hello")
    stage = image_of(group)
    asks(loop, chat, "install_packages", apt=[GREETER], reason="to greet people")
    card = loop.gets_card(f"dm-{admin}")
    assert f"ncl packages install {group} --reason 'to greet people' --apt {GREETER}\n" in card.text
    assert f'apt: `["{GREETER}"]`' in card.text
    assert "The session that asks is restarted, and no other." in card.text
    assert packages(group) == []
    before = len(loop.deliveries)
    loop.click(card, "Allow", sender=admin)
    told = loop.hears(chat, "Verify that what you asked for works, and report", after=before, seconds=120).text
    assert "echo: [system] Done: ncl packages install" in told
    assert packages(group) == [GREETER]
    assert image_of(group) != stage
    assert image_of(group).startswith(f"localhost/nanoclaw-group-{group}:")
    assert "hello from the package" in loop.asks(chat, f"!read /usr/bin/{GREETER}", "read /usr/bin")
    context = Path(f"/var/lib/nanoclaw/images/groups/{group}/context")
    assert [path.name for path in context.iterdir()] == ["Containerfile"]


def test_what_is_refused_is_not_done(loop: Account, group: str, admin: str) -> None:
    """F-203: a person's no is told to the agent, and nothing has changed."""
    chat = wired("loop", group)
    asks(loop, chat, "install_packages", apt=[GREETER], reason="to greet people")
    card = loop.gets_card(f"dm-{admin}")
    before = len(loop.deliveries)
    loop.click(card, "Deny", sender=admin)
    loop.hears(chat, "echo: [system] Refused by somebody with the right to decide", after=before)
    assert packages(group) == []


def test_a_build_that_fails_changes_nothing_and_says_why(loop: Account, group: str, admin: str) -> None:
    """F-221: the old image stays in use, the configuration as it was, and the agent is told what the build has said."""
    chat = wired("loop", group)
    asks(loop, chat, "install_packages", apt=["nanoclaw-no-such-package"], reason="to fail")
    stage = image_of(group)
    before = len(loop.deliveries)
    loop.click(loop.gets_card(f"dm-{admin}"), "Allow", sender=admin)
    told = loop.hears(chat, "Allowed, but it failed", after=before, seconds=120).text
    assert "Unable to locate package nanoclaw-no-such-package" in told
    assert packages(group) == []
    assert image_of(group) == stage

    call("Packages.Add", group=group, apt=["nanoclaw-no-such-package"])
    done = subprocess.run(
        ["ncl", "groups", "restart", group, "--rebuild"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode != 0
    assert "Unable to locate package" in done.stderr
    assert image_of(group) == stage


def test_names_that_are_no_names_reach_no_card(loop: Account, group: str) -> None:
    """W-57, F-203: an agent is refused before anybody is asked; so is an operator."""
    chat = wired("loop", group)
    for name in ("jq; reboot", "--allow-downgrades", "jq=1.7", "/tmp/x.deb"):
        arguments = json.dumps({"apt": [name], "reason": "r"})
        loop.asks(chat, f"!call install_packages {arguments}", "can't be installed")
        done = subprocess.run(
            ["ncl", "packages", "add", group, f"--apt={name}"], capture_output=True, text=True, check=False, timeout=30
        )
        assert "can't be installed" in done.stderr
    assert [one for one in call("Approvals.List")["approvals"] if one["group"] == group] == []


def test_a_daemon_that_dies_goes_on_with_it(loop: Account, group: str, admin: str) -> None:
    """F-225: allowed is allowed; the next daemon builds, restarts and tells, once."""
    chat = wired("loop", group)
    asks(loop, chat, "install_packages", apt=[GREETER], reason="to greet people")
    card = loop.gets_card(f"dm-{admin}")
    (asked,) = [one for one in call("Approvals.List")["approvals"] if one["group"] == group]
    before = len(loop.deliveries)
    call("Approvals.Decide", approval=asked["id"], option="allow")
    kill_daemon()
    loop.hears(chat, "Verify that what you asked for works, and report", after=before, seconds=120)
    del card
    assert packages(group) == [GREETER]
    assert "hello from the package" in loop.asks(chat, f"!read /usr/bin/{GREETER}", "read /usr/bin")
    notes = [one for one in loop.deliveries[before:] if one.chat == chat and "Verify that" in one.text]
    assert len(notes) == 1


def test_an_mcp_server_is_asked_for_and_there_after_the_restart(loop: Account, group: str, admin: str) -> None:
    """F-203, F-225: with its arguments and variables on the card; only the next container is told."""
    chat = wired("loop", group)
    arguments = {"command": "mcp-files", "args": ["--root", "/workspace"], "env": {"MODE": "ro"}}
    asks(loop, chat, "add_mcp_server", name="files", reason="to see files", **arguments)
    card = loop.gets_card(f"dm-{admin}")
    assert "--program mcp-files" in card.text
    assert "--arg=--root --arg /workspace" in card.text
    assert "--env MODE=ro" in card.text
    before = len(loop.deliveries)
    loop.click(card, "Allow", sender=admin)
    loop.hears(chat, "Verify that its tools work, and report", after=before)
    told = loop.asks(chat, "!read /app/agent/agent.json", "read /app/agent")
    assert '"mcp-files"' in told
