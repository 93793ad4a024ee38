"""Keeps the container images that a bed built, for the next bed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import cache, enter, machine, rootfs
from .command import run
from .settings import BED_SOURCES, REPOSITORY, BedError, Settings

BASE = "localhost/nanoclaw-bed-base:latest"
"""The base image's name, as files/etc/nanoclawd/config.yaml says it."""

STORE = Path(".local") / "share" / "containers" / "storage"
OWNER = "nanoclaw"


def key(root: Path) -> str:
    """Differs when the images would, or when the ids their files belong to do."""
    containerfile = REPOSITORY / "Containerfile"
    contents = containerfile.read_text() if containerfile.is_file() else ""
    pins = (BED_SOURCES / "wheels.txt").read_text()
    return cache.key_of(contents, pins, rootfs.recipe("base").key, rootfs.recipe("bed").key, _identity(root))


def restore(settings: Settings, leader: int, note: Callable[[str], None]) -> bool:
    """Put the images of an earlier bed into this one, if its package is installed and it has no images yet."""
    root = machine.root(leader)
    home = _home(root)
    if home is None:
        return False
    kept = cache.entry(settings.cache, "images", key(root)) / "storage"
    store = home / STORE
    if not kept.is_dir() or store.exists():
        return False
    note("restoring the container images")
    parent = home
    for name in STORE.parts[:-1]:
        parent = parent / name
        if not parent.exists():
            parent.mkdir(mode=0o700)
            run(["chown", "--reference", home, parent])
    run(["cp", "--archive", "--reflink=auto", kept, store])
    return True


def present(leader: int) -> bool:
    """Tell whether the bed has images, of an earlier package."""
    home = _home(machine.root(leader))
    return home is not None and (home / STORE).exists()


def build(settings: Settings, leader: int, note: Callable[[str], None]) -> None:
    """Build the appliance's images as an operator would, and keep them for the next bed."""
    note("importing the base image")
    enter.capture(leader, ["podman", "import", "--quiet", "/usr/local/share/nanoclaw-bed/base.tar", BASE], user=OWNER)
    note("building the images (ncl images build)")
    enter.capture(leader, ["ncl", "images", "build"])
    note("keeping them for the next bed")
    save(settings, leader, note)


def save(settings: Settings, leader: int, note: Callable[[str], None]) -> Path:
    """Keep this bed's images for later beds.

    Raises:
        BedError: there are none, or they are in use.
    """
    root = machine.root(leader)
    home = _home(root)
    if home is None or not (home / STORE).is_dir():
        raise BedError("this bed has no container images yet: run `tests/bed/bed exec -- ncl setup`, then try again")
    if enter.capture(leader, ["podman", "ps", "--all", "--quiet"], user=OWNER).strip():
        raise BedError("the bed has containers: wait until its sessions are asleep, then try again")

    def build(directory: Path) -> None:
        run(["cp", "--archive", "--reflink=auto", home / STORE, directory / "storage"])

    return cache.obtain(settings.cache, "images", key(root), build, note)


def _identity(root: Path) -> str:
    """The owner's ids in this bed: with other ids the images would be unreadable."""
    names = ("passwd", "subuid", "subgid")
    lines = [line for name in names for line in _lines(root / "etc" / name) if line.startswith(f"{OWNER}:")]
    return "\n".join(lines)


def _home(root: Path) -> Path | None:
    for line in _lines(root / "etc" / "passwd"):
        fields = line.split(":")
        if fields[0] == OWNER:
            return root / fields[5].lstrip("/")
    return None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
