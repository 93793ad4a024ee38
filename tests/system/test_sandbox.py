"""Acceptance 5: what an agent can see and touch from inside its container, tried from inside."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from system import appliance
from system.appliance import Person, session_of
from system.hostile.stage import hostile_group


@pytest.fixture(scope="module")
def group_of_probes() -> Iterator[str]:
    with appliance.group() as name:
        yield name


@pytest.fixture(scope="module")
def somebody(group_of_probes: str) -> Iterator[Person]:
    with Person(group_of_probes) as person:
        yield person


@pytest.fixture
def person(somebody: Person) -> Person:
    """Somebody whose container is awake."""
    assert somebody.ask("hello").answers == ("echo: hello",)
    return somebody


def probe(person: Person, directive: str) -> str:
    return person.ask(directive).text


def test_identity_has_nothing_to_lose(person: Person) -> None:
    words = dict(word.split("=", 1) for word in probe(person, "!id").split()[1:])
    assert int(words["uid"]) >= 1001
    assert words["gid"] == "0"
    assert words["groups"] in ("", "0")
    assert int(words["CapEff"], 16) == 0
    assert int(words["CapBnd"], 16) == 0
    assert words["NoNewPrivs"] == "1"
    assert words["interfaces"] == "lo"


@pytest.mark.parametrize(
    "path",
    [
        "/session/in/inbound.db",
        "/session/in/new",
        "/session/in/files/new",
        "/app/new",
        "/app/agent/agent.json",
        "/app/runner/nanoclaw_runner/__main__.py",
        "/app/runner/new.py",
        "/new",
        "/etc/passwd",
        "/usr/bin/new",
        "/run/nanoclaw-gateway/gateway.sock",
        "/run/nanoclaw-gateway/new",
        "/proc/sys/kernel/core_pattern",
        "/proc/1/mem",
        "/sys/fs/cgroup/cgroup.procs",
    ],
)
def test_no_write_outside_its_own_places(person: Person, path: str) -> None:
    """F-84, F-181."""
    answer = probe(person, f"!write {path} mine")
    assert answer.startswith("write: "), answer
    assert any(word in answer for word in ("Read-only", "Permission", "Input/output error", "No such device")), answer


@pytest.mark.parametrize("path", ["/workspace/x", "/home/agent/x", "/tmp/x", "/session/out/files/x"])
def test_its_own_places_can_be_written(person: Person, path: str) -> None:
    assert probe(person, f"!write {path} mine") == f"wrote 4 bytes to {path}"
    assert probe(person, f"!read {path}") == f"read {path}: mine"


@pytest.mark.parametrize("address", ["127.0.0.1 22", "127.0.0.1 80", "10.0.2.2 80", "169.254.169.254 80", "8.8.8.8 53"])
def test_no_way_out_by_tcp(person: Person, address: str) -> None:
    assert "connected" not in probe(person, f"!connect {address}")


def test_a_server_of_the_host_is_out_of_reach(person: Person) -> None:
    """Something listens on the host's loopback, and the container's loopback is another."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "ConnectionRefused" in probe(person, f"!connect 127.0.0.1 {port}")


def test_the_gateway_can_be_reached(person: Person) -> None:
    assert "connected" in probe(person, "!connect unix /run/nanoclaw-gateway/gateway.sock")


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/nanoclaw",
        "/var/lib/nanoclaw/central.db",
        "/etc/nanoclawd/config.yaml",
        "/etc/credstore.encrypted",
        "/run/credentials",
        "/run/user",
        "/run/nanoclawd/control.sock",
        "/run/nanoclaw-model",
        "/run/nanoclaw-agents/agents.json",
        "/run/dbus",
        "/run/systemd",
    ],
)
def test_nothing_of_the_host_is_there(person: Person, path: str) -> None:
    answer = probe(person, f"!read {path}")
    assert "FileNotFoundError" in answer or "PermissionError" in answer, answer


def test_the_runner_gives_nothing_away(person: Person) -> None:
    """It is not dumpable: its environment, memory and descriptors are closed to tools of the same uid."""
    session = session_of(person.group)
    seen = appliance.podman(
        "exec", session.container, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    )
    assert "NOTIFY_SOCKET=/" not in seen.replace("NOTIFY_SOCKET=/run/notify", "")
    runner = appliance.runner(session)
    assert runner is not None
    tried = appliance.podman(
        "exec",
        session.container,
        "sh",
        "-c",
        "for p in /proc/[0-9]*; do if grep -q nanoclaw_runner $p/cmdline && grep -q ^python3 $p/cmdline; then"
        " echo found; ls $p/fd 2>&1; cat $p/environ 2>&1; fi; done",
        check=False,
    )
    assert "found" in tried
    assert tried.count("Permission denied") >= 2, tried


@pytest.fixture(scope="module")
def probed() -> Iterator[dict[str, str]]:
    """Everything at once, by code that runs in the runner's place."""
    with appliance.group() as neighbour, Person(neighbour) as near, hostile_group() as stage:
        near.ask("!write /workspace/secret the neighbours secret")
        assert stage.person.ask("probe", 60).answers == ("probed",)
        text = (stage.workspace / "probe.txt").read_text()
        print(text)
        found = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        found["neighbour"] = neighbour
        found["group"] = stage.group
        yield found


@pytest.mark.parametrize(
    "attempt",
    [
        "replace",
        "rename",
        "unlink",
        "chmod",
        "chown",
        "files away",
        "out chmod",
        "inbound write",
        "inbound unlink",
        "inbound create",
        "inbound lease",
        "outbound lease",
        "app write",
        "app create",
        "agent.json",
        "root",
        "etc",
        "usr",
        "gateway unlink",
        "gateway create",
        "unshare",
        "setuid",
        "setgid",
        "raw socket",
        "packet socket",
        "connect 10.0.2.2",
        "connect 169.254.169.254",
        "connect 8.8.8.8",
        "hostname",
        "sysctl",
        "sysrq",
        "kmsg",
    ],
)
def test_an_attempt_fails(probed: dict[str, str], attempt: str) -> None:
    """F-84: the container writes its database and can neither replace, rename, chmod nor lease it."""
    assert not probed[attempt].startswith("done"), f"{attempt}: {probed[attempt]}"


def test_it_sees_its_own_processes_only(probed: dict[str, str]) -> None:
    commands = json.loads(probed["processes"])
    assert len(commands) <= 4
    assert all("attacker" in command or "init" in command for command in commands.values()), commands


def test_it_sees_no_socket_of_the_host_or_of_others(probed: dict[str, str]) -> None:
    """Abstract sockets belong to the network namespace; others' doorbells have no path in here."""
    assert "nanoclawd" not in probed["sockets"]
    assert ".sock" not in probed["sockets"].replace("gateway.sock", "")
    assert probed["interfaces"] == "lo"


def test_it_has_no_credential(probed: dict[str, str]) -> None:
    environment = json.loads(probed["environment"])
    for name in environment:
        assert not any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "CREDENTIAL", "PASSWORD")), name
    assert "credentials" not in probed["run"].split()


def test_its_mounts_are_the_contracts(probed: dict[str, str]) -> None:
    """F-181, F-182: nothing of another group, no path of the host besides those of the contract."""
    ours = {path for path in probed["mounts"].split() if not path.startswith(("/proc", "/sys", "/dev"))}
    assert ours == {
        "/",
        "/etc/hostname",
        "/etc/hosts",
        "/run",
        "/run/.containerenv",
        "/run/nanoclaw-gateway",
        "/run/notify",
        "/tmp",
        "/var/tmp",
        "/session/in",
        "/session/out",
        "/home/agent",
        "/workspace",
        "/app/runner",
        "/app/agent",
        "/app/skills/shipped",
        "/app/skills/own",
    } | (ours & {"/run/secrets", "/run/podman-init", "/etc/passwd", "/etc/group", "/run/notify/notify.sock"})


def test_two_groups_share_one_read_only_runner(person: Person, probed: dict[str, str]) -> None:
    """F-181, F-182, F-204."""
    first = appliance.podman("inspect", session_of(person.group).container, "--format", "{{json .Mounts}}")
    second = appliance.podman("inspect", session_of(probed["neighbour"]).container, "--format", "{{json .Mounts}}")

    def runner(text: str) -> tuple[str, bool]:
        (found,) = [mount for mount in json.loads(text) if mount["Destination"] == "/app/runner"]
        return found["Source"], found["RW"]

    assert runner(first) == runner(second)
    assert runner(first)[1] is False


def test_the_image_alone_does_not_run(person: Person) -> None:
    """F-183: without the shared mount there is no runner in it."""
    image = appliance.podman("inspect", session_of(person.group).container, "--format", "{{.ImageName}}").strip()
    text = appliance.podman(
        "run", "--rm", "--network=none", "--pids-limit=0", image, "sh", "-c",
        "python3 -sP -m nanoclaw_runner && echo ran || echo 'exit '$?",
    )  # fmt: skip
    assert text.splitlines()[-1].startswith("exit ")


def test_a_group_cannot_reach_anothers_files_or_processes(probed: dict[str, str]) -> None:
    """One uid per group: what they share is a gid, and no mount."""
    directory = appliance.STATE / "groups"
    mine, theirs = directory / probed["group"], directory / probed["neighbour"]
    owners = {path.stat().st_uid for path in (mine / "probe.txt", theirs / "secret")}
    assert len(owners) == 2
    assert not any(owner in (0, os.getuid(), Path(appliance.STATE).stat().st_uid) for owner in owners)


def test_inbound_rows_are_seen_at_once_and_nothing_is_left_open(person: Person) -> None:
    """F-205, F-206, F-207: a fresh handle per read, no mapping, no descriptors that pile up."""
    runner = appliance.runner(session_of(person.group))
    assert runner is not None
    person.ask("before")

    def descriptors() -> int:
        return len(list(Path(f"/proc/{runner.pid}/fd").iterdir()))

    count = descriptors()
    for number in range(50):
        assert person.ask(f"row {number}").answers == (f"echo: row {number}",)
    assert descriptors() == count
    assert ".db" not in Path(f"/proc/{runner.pid}/maps").read_text()
