"""Publishing the runner's source: a directory per content hash, mounted read-only into containers.

An upgrade therefore never changes code under a running turn (Python imports lazily), and editing the source needs no
image build (F-81, F-182).
"""

import compileall
import hashlib
import os
import py_compile
import shutil
import tempfile
from pathlib import Path

import nanoclaw_runner

_PACKAGE = "nanoclaw_runner"


def publish(trees: Path, source: Path | None = None) -> str:
    """Copy the runner's package to ``<trees>/<hash>/nanoclaw_runner`` if it is not there, and return the hash.

    Raises:
        OSError: the disk is full or not writable.
    """
    package = source or Path(nanoclaw_runner.__file__).parent
    files = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    name = digest.hexdigest()[:16]
    target = trees / name
    if target.exists():
        return name
    trees.mkdir(parents=True, exist_ok=True)
    trees.chmod(0o755)
    draft = Path(tempfile.mkdtemp(dir=trees, prefix=".draft-"))
    try:
        _fill(draft, package, files)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync(trees)
    return name


def _fill(draft: Path, package: Path, files: list[Path]) -> None:
    for path in files:
        copy = draft / _PACKAGE / path.relative_to(package)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    # Containers mount the tree read-only: without compiled files each of their starts would compile it anew. Unchecked,
    # because the tree's name is its content; a Python of another version passes them over.
    compileall.compile_dir(
        draft, quiet=2, force=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, stripdir=draft
    )
    # Durable before it has its name: after a power cut a tree that is there is taken for whole.
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prune(trees: Path, keep: set[str]) -> None:
    """Remove published trees that nothing uses any more, and drafts of a crash."""
    if not trees.is_dir():
        return
    for path in trees.iterdir():
        if path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)
