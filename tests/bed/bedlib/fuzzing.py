"""Fetches the fuzzer for the builder's Python: one wheel, unpacked beside the other caches and installed nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from . import unpacked

PINS = "fuzz.txt"


def fuzzer(note: Callable[[str], None]) -> Path:
    """The directory that is to be on the builder's PYTHONPATH; it is in the repository, which the builder sees."""
    return unpacked.obtain("fuzzer", PINS, note)
