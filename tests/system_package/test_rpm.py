"""The package for Fedora: what is in it, and its life on a machine (acceptance 7; F-205…F-208).

There is no Fedora to install it on. Its files are compared with the .deb's, and it is installed by Debian's rpm on the
bed, where the tests play the part that file triggers of Fedora's systemd have. They need what `make rpm` has made, and
take the other package away::

    make rpm test-package TESTS='-k rpm'

The later ones go from one state to the next in the order of this file.
"""

import bz2
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from package_stage import (
    GATEWAY,
    STATE,
    UNITS,
    USER,
    all_ids,
    apt,
    delegated,
    is_active,
    output,
    processes,
    range_of,
    run,
    show,
    traces,
)

SOURCES = Path(__file__).parents[2]
RPM = SOURCES / "packaging" / "rpm"
CONFIG = Path("/etc/nanoclawd/config.yaml")
PYTHON = "3.14"
"""The version that `make rpm` builds for: not Debian's, whose Python can run it all the same."""
FEDORA_PYTHON = f"/usr/lib/python{PYTHON}/site-packages"
DEBIAN_PYTHON = "/usr/lib/python3/dist-packages"
PATHS = {
    FEDORA_PYTHON: DEBIAN_PYTHON,
    "/usr/share/zsh/site-functions": "/usr/share/zsh/vendor-completions",
}
"""Where Fedora has another directory for the same files, and which Debian has."""
ONE_SIDED = re.compile(r"/usr/share/(doc|licenses|lintian|python3)/|/__pycache__/|\.dist-info/|/usr/lib/nanoclawd/")
"""What each has in its own way: documents, compiled Python, its builder's words, a library that Debian packages."""
OTHER_CONTENT = re.compile(r"/usr/bin/|/usr/share/man/")
"""The interpreter's options in the programs' first line; dates within compressed files."""


@pytest.fixture(scope="session")
def rpms():
    """The packages of `make rpm`: nanoclawd's, and that of the SELinux module."""
    found = {path.name.rpartition("-0.")[0]: path for path in (SOURCES / "build").glob("nanoclawd-*.noarch.rpm")}
    assert set(found) == {"nanoclawd", "nanoclawd-selinux"}, f"{found}: run `make rpm`"
    return found


@pytest.fixture(scope="session")
def package(rpms: dict[str, Path]):
    return rpms["nanoclawd"]


def query(package: Path, form: str) -> list[list[str]]:
    return [line.split("\t") for line in run("rpm", "-qp", "--qf", f"[{form}\n]", str(package)).stdout.splitlines()]


def unpack(package: Path, target: Path):
    subprocess.run(f"rpm2archive --nocompression - < {package} | tar -x", shell=True, check=True, cwd=target)


def in_rpm(package: Path) -> dict[str, tuple[str, ...]]:
    """Each path with its mode, owner and group, and the target of a link."""
    form = "%{FILENAMES}\t%{FILEMODES:perms}\t%{FILEUSERNAME}\t%{FILEGROUPNAME}\t%{FILELINKTOS}"
    found = {}
    for path, *facts in query(package, form):
        for theirs, ours in PATHS.items():
            path = path.replace(theirs, ours)  # noqa: PLW2901
        found[path] = tuple(facts)
    return found


def in_deb(deb: Path) -> dict[str, tuple[str, ...]]:
    found = {}
    for line in output("dpkg-deb", "-c", str(deb)).splitlines():
        mode, owner, _size, _date, _time, path = line.split(maxsplit=5)
        path, _, target = path.partition(" -> ")
        found[path.removeprefix(".").rstrip("/")] = (mode, *owner.split("/"), target)
    return found


@pytest.fixture(scope="session")
def deb():
    (found,) = Path("/var/cache/nanoclaw-bed").glob("nanoclawd_*.deb")
    return found


def test_rpm_has_the_files_of_the_deb(package: Path, deb: Path):
    ours, theirs = in_rpm(package), in_deb(deb)

    def common(listing: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {path: facts for path, facts in listing.items() if facts[0][0] != "d" and not ONE_SIDED.search(path)}

    assert common(ours) == common(theirs)
    # of directories an rpm has only its own
    own = {path: facts for path, facts in ours.items() if facts[0][0] == "d" and not ONE_SIDED.search(path + "/")}
    assert own == {path: theirs.get(path) for path in own}
    assert "/usr/lib/systemd/system" not in own


def test_rpm_has_the_contents_of_the_deb(package: Path, deb: Path, tmp_path: Path):
    run("dpkg-deb", "-x", str(deb), str(tmp_path))
    compared = 0
    for path, digest in query(package, "%{FILENAMES}\t%{FILEDIGESTS}"):
        if not digest or ONE_SIDED.search(path) or OTHER_CONTENT.search(path):
            continue
        for theirs, ours in PATHS.items():
            path = path.replace(theirs, ours)  # noqa: PLW2901
        assert hashlib.sha256((tmp_path / path[1:]).read_bytes()).hexdigest() == digest, path
        compared += 1
    assert compared > 200
    assert query(package, "%{FILENAMES}\t%{FILEFLAGS:fflags}").count([str(CONFIG), "cn"]) == 1


def test_rpm_asks_for_each_library(package: Path):
    """By rpm's generator, from pyproject.toml; and each is known to be in Fedora, or comes along."""
    project = tomllib.loads((SOURCES / "pyproject.toml").read_text())["project"]
    wanted = {re.match(r"[\w.-]+", entry)[0] for entry in project["dependencies"]}
    lines = [line.split() for line in (RPM / "libraries").read_text().splitlines() if line and line[0] != "#"]
    known = dict(lines)
    assert set(known) == wanted, "say in packaging/rpm/libraries which package of Fedora it is"
    vendored = {name for name, where in known.items() if where == "vendored"}
    required = {name for (name,) in query(package, "%{REQUIRENAME}")}
    expected = {f"python{PYTHON}dist({name.lower().replace('_', '-')})" for name in wanted - vendored}
    assert {name for name in required if "dist(" in name} == expected
    assert required >= {"podman", "crun", "passt", "catatonit", "shadow-utils", "systemd", "python(abi)"}
    assert "(nanoclawd-selinux = 0.1.0-1 if selinux-policy-targeted)" in required
    provided = {name for (name,) in query(package, "%{PROVIDENAME}")}
    assert provided >= {f"bundled(python3dist({name}))" for name in vendored}
    assert provided >= {f"user({USER})", f"user({GATEWAY})", "group(nanoclaw-admin)"}
    listing = in_rpm(package)
    for name in vendored:
        assert f"/usr/lib/nanoclawd/vendor/{name}/__init__.py" in listing
        assert any(path.endswith(f"/LICENSE.{name}") for path in listing)


def test_rpm_of_selinux_has_the_module(rpms: dict[str, Path], tmp_path: Path):
    path = "/usr/share/selinux/packages/targeted/nanoclawd.pp.bz2"
    assert in_rpm(rpms["nanoclawd-selinux"])[path][:3] == ("-rw-r--r--", "root", "root")
    unpack(rpms["nanoclawd-selinux"], tmp_path)
    # the container format of module packages (semodule_package(8)) begins with this
    assert bz2.decompress((tmp_path / path[1:]).read_bytes())[:4] == bytes.fromhex("8fff7cf9")
    scripts = output("rpm", "-qp", "--scripts", str(rpms["nanoclawd-selinux"]))
    assert f"semodule -n -s targeted -X 200 -i {path}" in scripts
    assert "semodule -n -s targeted -X 200 -r nanoclawd" in scripts


# From here on the machine is changed.


@pytest.fixture(scope="module")
def machine():
    """One without the other package, whose Python looks where Fedora's does."""
    if run("dpkg-query", "-s", "nanoclawd", check=False).returncode == 0:
        apt("purge", "nanoclawd")
    assert traces() == []
    search_path = Path(DEBIAN_PYTHON) / "as-on-fedora.pth"
    search_path.write_text(f"{FEDORA_PYTHON}\n")
    yield
    search_path.unlink()


@pytest.fixture(scope="module")
def newer(package: Path, tmp_path_factory: pytest.TempPathFactory):
    """A later release with another config.yaml: the spec's own scriptlets, over the files of the built package."""
    place = tmp_path_factory.mktemp("newer")
    tree = place / "tree"
    tree.mkdir()
    unpack(package, tree)
    with (tree / str(CONFIG)[1:]).open("a") as config:
        config.write("# new in this release\n")
    text = (RPM / "nanoclawd.spec").read_text()
    head = text.partition("%package selinux")[0].replace("1%{?dist}", "2")
    scriptlets = text.partition("# Users and groups are")[2].partition("%pre selinux")[0]
    files = "\n".join(
        f"{'%dir ' if facts[0][0] == 'd' else '%config(noreplace) ' if path == str(CONFIG) else ''}{path}"
        for path, *facts in query(package, "%{FILENAMES}\t%{FILEMODES:perms}")
    )
    spec = place / "nanoclawd.spec"
    spec.write_text(f"{head}\n%install\ncp -a {tree}/. %{{buildroot}}\n#{scriptlets}\n%files\n{files}\n")
    home = place / "home"
    (home / ".config" / "rpm").mkdir(parents=True)
    shutil.copy(RPM / "macros", home / ".config" / "rpm" / "macros")
    options = (
        "--nodeps",
        "--quiet",
        "--define",
        f"python3_version {PYTHON}",
        "--define",
        f"_topdir {place}",
        "--define",
        "__os_install_post %{nil}",
    )
    run("rpmbuild", "-bb", *options, str(spec), env={**os.environ, "HOME": str(home)})
    (found,) = (place / "RPMS" / "noarch").glob("nanoclawd-0*.rpm")
    return found


def fedoras_triggers():
    """What Fedora's systemd does after a transaction that had units, tmpfiles.d and the like in it."""
    run("systemctl", "daemon-reload")
    run("systemd-tmpfiles", "--create")
    run("systemctl", "reload-or-restart", "--marked")


def remove_as_it_says(said: str):
    """Type the commands that the erased package has printed."""
    commands = [line for line in said.splitlines() if line.startswith("  ")]
    assert len(commands) == 2, said
    for command in commands:
        subprocess.run(command, shell=True, check=True, capture_output=True)


def test_rpm_installs(machine: None, rpms: dict[str, Path]):
    """Accounts, ids and home are there, units are enabled, and nothing runs yet."""
    said = run("rpm", "-i", "--nodeps", *map(str, rpms.values())).stderr
    assert [line for line in said.splitlines() if not line.startswith("Created symlink")] == []
    assert pwd.getpwnam(USER).pw_dir == str(STATE)
    assert pwd.getpwnam(USER).pw_shell.endswith("nologin")
    assert pwd.getpwnam(GATEWAY).pw_uid != pwd.getpwnam(USER).pw_uid
    assert [range_of(kind)[1] for kind in ("uid", "gid")] == [65536, 65536]
    assert STATE.stat().st_uid == pwd.getpwnam(USER).pw_uid
    assert Path("/var/lib/systemd/linger/nanoclaw").exists()
    fedoras_triggers()
    for unit in UNITS:
        assert output("systemctl", "is-enabled", unit) == "enabled"
        assert not is_active(unit)
    assert run("rpm", "-V", "--nodeps", "nanoclawd").stdout == ""


def test_rpms_units_are_sound(machine: None):
    listed = output("rpm", "-ql", "nanoclawd").splitlines()
    units = [path for path in listed if path.startswith("/usr/lib/systemd/system/")]
    assert len(units) >= 4
    assert run("systemd-analyze", "verify", "--man=no", *units).stderr == ""
    users = [path for path in listed if re.fullmatch(r"/usr/lib/systemd/user/nanoclaw\S+", path)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/run"}
    assert run("systemd-analyze", "verify", "--man=no", "--user", *users, env=environment).stderr == ""


def test_rpm_brings_cronsim(machine: None):
    """Found where the distribution has none, and passed over where it has one."""
    program = "import nanoclawd, cronsim; print(cronsim.__file__)"
    without = f"import sys; sys.path.remove('{DEBIAN_PYTHON}'); {program}"
    assert output("python3", "-I", "-c", without).startswith("/usr/lib/nanoclawd/vendor/")
    assert output("python3", "-I", "-c", program).startswith(DEBIAN_PYTHON)


def test_rpms_daemon_runs(machine: None):
    """One command starts all of it."""
    run("systemctl", "start", "nanoclawd")
    for unit in (*UNITS, f"user@{pwd.getpwnam(USER).pw_uid}.service"):
        assert is_active(unit), output("systemctl", "--no-pager", "status", unit)
    assert run("ncl", "status").stdout
    run("systemctl", "start", "nanoclaw-gateway.service")


def test_upgrade_of_the_rpm_restarts_the_daemon_and_no_session(machine: None, newer: Path):
    """The sockets stay, and a unit of the user manager, such as a session is; an edited setting is kept."""
    user = ("--user", "-M", f"{USER}@")
    run("systemd-run", *user, "--unit=probe", "sleep", "infinity")
    CONFIG.write_text(CONFIG.read_text() + "# kept\n")

    def seen() -> dict[str, str]:
        return {
            "session": show("probe.service", "MainPID", user=True),
            "manager": show(f"user@{pwd.getpwnam(USER).pw_uid}.service", "InvocationID"),
            "control": show("nanoclawd.socket", "InvocationID"),
            "gateway": show("nanoclaw-gateway.socket", "InvocationID"),
        }

    def restarted() -> list[str]:
        return [show(unit, "MainPID") for unit in ("nanoclawd.service", "nanoclaw-gateway.service")]

    before, processes_before = seen(), restarted()
    run("rpm", "-U", "--nodeps", str(newer))
    fedoras_triggers()
    assert seen() == before
    assert int(before["session"]) > 0
    assert "0" not in restarted()
    assert not set(restarted()) & set(processes_before)
    assert is_active("nanoclawd.service")
    assert CONFIG.read_text().endswith("# kept\n")
    assert CONFIG.with_name("config.yaml.rpmnew").read_text().endswith("# new in this release\n")
    for unit in UNITS:
        assert output("systemctl", "is-enabled", unit) == "enabled"


def test_erasing_the_rpm_keeps_the_data_and_says_how_to_remove_them(machine: None):
    start, _ = range_of("uid")
    precious = STATE / "groups" / "kept" / "note.txt"
    precious.parent.mkdir(parents=True, exist_ok=True)
    precious.write_text("remember")
    os.chown(precious, start + 1000, pwd.getpwnam(USER).pw_gid)
    ids, before = all_ids(), [delegated(kind) for kind in ("uid", "gid")]

    said = run("rpm", "-e", "nanoclawd", "nanoclawd-selinux").stdout
    fedoras_triggers()
    assert processes(ids) == {}
    assert not Path("/var/lib/systemd/linger/nanoclaw").exists()
    assert not [path for path in Path("/run").iterdir() if "nanoclaw" in path.name]
    assert output("systemctl", "list-units", "--all", "--plain", "--no-legend", "nanoclaw*") == ""
    assert run("systemctl", "list-unit-files", "--plain", "--no-legend", "nanoclaw*", check=False).stdout == ""
    assert precious.read_text() == "remember"
    assert CONFIG.with_name("config.yaml.rpmsave").read_text().endswith("# kept\n")
    assert [delegated(kind) for kind in ("uid", "gid")] == before

    remove_as_it_says(said)
    assert traces() == []
    for path in ("/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"):
        assert "nanoclaw" not in Path(path).read_text(), path


def test_rpm_without_systemd_running_is_ready_for_the_next_boot(machine: None, package: Path):
    """As in an image build: nothing can be started."""
    script = 'mount -t tmpfs tmpfs /run && exec rpm -i --nodeps "$0"'
    said = run("unshare", "--mount", "sh", "-c", script, str(package)).stderr
    assert [line for line in said.splitlines() if not line.startswith("Created symlink")] == []
    assert [range_of(kind)[1] for kind in ("uid", "gid")] == [65536, 65536]
    assert Path("/var/lib/systemd/linger/nanoclaw").exists()
    for unit in UNITS:
        assert output("systemctl", "is-enabled", unit) == "enabled"
    remove_as_it_says(run("rpm", "-e", "nanoclawd").stdout)
    assert traces() == []
