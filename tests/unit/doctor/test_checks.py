"""The host's checks against a machine made of files."""

import os
import pwd
import re
import socket
import subprocess
from pathlib import Path

import pytest

from nanoclawd.doctor.checks import Check, Linger, Podman, SubordinateIds, User, UserManager
from nanoclawd.doctor.finding import Severity
from nanoclawd.doctor.machine_checks import Cgroups, Configuration, Disk, Gateway, Journal, Secrets, Selinux
from nanoclawd.doctor.places import Host
from nanoclawd.doctor.run import HOST_CHECKS, run_host_checks

ME = pwd.getpwuid(os.getuid()).pw_name
SLICE = f"/sys/fs/cgroup/user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(root=tmp_path, user=ME)


def _write(host: Host, path: str, text: str) -> None:
    file = host.path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _severity(check: type[Check], host: Host) -> Severity:
    finding = check(host).run()
    assert finding.id == check.id
    assert finding.detail
    return finding.severity


def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> None:
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ("podman version 5.4.2", "ok"),
        ("podman version 4.3.1", "error"),
        ("podman version 10.0-dev", "ok"),
        ("?", "error"),
    ],
)
def test_podman(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, severity: str):
    _program(tmp_path, monkeypatch, "podman", f"echo '{said}'")
    assert _severity(Podman, host) == severity


def test_podman_missing(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Podman(host).run().fix == "sudo apt install podman"


@pytest.mark.parametrize(
    ("said", "severity", "detail"),
    [
        ("ActiveState=activating\nExecMainStatus=78\nStatusText=config.yaml:3: timeouts.quiet: 0", "error", "quiet"),
        ("ActiveState=failed\nExecMainStatus=78\nStatusText=", "error", "can't use it"),
        ("ActiveState=active\nExecMainStatus=0\nStatusText=3 sessions awake", "ok", "no fault"),
        ("ActiveState=failed\nExecMainStatus=1\nStatusText=", "ok", "no fault"),
        ("", "ok", "no fault"),
    ],
)
def test_a_faulty_configuration_is_named(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, severity: str, detail: str
):
    """The configuration file's first lines promise it."""
    _program(tmp_path, monkeypatch, "systemctl", f"cat <<'END'\n{said}\nEND")
    assert _severity(Configuration, host) == severity
    assert detail in Configuration(host).run().detail


def test_user(host: Host):
    assert _severity(User, host) is Severity.OK
    assert _severity(User, Host(user="no-such-user")) is Severity.ERROR


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        (f"{ME}:100000:65536\n", "ok"),
        (f"{os.getuid()}:100000:65536\n", "ok"),
        (f"{ME}:100000:1000\n", "error"),
        ("somebody:100000:65536\nrubbish\n::\n", "error"),
        ("", "error"),
    ],
)
def test_subordinate_ids(host: Host, text: str, severity: str):
    _write(host, "/etc/subuid", text)
    _write(host, "/etc/subgid", text)
    assert _severity(SubordinateIds, host) == severity


def test_subordinate_ids_need_both_files(host: Host):
    _write(host, "/etc/subuid", f"{ME}:100000:65536\n")
    finding = SubordinateIds(host).run()
    assert finding.severity is Severity.ERROR
    assert "/etc/subgid" in finding.detail


def test_linger(host: Host):
    assert _severity(Linger, host) is Severity.ERROR
    _write(host, f"/var/lib/systemd/linger/{ME}", "")
    assert _severity(Linger, host) is Severity.OK


@pytest.mark.parametrize(("script", "severity"), [("echo active", "ok"), ("echo failed", "error"), ("exit 1", "error")])
def test_user_manager(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, severity: str):
    _program(tmp_path, monkeypatch, "systemctl", script)
    assert _severity(UserManager, host) == severity


def test_cgroups(host: Host):
    assert _severity(Cgroups, host) is Severity.ERROR
    _write(host, "/sys/fs/cgroup/cgroup.controllers", "cpu io pids\n")
    finding = Cgroups(host).run()
    assert (finding.severity, finding.fix) == (Severity.WARNING, None)
    _write(host, "/boot/firmware/cmdline.txt", "root=x\n")
    assert "cgroup_enable=memory" in (Cgroups(host).run().fix or "")
    _write(host, "/sys/fs/cgroup/cgroup.controllers", "cpu memory io pids\n")
    assert _severity(Cgroups, host) is Severity.OK
    _write(host, f"{SLICE}/cgroup.controllers", "pids\n")
    finding = Cgroups(host).run()
    assert "memory not delegated" in finding.detail
    # A template can't be changed by `systemctl set-property`: the fix writes a drop-in, by a shell.
    assert finding.fix is not None
    assert "sudo tee /etc/systemd/system/user@.service.d/90-nanoclaw.conf" in finding.fix
    (printf,) = re.findall("printf '[^']*'", finding.fix)
    written = subprocess.run(["sh", "-c", printf], capture_output=True, text=True, check=True).stdout
    section, delegate = written.splitlines()
    assert section == "[Service]"
    assert {"memory", "pids"} <= set(delegate.removeprefix("Delegate=").split())
    _write(host, f"{SLICE}/cgroup.controllers", "memory pids\n")
    assert _severity(Cgroups, host) is Severity.OK


def test_journal(host: Host):
    _write(host, "/etc/machine-id", "abc\n")
    assert _severity(Journal, host) is Severity.WARNING
    host.path("/var/log/journal/abc").mkdir(parents=True)
    assert _severity(Journal, host) is Severity.OK


def test_selinux(host: Host):
    assert _severity(Selinux, host) is Severity.OK
    _write(host, "/sys/fs/selinux/enforce", "1")
    assert _severity(Selinux, host) is Severity.WARNING
    host.path("/var/lib/selinux/targeted/active/modules/200/nanoclawd").mkdir(parents=True)
    assert _severity(Selinux, host) is Severity.OK


def test_disk(host: Host):
    assert _severity(Disk, host) is Severity.ERROR
    host.path("/var/lib/nanoclaw").mkdir(parents=True)
    assert "GiB free" in Disk(host).run().detail


def test_gateway(host: Host, monkeypatch: pytest.MonkeyPatch):
    assert _severity(Gateway, host) is Severity.ERROR
    _write(host, "/run/nanoclaw-gateway/gateway.sock", "not a socket")
    assert _severity(Gateway, host) is Severity.ERROR
    path = host.path("/run/nanoclaw-gateway/gateway.sock")
    path.unlink()
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("gateway.sock")
        assert _severity(Gateway, host) is Severity.OK


def test_secrets(host: Host, monkeypatch: pytest.MonkeyPatch):
    """What the encryption is worth is said, too: without a TPM its key lies beside the secrets."""
    assert _severity(Secrets, host) is Severity.WARNING
    path = host.path("/run/nanoclawd/credentials.sock")
    path.parent.mkdir(parents=True)
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
        assert _severity(Secrets, host) is Severity.OK
        assert "not a stolen card" in Secrets(host).run().detail
        _write(host, "/dev/tpmrm0", "")
        assert "TPM" in Secrets(host).run().detail


def test_all_checks_run_on_any_machine():
    findings = run_host_checks()
    assert [finding.id for finding in findings] == [check.id for check in HOST_CHECKS]
    assert len({finding.id for finding in findings}) == len(findings)
