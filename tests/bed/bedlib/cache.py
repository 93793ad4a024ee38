"""A cache of things that take long to build: one directory per kind and key."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import BedError

RECENT = 1800.0


@contextmanager
def lock(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it when this process dies.

    Args:
        path: the lock file.
        waiting: called if somebody else holds it, before waiting; without it, that is an error.

    Raises:
        BedError: somebody else holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is None:
                raise BedError(f"another command is at work on this ({path}); wait for it, then try again") from None
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def key_of(*parts: object) -> str:
    """A short key that differs when any part does."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def discard(directory: Path) -> None:
    """Remove a directory, or nothing; one that was half removed is never taken for whole."""
    if not directory.exists():
        return
    doomed = directory.with_name(f".{directory.name}.doomed")
    if doomed.exists():
        shutil.rmtree(doomed)
    directory.rename(doomed)
    shutil.rmtree(doomed)


def entry(cache: Path, kind: str, key: str) -> Path:
    """Where the cache keeps that, whether it has it or not."""
    return cache / f"{kind}-{key}"


def obtain(cache: Path, kind: str, key: str, build: Callable[[Path], None], note: Callable[[str], None]) -> Path:
    """The cached directory of this kind and key, built if need be.

    `build` fills an empty directory that gets its name only when it is whole. Entries of the same kind with other
    keys are removed, unless a bed stands on them or they were wanted so recently that another command may be reading
    them.
    """
    directory = entry(cache, kind, key)
    if directory.is_dir():
        os.utime(directory)
        return directory
    with lock(cache / f"{kind}.lock", lambda: note(f"waiting for another command that builds the {kind}")):
        if directory.is_dir():
            return directory
        unfinished = cache / f".{kind}.unfinished"
        discard(unfinished)
        unfinished.mkdir(parents=True)
        build(unfinished)
        unfinished.rename(directory)
        os.utime(directory)
        in_use = {tree.resolve().parent for tree in cache.parent.glob("beds/*/tree")}
        for old in cache.glob(f"{kind}-*"):
            if old != directory and old not in in_use and old.stat().st_mtime < time.time() - RECENT:
                discard(old)
    return directory
