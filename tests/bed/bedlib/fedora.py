"""Builds the packages for Fedora of the working tree, with Debian's rpmbuild."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from . import builder, cache, host, package
from .rootfs import builder_tree
from .settings import REPOSITORY, Settings

PACKAGING = Path("packaging") / "rpm"
PYTHON = "3.14"
"""Fedora 44's, the oldest that has every library in a version that will do (docs/operations.md, Fedora)."""


def build(settings: Settings, python: str, note: Callable[[str], None]) -> Path:
    """The directory with the working tree's .rpm files for a version of Python, built unless they were before.

    Raises:
        BedError: they do not build, or what they bring along cannot be fetched.
    """

    def fill(directory: Path) -> None:
        tree, wheels = directory / "tree", directory / "wheels"
        package.copy_sources(tree)
        wheels.mkdir()
        host.download_wheels(str(REPOSITORY / PACKAGING / "vendored.txt"), wheels)
        root = builder_tree(settings, note)
        note("building the packages")
        builder.capture(root, ["tree/packaging/build-rpm", ".", "wheels", python], directory)
        shutil.rmtree(tree)
        shutil.rmtree(wheels)

    return cache.obtain(settings.cache, "rpm", cache.key_of(package.digest(), python), fill, note)


def lint(settings: Settings, directory: Path, note: Callable[[str], None]) -> str:
    """What rpmlint says of a build and of the spec.

    Raises:
        BedError: it objects, if only with a warning.
    """
    root = builder_tree(settings, note)
    sources = Path("/src") / PACKAGING
    words = f"rpmlint --strict --config {sources}/rpmlint.toml *.rpm {sources}/nanoclawd.spec"
    return builder.capture(root, ["sh", "-c", words], directory)


def replace(directory: Path, target: Path) -> list[Path]:
    """Put a build's packages in the place of older ones."""
    target.mkdir(exist_ok=True)
    for old in target.glob("*.rpm"):
        old.unlink()
    return [Path(shutil.copy2(path, target)) for path in sorted(directory.glob("*.rpm"))]
