"""The package's life on a machine: install, upgrade, remove, install again, purge (acceptance 7; F-205…F-208).

These tests take the appliance away, so they run in a bed of their own::

    BED_NAME=package tests/bed/in-fresh-bed python3 -m pytest -p no:cacheprovider /src/tests/system_package

They go from one state to the next in the order of this file.
"""

import grp
import json
import os
import pwd
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from package_stage import (
    APT,
    GATEWAY,
    STATE,
    UNITS,
    USER,
    all_ids,
    apt,
    delegated,
    is_active,
    network,
    output,
    processes,
    range_of,
    run,
    show,
    traces,
)

from eventually import wait_until


@pytest.fixture(scope="session")
def deb(tmp_path_factory: pytest.TempPathFactory):
    """The package that `bed up` has installed."""
    (found,) = Path("/var/cache/nanoclaw-bed").glob("nanoclawd_*.deb")
    copy = tmp_path_factory.mktemp("deb") / found.name
    shutil.copyfile(found, copy)
    copy.parent.chmod(0o755)
    copy.parent.parent.chmod(0o755)
    return copy


@pytest.fixture(scope="session")
def newer_deb(deb: Path, tmp_path_factory: pytest.TempPathFactory):
    """The same package with a higher version, as a rebuilt one would have."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    run("dpkg-deb", "-R", str(deb), str(tree))
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"^Version: (.*)$", r"Version: \1+newer", control.read_text(), flags=re.MULTILINE))
    target = tree.parent / "nanoclawd_newer_all.deb"
    run("dpkg-deb", "--root-owner-group", "-b", str(tree), str(target))
    return target


def test_install_leaves_users_ids_and_linger():
    user, gateway = pwd.getpwnam(USER), pwd.getpwnam(GATEWAY)
    assert user.pw_uid != gateway.pw_uid
    assert user.pw_dir == str(STATE)
    assert user.pw_shell.endswith("nologin")
    assert gateway.pw_shell.endswith("nologin")
    assert grp.getgrnam("nanoclaw-admin").gr_mem == []
    # the gateway holds the keys: the daemon must not be in its group, nor it in the daemon's
    assert grp.getgrnam(USER).gr_mem == []
    assert grp.getgrnam(GATEWAY).gr_mem == []
    assert [range_of(kind)[1] for kind in ("uid", "gid")] == [65536, 65536]
    assert Path("/var/lib/systemd/linger/nanoclaw").exists()
    assert is_active(f"user@{user.pw_uid}.service")


def test_subordinate_ids_work():
    table = output(
        "runuser", "-u", USER, "--", "unshare", "-U", "--map-root-user", "--map-auto", "cat", "/proc/self/uid_map"
    )
    assert sum(int(line.split()[2]) for line in table.splitlines()) >= 65536


def test_units_are_enabled_and_running():
    for unit in UNITS:
        assert output("systemctl", "is-enabled", unit) == "enabled"
        assert is_active(unit), output("systemctl", "--no-pager", "status", unit)
    uid = pwd.getpwnam(USER).pw_uid
    assert f"user@{uid}.service" in show("nanoclawd.service", "After").split()
    assert f"XDG_RUNTIME_DIR=/run/user/{uid}" in show("nanoclawd.service", "Environment")
    assert "nanoclawd" not in output("systemctl", "list-units", "--failed", "--plain", "--no-legend")
    # programs are listened to only where somebody wants that (W-56)
    hooks = ("--plain", "--no-legend", "nanoclaw-hooks.socket")
    assert output("systemctl", "list-unit-files", "--state=disabled", *hooks)
    assert not is_active("nanoclaw-hooks.socket")


@pytest.mark.parametrize(
    "unit",
    ["nanoclawd.service", "nanoclaw-gateway.service", "nanoclaw-hooks.service", "nanoclaw-credentials.service"],
)
def test_units_are_hardened(unit: str):
    text = output("systemd-analyze", "security", "--no-pager", unit)
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)[1])
    assert exposure <= 2.0, text


def test_modes():
    expected = {
        "/var/lib/nanoclaw": (0o750, USER, USER),
        "/run/nanoclawd": (0o755, "root", "root"),
        "/run/nanoclawd/control.sock": (0o660, "root", "nanoclaw-admin"),
        "/run/nanoclawd/credentials.sock": (0o660, "root", "nanoclaw-admin"),
        "/run/nanoclawd/http.sock": (0o660, "root", "nanoclaw-hooks"),
        # an agent's host group is nanoclaw: it may connect, and not put a socket of its own there
        "/run/nanoclaw-gateway": (0o755, "root", "root"),
        "/run/nanoclaw-gateway/gateway.sock": (0o660, "root", USER),
        "/run/nanoclaw-agents": (0o755, USER, USER),
        "/run/nanoclaw-model": (0o2750, USER, GATEWAY),
        "/etc/nanoclawd/config.yaml": (0o644, "root", "root"),
    }
    found = {}
    for path in expected:
        status = os.lstat(path)
        found[path] = (
            stat.S_IMODE(status.st_mode),
            pwd.getpwuid(status.st_uid).pw_name,
            grp.getgrgid(status.st_gid).gr_name,
        )
    assert found == expected


def test_with_a_token_the_daemon_has_a_network_and_is_hardened_all_the_same():
    store = ("ncl", "credentials", "put", "nanoclawd.telegram")
    closed = {"PrivateNetwork": {"yes"}, "RestrictAddressFamilies": {"AF_UNIX"}, "IPAddressDeny": {"::/0", "0.0.0.0/0"}}
    assert network() == closed
    try:
        run(*store, input="4711:token")
        assert network() == {
            "PrivateNetwork": {"no"},
            "RestrictAddressFamilies": {"AF_INET", "AF_INET6", "AF_UNIX"},
            "IPAddressDeny": set(),
        }
        test_units_are_hardened("nanoclawd.service")
    finally:
        run("ncl", "credentials", "delete", "nanoclawd.telegram")
    assert network() == closed


def test_catalog_and_inotify_limits():
    assert "nanoclawd: The nanoclaw daemon has started" in output("journalctl", "--list-catalog")
    assert int(output("sysctl", "-n", "fs.inotify.max_user_instances")) >= 2048


def test_preparing_the_machine_again_changes_nothing():
    before = [delegated(kind) for kind in ("uid", "gid")]
    done = run("/usr/libexec/nanoclawd/host-setup", "install")
    assert done.stderr == ""
    assert [delegated(kind) for kind in ("uid", "gid")] == before


def test_a_machine_without_room_for_ids_is_told_so_in_one_line():
    script = """
        set -e
        grep -v '^nanoclaw:' /etc/subuid > /tmp/subuid || true
        mount --bind /tmp/subuid /etc/subuid
        exec /usr/libexec/nanoclawd/host-setup install --no-start
    """
    few = ("--map-users=0:0:65536", "--map-groups=0:0:65536")
    done = run("unshare", "--user", *few, "--mount", "sh", "-c", script, check=False)
    assert done.returncode == 0, done.stderr
    assert "no 65536 consecutive uids are free here" in done.stderr


@pytest.fixture(scope="module")
def group():
    """A scripted agent whose image is built, so that its conversations are real containers."""
    base = "localhost/nanoclaw-bed-base:latest"
    as_user = ("runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{pwd.getpwnam(USER).pw_uid}")
    if run(*as_user, "podman", "image", "exists", base, check=False, cwd="/").returncode:
        run(*as_user, "podman", "import", "--quiet", "/usr/local/share/nanoclaw-bed/base.tar", base, cwd="/")
    run("ncl", "images", "build", "agent")
    run("ncl", "groups", "create", "upgraded", "--provider", "scripted")
    return "upgraded"


def session_at_work(group: str):
    """Wait until a session of the group has a turn and return its unit."""
    pattern = f"nanoclaw-{group}@*.service"

    def found() -> str | None:
        units = json.loads(output("systemctl", "--user", "-M", f"{USER}@", "list-units", "--output=json", pattern))
        names = [entry["unit"] for entry in units]
        return next((name for name in names if "answering" in show(name, "StatusText", user=True)), None)

    return wait_until(found, f"a session of {group} has a turn")


def test_upgrade_leaves_running_conversations_alone(newer_deb: Path, group: str):
    """During a turn: its container runs on and its answer arrives; the sockets stay; the daemon is the new one.

    An edited setting is kept.
    """
    uid = pwd.getpwnam(USER).pw_uid
    chat = subprocess.Popen(
        ["ncl", "chat", group, "--timeout", "60", "--message", "!sleep 8\nafter the nap"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    probe = session_at_work(group)
    config = Path("/etc/nanoclawd/config.yaml")
    original = config.read_text()
    config.write_text(original + "\n# kept\n")

    def seen() -> dict[str, str]:
        return {
            "container": show(probe, "MainPID", user=True),
            "manager": show(f"user@{uid}.service", "InvocationID"),
            "control": show("nanoclawd.socket", "InvocationID"),
            "credentials": show("nanoclaw-credentials.socket", "InvocationID"),
            "gateway": show("nanoclaw-gateway.socket", "InvocationID"),
            "inode": str(Path("/run/nanoclaw-gateway/gateway.sock").stat().st_ino),
        }

    before, daemon = seen(), show("nanoclawd.service", "MainPID")
    try:
        apt("install", str(newer_deb))
        assert seen() == before
        assert int(before["container"]) > 0
        assert show("nanoclawd.service", "MainPID") not in {daemon, "0"}
        assert is_active("nanoclawd.service")
        assert config.read_text().endswith("# kept\n")
        assert "echo: after the nap" in chat.communicate(timeout=60)[0]
    finally:
        config.write_text(original)


def test_remove_stops_everything_and_keeps_data(group: str):
    chat = subprocess.Popen(["ncl", "chat", group, "--message", "!sleep 300"], stdout=subprocess.DEVNULL)
    session_at_work(group)
    # an agent's process has a subordinate id, and the daemon's could not end it by itself
    start, _ = range_of("uid")
    stray = subprocess.Popen(["setpriv", f"--reuid={start + 1000}", "--clear-groups", "sleep", "infinity"])
    (STATE / "groups" / "kept").mkdir(parents=True, exist_ok=True)
    precious = STATE / "groups" / "kept" / "note.txt"
    precious.write_text("remember")
    os.chown(precious, start + 1000, pwd.getpwnam(USER).pw_gid)
    before = [delegated(kind) for kind in ("uid", "gid")]
    ids = all_ids()

    apt("remove", "nanoclawd")
    stray.wait(timeout=10)
    chat.kill()
    chat.wait()
    mount_points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert not [point for point in mount_points if "/nanoclaw" in point and "nanoclaw-bed" not in point]
    assert processes(ids) == {}
    assert not Path("/var/lib/systemd/linger/nanoclaw").exists()
    assert not [path for path in Path("/run").iterdir() if "nanoclaw" in path.name]
    # Without --all: Debian keeps the links that enable a unit until purge, hence names without a unit.
    assert output("systemctl", "list-units", "--plain", "--no-legend", "nanoclaw*") == ""
    assert precious.read_text() == "remember"
    assert Path("/etc/nanoclawd/config.yaml").exists()
    # what the data's owner is must not change hands
    assert [delegated(kind) for kind in ("uid", "gid")] == before


def test_install_again_finds_the_data(deb: Path):
    before = [delegated(kind) for kind in ("uid", "gid")]
    apt("install", str(deb))
    assert (STATE / "groups" / "kept" / "note.txt").read_text() == "remember"
    assert [delegated(kind) for kind in ("uid", "gid")] == before
    for unit in UNITS:
        assert is_active(unit), output("systemctl", "--no-pager", "status", unit)


def test_purge_leaves_nothing():
    for secret in ("nanoclaw-gateway.openai-api-key", "nanoclawd.telegram", ".nanoclawd.telegram.draft"):
        Path(f"/etc/credstore.encrypted/{secret}").write_text("sealed")
    Path("/etc/credstore.encrypted/other.secret").write_text("somebody else's")
    ids = all_ids()

    apt("purge", "nanoclawd")
    assert processes(ids) == {}
    assert traces() == []
    for path in ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"):
        assert "nanoclaw" not in Path(path).read_text(), path
    # which exits with 1 where there are none
    assert run("systemctl", "list-unit-files", "--plain", "--no-legend", "nanoclaw*", check=False).stdout == ""
    assert Path("/etc/credstore.encrypted/other.secret").exists()


def test_install_without_systemd_running_starts_at_the_next_boot(deb: Path):
    """As in an image build: nothing can be started, everything is ready for the boot."""
    script = (
        'mount -t tmpfs tmpfs /run && exec apt-get install --yes -q --no-install-recommends -o Dpkg::Use-Pty=0 "$0"'
    )
    run("unshare", "--mount", "sh", "-c", script, str(deb), env=APT)
    assert [range_of(kind)[1] for kind in ("uid", "gid")] == [65536, 65536]
    assert Path("/var/lib/systemd/linger/nanoclaw").exists()
    for unit in UNITS:
        assert output("systemctl", "is-enabled", unit) == "enabled"
        assert not is_active(unit)
    # what a boot does
    run("systemctl", "daemon-reload")
    run("systemd-tmpfiles", "--create")
    run("systemctl", "start", *UNITS)
    assert is_active(f"user@{pwd.getpwnam(USER).pw_uid}.service")
    apt("purge", "nanoclawd")
    assert traces() == []


def test_a_policy_against_starting_is_kept(deb: Path):
    policy = Path("/usr/sbin/policy-rc.d")
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        apt("install", str(deb))
        for unit in (*UNITS, f"user@{pwd.getpwnam(USER).pw_uid}.service"):
            assert not is_active(unit), unit
    finally:
        policy.unlink()
    apt("purge", "nanoclawd")
    assert traces() == []


def test_state_on_another_disk(deb: Path):
    """An administrator's link is kept through an installation, and its target emptied by purge."""
    disk = Path("/srv/disk")
    disk.mkdir(parents=True)
    STATE.symlink_to(disk)
    apt("install", str(deb))
    user = pwd.getpwnam(USER)
    assert STATE.is_symlink()
    assert (disk.stat().st_uid, stat.S_IMODE(disk.stat().st_mode)) == (user.pw_uid, 0o750)
    assert is_active("nanoclawd.service"), output("systemctl", "--no-pager", "status", "nanoclawd.service")
    assert (disk / "central.db").exists()
    apt("purge", "nanoclawd")
    assert list(disk.iterdir()) == []
    assert not STATE.is_symlink()
    disk.rmdir()
