"""Fetches the fuzzer for the builder's Python: one wheel, unpacked beside the other caches and installed nowhere."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

from . import cache, host
from .settings import BED_SOURCES, REPOSITORY

PINS = "fuzz.txt"


def fuzzer(note: Callable[[str], None]) -> Path:
    """The directory that is to be on the builder's PYTHONPATH; it is in the repository, which the builder sees."""

    def build(directory: Path) -> None:
        note(f"fetching what tests/bed/{PINS} names")
        wheels = directory / "wheels"
        wheels.mkdir()
        host.download_wheels(PINS, wheels)
        for wheel in wheels.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(directory)
            wheel.unlink()

    key = cache.key_of((BED_SOURCES / PINS).read_text())
    return cache.obtain(REPOSITORY / "build" / "cache", "fuzzer", key, build, note)
