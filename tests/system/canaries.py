"""Looks for a planted secret: in bytes, files, and the memory of processes."""

import base64
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PIECE: Final = 1 << 20
_OVERLAP: Final = 256
_IMAGES: Final = "containers"
"""Where podman keeps images: read-only, half a gigabyte, and older than any canary."""


@dataclass(frozen=True)
class Canary:
    """A text of letters and digits that every spelling of a secret has in it."""

    core: str

    @property
    def needles(self) -> tuple[bytes, ...]:
        """It as it is, and as base64 has it wherever it stands in a text."""
        core = self.core.encode()
        shifted = (base64.b64encode(b"\0" * number + core) for number in range(3))
        return core, *(text[4:-4] for text in shifted), core[::-1]

    def is_in(self, data: bytes) -> bool:
        return any(needle in data for needle in self.needles)

    def around(self, data: bytes) -> list[bytes]:
        """Return what stands around the first places where it is."""
        found = sorted(at for needle in self.needles if (at := data.find(needle)) >= 0)
        return [data[max(0, at - 400) : at + 100] for at in found]

    def files(self, trees: Iterable[Path]) -> list[str]:
        """Return the regular files below some directories that have it."""
        return [str(path) for tree in trees for path in _files(tree) if in_file(path, self.is_in)]


def _files(tree: Path) -> Iterable[Path]:
    for directory, below, names in os.walk(tree):
        if _IMAGES in below:
            below.remove(_IMAGES)
        yield from (Path(directory, name) for name in names)


def in_file(path: Path, holds: Callable[[bytes], bool]) -> bool:
    """Tell whether a regular file has something; one that went meanwhile has nothing."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            before = b""
            while piece := file.read(_PIECE):
                if holds(before + piece):
                    return True
                before = piece[-_OVERLAP:]
    except OSError:
        return False
    return False


def memory_of(pid: int, holds: Callable[[bytes], bool]) -> bool:
    """Tell whether the memory of a process has something; one that has ended has nothing."""
    try:
        regions = Path(f"/proc/{pid}/maps").read_text().splitlines()
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            return any(_in_region(memory.fileno(), line, holds) for line in regions)
    except OSError:
        return False


def _in_region(memory: int, line: str, holds: Callable[[bytes], bool]) -> bool:
    span, rights, *_ = line.split()
    if "r" not in rights:
        return False
    at, end = (int(number, 16) for number in span.split("-"))
    before = b""
    while at < end:
        try:
            piece = os.pread(memory, min(_PIECE, end - at), at)
        except OSError:
            return False  # the kernel's own pages, or unmapped meanwhile
        if not piece:
            return False
        if holds(before + piece):
            return True
        before, at = piece[-_OVERLAP:], at + len(piece)
    return False
