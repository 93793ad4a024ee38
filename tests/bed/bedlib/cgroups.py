"""A cgroup of its own for each bed on hosts where no systemd makes one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .settings import BedError


def host_runs_systemd() -> bool:
    """True if systemd is the host's PID 1, and so the owner of its cgroups."""
    return Path("/run/systemd/system").is_dir()


def _mounts() -> Iterator[tuple[str, Path, str]]:
    """Mounted cgroup hierarchies as (file system type, path, options)."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, path, kind, options, *_rest = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield kind, Path(path), options


def make(name: str) -> Path:
    """Make the cgroup of a bed and return its directory.

    Raises:
        BedError: the kernel's unified hierarchy is not mounted.
    """
    for kind, path, _options in _mounts():
        if kind == "cgroup2":
            directory = path / name
            directory.mkdir(exist_ok=True)
            return directory
    raise BedError("this host has no cgroup2 file system; run `mount -t cgroup2 none /sys/fs/cgroup`, then try again")


def leftovers(name: str) -> list[Path]:
    """The cgroups of a bed, children first; nspawn makes them in systemd's own hierarchy, too."""
    found: list[Path] = []
    for _kind, path, _options in _mounts():
        for directory, _children, _files in os.walk(path / name, topdown=False):
            found.append(Path(directory))
    return found


def remove(name: str) -> None:
    """Remove the cgroups of a bed whose processes are gone."""
    for directory in leftovers(name):
        directory.rmdir()


def join(pid: int) -> None:
    """Move this process into the cgroups of another, where systemd keeps its processes."""
    places = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        places[controllers] = path.lstrip("/")
    for kind, mounted, options in _mounts():
        controllers = "" if kind == "cgroup2" else "name=systemd"
        if kind == "cgroup" and "name=systemd" not in options.split(","):
            continue
        if controllers in places:
            (mounted / places[controllers] / "cgroup.procs").write_text("0")
