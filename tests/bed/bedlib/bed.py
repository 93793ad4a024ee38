"""A bed's life: up, status, down."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cache, cgroups, host, images, machine, package, rootfs, unpacked
from .command import run
from .settings import BED_SOURCES, BedError, Settings
from .stages import Stages

CONTAINERS_CONF = "[containers]\n# this machine delegates no pids controller\npids_limit = 0\n"


@dataclass
class Facts:
    """What was put into a bed."""

    rootfs: str = ""
    package: str = ""


def read_facts(settings: Settings) -> Facts:
    """What was put into this bed; nothing, if there is none."""
    try:
        known = json.loads(settings.facts.read_text())
    except FileNotFoundError:
        return Facts()
    return Facts(**known)


def write_facts(settings: Settings, facts: Facts) -> None:
    """Remember what was put into this bed."""
    settings.facts.write_text(json.dumps(asdict(facts)) + "\n")


def up(settings: Settings, *, install: bool) -> None:
    """Have the bed booted, with the working tree's package in it if `install`."""
    host.require_root()
    if install and not package.can_be_built():
        print(f"there is no {package.PACKAGING}/ yet: booting without the package", file=sys.stderr)
        install = False
    with cache.lock(settings.beds / f"{settings.name}.lock"):
        leader = machine.leader(settings)
        if leader is None or not settings.facts.exists():
            stages = Stages(8 if install else 5)
            leader = _boot(settings, stages)
        else:
            print(f"the bed {settings.name!r} is up already (`bed down` for a new one)", file=sys.stderr)
            if not install:
                return
            stages = Stages(3)
        if install:
            _install(settings, leader, stages)


def down(settings: Settings) -> None:
    """Leave no process, mount, cgroup or file of the bed."""
    host.require_root()
    with cache.lock(settings.beds / f"{settings.name}.lock"):
        stages = Stages(2)
        with stages.stage(f"ending the machine of the bed {settings.name!r}"):
            machine.end(settings)
        with stages.stage("removing its files"):
            cache.discard(settings.directory)


def status(settings: Settings) -> list[dict[str, str | int | None]]:
    """One row for each bed of this checkout."""
    names = {path.name for path in settings.beds.glob("[a-z0-9]*") if path.is_dir()}
    rows: list[dict[str, str | int | None]] = []
    for name in sorted(names | {settings.name}):
        one = Settings(name, settings.home)
        leader = machine.leader(one)
        facts = read_facts(one)
        rows.append(
            {
                "name": name,
                "state": _state(one, leader),
                "pid": leader,
                "up_seconds": _age(leader),
                "package": facts.package or None,
                "root": str(machine.root(leader)) if leader is not None else None,
            }
        )
    return rows


def _state(settings: Settings, leader: int | None) -> str:
    if leader is not None:
        return "up" if settings.facts.exists() else "booting"
    return "stopped" if settings.directory.exists() else "absent"


def _age(pid: int | None) -> int | None:
    if pid is None:
        return None
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _boot(settings: Settings, stages: Stages) -> int:
    with stages.stage("looking at this host"):
        host.prepare(stages.note)
    with stages.stage("the root file system"):
        tree = rootfs.bed_tree(settings, stages.note)
    with stages.stage("the container base image and wheels"):
        base = rootfs.base_image(settings, stages.note)
        wheels = rootfs.wheels(settings, stages.note)
        unpacked.for_tests(stages.note)
    with stages.stage(f"laying out the bed {settings.name!r}"):
        machine.end(settings)  # an `up` that was killed may have left something half booted
        cache.discard(settings.directory)
        _lay_out(settings, tree)
    with stages.stage("booting"):
        leader = machine.boot(settings, base, wheels)
        root = machine.root(leader)
        # the facts are written last: a bed without them is one whose `up` was killed
        facts = Facts(rootfs=rootfs.recipe("bed").key)
        if "pids" not in (root / "sys/fs/cgroup/cgroup.controllers").read_text().split():
            drop_ins = root / "etc" / "containers" / "containers.conf.d"
            drop_ins.mkdir(parents=True, exist_ok=True)
            (drop_ins / "50-bed.conf").write_text(CONTAINERS_CONF)
            stages.note("no cgroup controllers here: memory and task limits have no effect in the bed")
        write_facts(settings, facts)
    return leader


def _install(settings: Settings, leader: int, stages: Stages) -> None:
    with stages.stage("the package of the working tree"):
        directory = package.build(settings, stages.note)
    key = directory.name
    facts = read_facts(settings)
    if facts.package == key:
        print(f"the bed has {key} already", file=sys.stderr)
        return
    with stages.stage(f"installing {key}"):
        package.install(leader, package.the_deb(directory))
        facts.package = key
        write_facts(settings, facts)
    with stages.stage("container images"):
        _have_images(settings, leader, stages)


def _have_images(settings: Settings, leader: int, stages: Stages) -> None:
    """Give the bed those of an earlier one, or build them; of several new beds one does, and the others take its."""
    if images.restore(settings, leader, stages.note) or images.present(leader):
        return

    def waiting() -> None:
        stages.note("waiting for another bed that builds the container images")

    with cache.lock(settings.cache / "images-built.lock", waiting):
        if not images.restore(settings, leader, stages.note):
            images.build(settings, leader, stages.note)


def _lay_out(settings: Settings, tree: Path) -> None:
    """Make the directories of a new bed: its own files over the cached tree, and a /var that is no overlay."""
    settings.directory.mkdir(parents=True)
    _refuse_overlay(settings.directory)
    settings.tree.symlink_to(tree)
    settings.out.mkdir(parents=True, exist_ok=True)
    for name in ("root", "work"):
        (settings.directory / name).mkdir()
    run(["cp", "--archive", "--reflink=auto", tree / "var", settings.var])
    etc = settings.changes / "etc"
    etc.mkdir(parents=True)
    (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")  # without one it is a "first boot", which asks questions
    (etc / "hostname").write_text(settings.name + "\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {settings.name}\n")
    files = BED_SOURCES / "files"
    if files.is_dir():
        run(["cp", "--recursive", "--no-target-directory", files, settings.changes])


def _refuse_overlay(directory: Path) -> None:
    """Raises BedError where podman could not keep its images: an overlay's upper directory on an overlay."""
    kind = run(["stat", "--file-system", "--format=%T", directory]).strip()
    if kind == "overlayfs":
        raise BedError(f"{directory} is on overlayfs, where podman cannot keep images: set BED_HOME to another disk")


def leftovers(settings: Settings) -> list[str]:
    """What a bed that is down has left on the host; nothing, one hopes."""
    found = [str(path) for path in cgroups.leftovers(settings.identity)]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line.split()[1] for line in mounts if str(settings.directory) in line]
    outer = machine.supervisor(settings)
    return [*found, *([f"process {outer}"] if outer is not None else [])]
