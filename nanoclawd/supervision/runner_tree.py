"""Publishing what containers run: a directory per content hash, mounted read-only into them.

An upgrade therefore never changes code under a running turn (Python imports lazily), and editing the source needs no
image build (F-81, F-182). Beside the runner it holds ``ncl`` for the agent: the operator's own command with the pure
Python libraries that it prints tables with, so that both print the same (W-34).
"""

import compileall
import hashlib
import os
import py_compile
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import nanoclaw_runner
import nanoclawd
from nanoclaw_runner.contract.places import TRUST_BUNDLE

_PROGRAMS: Final = Path("bin")
_OF_HOST: Final = ("__init__.py", "cli")
"""What a call of ``ncl`` needs of the host's package: the standard library does the rest."""

_LIBRARIES: Final = ("tabulate", "wcwidth")
_NCL: Final = """\
#!/usr/bin/python3 -sP
import sys

sys.path.insert(0, __file__.removesuffix("/bin/ncl"))
from nanoclaw_runner.ncl import main

sys.exit(main())
"""
_APT: Final = f'Acquire::https::CaInfo "{TRUST_BUNDLE}";\n'


def publish(trees: Path, files: Mapping[str, Path | bytes] | None = None) -> str:
    """Copy the files to ``<trees>/<hash>/`` if they are not there, and return the hash.

    Args:
        trees: where the trees are.
        files: path in the tree → the file that is copied there, or its content; by default everything of ours.

    Raises:
        OSError: the disk is full or not writable.
    """
    contents = {
        name: source if isinstance(source, bytes) else source.read_bytes()
        for name, source in sorted((files or everything()).items())
    }
    digest = hashlib.sha256()
    for path, content in contents.items():
        digest.update(path.encode() + b"\0" + str(len(content)).encode() + b"\0" + content)
    name = digest.hexdigest()[:16]
    target = trees / name
    if target.exists():
        return name
    trees.mkdir(parents=True, exist_ok=True)
    trees.chmod(0o755)
    draft = Path(tempfile.mkdtemp(dir=trees, prefix=".draft-"))
    try:
        _fill(draft, contents)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync(trees)
    return name


def everything() -> dict[str, Path | bytes]:
    """Return what a container needs, by its path in the tree."""
    host = Path(nanoclawd.__file__).parent
    files: dict[str, Path | bytes] = {str(_PROGRAMS / "ncl"): _NCL.encode(), "etc/apt.conf": _APT.encode()}
    files |= dict(_package(Path(nanoclaw_runner.__file__).parent))
    for part in _OF_HOST:
        found = host / part
        files |= dict(_package(found, f"nanoclawd/{part}")) if found.is_dir() else {f"nanoclawd/{part}": found}
    for library in _LIBRARIES:
        spec = find_spec(library)
        for directory in (spec.submodule_search_locations or ()) if spec else ():
            files |= dict(_package(Path(directory)))
    return files


def _package(directory: Path, name: str = "") -> Iterator[tuple[str, Path]]:
    for path in directory.rglob("*.py"):
        yield str(Path(name or directory.name) / path.relative_to(directory)), path


def _fill(draft: Path, contents: Mapping[str, bytes]) -> None:
    for name, content in contents.items():
        copy = draft / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    # Containers mount the tree read-only: without compiled files each of their starts would compile it anew. Unchecked,
    # because the tree's name is its content; a Python of another version passes them over.
    compileall.compile_dir(
        draft, quiet=2, force=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH, stripdir=draft
    )
    # Durable before it has its name: after a power cut a tree that is there is taken for whole.
    for path in (draft, *draft.rglob("*")):
        program = path.parent == draft / _PROGRAMS
        path.chmod(0o755 if path.is_dir() or program else 0o644)
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
