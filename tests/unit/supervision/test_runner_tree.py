"""The published tree: named by its content, never changed, gone when unused."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import nanoclaw_runner
from nanoclawd.supervision import runner_tree


def published(trees: Path, package: Path) -> str:
    """Publish one package under the runner's name."""
    return runner_tree.publish(trees, dict(runner_tree._package(package, "nanoclaw_runner")))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    package = tmp_path / "source"
    (package / "inner" / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "main.py").write_text("print('one')\n")
    (package / "inner" / "deep.py").write_text("x = 1\n")
    (package / "inner" / "__pycache__" / "deep.pyc").write_bytes(b"stale")
    return package


def content(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in sorted(tree.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("changed", ["main.py", "inner/deep.py", "__init__.py"])
def test_any_changed_file_makes_another_tree(tmp_path: Path, source: Path, changed: str):
    """F-81, F-182: no image is built for it; the tree that running containers have stays as it was."""
    trees = tmp_path / "runner"
    first = published(trees, source)
    before = content(trees / first)
    (source / changed).write_text("x = 2\n")
    second = published(trees, source)
    assert second != first
    assert content(trees / first) == before
    assert (trees / second / "nanoclaw_runner" / changed).read_text() == "x = 2\n"


def test_the_same_source_is_the_same_tree(tmp_path: Path, source: Path):
    trees = tmp_path / "runner"
    first = published(trees, source)
    stamps = {path: path.stat().st_mtime_ns for path in trees.rglob("*")}
    os.utime(source / "main.py")
    (source / "inner" / "__pycache__" / "deep.pyc").write_bytes(b"stale too")
    assert published(trees, source) == first
    assert {path: path.stat().st_mtime_ns for path in trees.rglob("*")} == stamps
    assert [path.name for path in trees.iterdir()] == [first]


def test_names_and_contents_do_not_run_together(tmp_path: Path):
    names = set()
    for number, files in enumerate(
        ({"a.py": "b", "c.py": ""}, {"a.py": "", "c.py": "b"}, {"a.py": "b"}, {"c.py": "b"})
    ):
        package = tmp_path / f"source-{number}"
        package.mkdir()
        for name, text in files.items():
            (package / name).write_text(text)
        names.add(published(tmp_path / "runner", package))
    assert len(names) == 4


def test_a_removed_file_is_gone_from_the_new_tree(tmp_path: Path, source: Path):
    trees = tmp_path / "runner"
    published(trees, source)
    (source / "inner" / "deep.py").unlink()
    second = published(trees, source)
    assert not (trees / second / "nanoclaw_runner" / "inner" / "deep.py").exists()


def test_everybody_may_read_it_and_nobody_else_write(tmp_path: Path, source: Path):
    """The container's uid is neither its owner nor, for these files, to be trusted with its group."""
    trees = tmp_path / "runner"
    (source / "main.py").chmod(0o600)
    tree = trees / published(trees, source)
    modes = {(path.is_dir(), path.stat().st_mode & 0o7777) for path in (tree, *tree.rglob("*"))}
    assert modes == {(True, 0o755), (False, 0o644)}
    ours = trees / runner_tree.publish(trees)
    assert [path for path in ours.rglob("*") if path.is_file() and os.access(path, os.X_OK)] == [ours / "bin" / "ncl"]


def test_unused_trees_and_drafts_go(tmp_path: Path, source: Path):
    trees = tmp_path / "runner"
    old = published(trees, source)
    (source / "main.py").write_text("print('two')\n")
    new = published(trees, source)
    (trees / ".draft-crashed" / "nanoclaw_runner").mkdir(parents=True)
    runner_tree.prune(trees, {old, new})
    assert {path.name for path in trees.iterdir()} == {old, new}
    runner_tree.prune(trees, {new})
    assert [path.name for path in trees.iterdir()] == [new]
    runner_tree.prune(tmp_path / "nowhere", set())


def test_a_copy_that_fails_leaves_no_half_tree(tmp_path: Path, source: Path):
    """As on a full disk: here no file may grow beyond 100 bytes."""
    trees = tmp_path / "runner"
    (source / "main.py").write_text("x = 1\n" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            published(trees, source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(trees.iterdir()) == []
    assert (trees / published(trees, source)).is_dir()


def test_the_real_one_runs(tmp_path: Path):
    """F-181: as a container imports it: from the published tree alone."""
    name = runner_tree.publish(tmp_path)
    source = "import nanoclaw_runner.__main__, nanoclaw_runner as r; print(r.__file__)"
    done = subprocess.run(
        [sys.executable, "-sP", "-c", source],
        env={"PYTHONPATH": str(tmp_path / name), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert done.stdout.strip() == str(tmp_path / name / "nanoclaw_runner" / "__init__.py"), done.stderr
    found = {path for path in content(tmp_path / name) if path.startswith("nanoclaw_runner") and path.endswith(".py")}
    own = Path(nanoclaw_runner.__file__).parent
    assert found == {f"nanoclaw_runner/{path.relative_to(own)}" for path in own.rglob("*.py")}
