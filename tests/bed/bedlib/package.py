"""Builds the .deb of the working tree, and installs it in a bed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from . import builder, cache, enter, machine
from .rootfs import builder_tree
from .settings import REPOSITORY, BedError, Settings

PACKAGING = Path("packaging") / "debian"
# what is not in the package does not rebuild it
OUTSIDE = (".ci/", "tests/")


def can_be_built() -> bool:
    """True if the tree has what a .deb is built from."""
    return (REPOSITORY / PACKAGING / "control").is_file()


def sources() -> list[Path]:
    """The files of the working tree, tracked or new, relative to its top."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    names = {os.fsdecode(name) for name in listing.stdout.split(b"\0") if name}
    return [Path(name) for name in sorted(names) if not name.startswith(OUTSIDE) and os.path.lexists(REPOSITORY / name)]


def copy_sources(target: Path) -> None:
    """Make a copy of the working tree, less what is not in the package."""
    for path in sources():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / path, target / path, follow_symlinks=False)


def digest() -> str:
    """Differs when the working tree does."""
    total = hashlib.sha256()
    for path in sources():
        for part in _parts(REPOSITORY / path):
            total.update(part)
        total.update(os.fsencode(path) + b"\0")
    return total.hexdigest()[:16]


def _parts(path: Path) -> Iterator[bytes]:
    if path.is_symlink():
        yield os.fsencode(path.readlink())
        return
    yield b"x" if os.access(path, os.X_OK) else b"-"
    yield hashlib.sha256(path.read_bytes()).digest()


def build(settings: Settings, note: Callable[[str], None]) -> Path:
    """The directory with the working tree's .deb, built unless it was before.

    Raises:
        BedError: there is no packaging, or it does not build.
    """
    if not can_be_built():
        raise BedError(f"there is no {PACKAGING}/control; `tests/bed/bed up --no-install` boots without the package")

    def fill(directory: Path) -> None:
        tree = directory / "tree"
        copy_sources(tree)
        root = builder_tree(settings, note)
        note("building the package")
        builder.capture(root, ["tree/packaging/build-deb", "."], directory)
        shutil.rmtree(tree)

    return cache.obtain(settings.cache, "deb", digest(), fill, note)


def the_deb(directory: Path) -> Path:
    """The one .deb in a build's directory."""
    found = sorted(directory.glob("*.deb"))
    if len(found) != 1:
        raise BedError(f"expected one .deb in {directory}, there are {len(found)}: see packaging/debian/control")
    return found[0]


def lint(settings: Settings, directory: Path, note: Callable[[str], None]) -> str:
    """What lintian says of a build.

    Raises:
        BedError: it objects.
    """
    root = builder_tree(settings, note)
    words = "lintian --allow-root --fail-on error,warning --tag-display-limit 0 *.changes"
    return builder.capture(root, ["sh", "-c", words], directory)


def install(leader: int, deb: Path) -> None:
    """Install a .deb in a booted bed, as its administrator would.

    Raises:
        BedError: apt or a maintainer script failed.
    """
    inside = Path("/var/cache/nanoclaw-bed") / deb.name
    outside = machine.root(leader) / str(inside).lstrip("/")
    outside.parent.mkdir(exist_ok=True)
    shutil.copyfile(deb, outside)
    options = ["--yes", "--quiet", "--reinstall", "--allow-downgrades", "--no-install-recommends"]
    dpkg = ["-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold"]
    words = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *options, *dpkg, str(inside)]
    enter.capture(leader, words)
