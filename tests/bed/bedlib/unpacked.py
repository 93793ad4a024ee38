"""Programs for tests that are installed nowhere: their wheels, unpacked into one directory of the repository's caches.

Both the builder and the beds see the repository, so that a directory on PYTHONPATH is all that such a program needs.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from . import cache, host
from .settings import BED_SOURCES, REPOSITORY

CACHE = REPOSITORY / "build" / "cache"
FOR_TESTS = ("homeserver", "matrix-nio", "node")


def obtain(kind: str, pins: str, note: Callable[[str], None]) -> Path:
    """The directory with what a file beside the recipe names; made once for each content of it."""

    def build(directory: Path) -> None:
        note(f"fetching what tests/bed/{pins} names")
        wheels = directory / "wheels"
        wheels.mkdir()
        host.download_wheels(pins, wheels)
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(directory)
            wheel.unlink()

    return cache.obtain(CACHE, kind, cache.key_of((BED_SOURCES / pins).read_text()), build, note)


def for_tests(note: Callable[[str], None]) -> None:
    """Have each of these below build/cache, by a link of its name that tests in the bed and in the builder follow."""
    for name in FOR_TESTS:
        directory = obtain(name, f"{name}.txt", note)
        link = CACHE / name
        if not link.is_symlink() or link.readlink() != Path(directory.name):
            draft = CACHE / f".{name}.{os.getpid()}"
            draft.symlink_to(directory.name)
            draft.rename(link)
