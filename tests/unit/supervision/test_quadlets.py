"""The quadlet templates, filled by the daemon's own writer and run through podman's own generator.

Each file in ``golden/`` is what the writer must write, and carries assertions about what podman makes of it, as
podman's own quadlet tests do: ``## has KEY=VALUE`` (the unit has that line), ``## lacks TEXT`` (no line has it in it),
``## runs ARGUMENTS`` (the command line of its ExecStart has these words in this order) and ``## never WORD`` (the word
is nowhere in the command line). After a wanted change of a template, this writes the files anew and keeps their
assertions::

    tests/bed/bed builder -- env PYTHONPATH=.:runner python3 tests/unit/supervision/test_quadlets.py
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nanoclawd.errors import InvalidName
from nanoclawd.paths import StatePaths
from nanoclawd.supervision.quadlets import GroupImageBuild, ImageBuild, MountedDirectory, SessionTemplate, UnitFiles

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
GENERATOR = "/usr/lib/systemd/user-generators/podman-user-generator"
TEMPLATE = SessionTemplate(
    group="a-b",
    uid=1007,
    image="localhost/nanoclaw-agent:0123456789ab",
    runner="c0ffee",
    timezone="America/Argentina/Buenos_Aires",
    watchdog_seconds=60,
    ready_seconds=20,
    memory_bytes=536870912,
    tasks=256,
    share=Path("/usr/share/nanoclawd"),
    mounts=(
        MountedDirectory(Path("/srv/documents"), "documents", writable=False),
        MountedDirectory(Path("/srv/shared/team_a"), "team", writable=True),
    ),
)
BUILD = ImageBuild(
    stage="agent",
    tag="0123456789ab",
    base_image="docker.io/library/debian:trixie-slim",
    context=Path("/usr/share/nanoclawd"),
    wheels=Path("/var/lib/nanoclaw/images/no-wheels"),
    network="private",
)
GROUP_BUILD = GroupImageBuild(
    group="a-b",
    tag="0123456789ab",
    directory=Path("/var/lib/nanoclaw/images/groups/a-b"),
    wheels=Path("/var/lib/nanoclaw/images/nothing"),
    packages=Path("/srv/packages"),
    network="private",
)
STATE = "/var/lib/nanoclaw"


def write_all(home: Path) -> dict[str, str]:
    """Return every unit file that the daemon writes, by name; the state root stands as on a real machine."""
    paths = StatePaths(home)
    for directory in (paths.quadlets, paths.user_units):
        directory.mkdir(parents=True, exist_ok=True)
    units = UnitFiles(ROOT / "quadlets", paths)
    units.write_group(TEMPLATE)
    units.write_model("localhost/nanoclaw-model:0123456789ab", Path("/usr/share/nanoclawd"), 600)
    units.write_build(BUILD)
    units.write_group_build(GROUP_BUILD)
    files = [*paths.quadlets.iterdir(), *paths.user_units.iterdir()]
    return {path.name: path.read_text().replace(str(home), STATE) for path in files}


def assertions(text: str) -> list[tuple[str, str]]:
    lines = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    return [(verb, rest) for verb, _, rest in (line.partition(" ") for line in lines)]


def plain(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("## "))


def generated(tmp_path: Path, name: str, text: str) -> list[str]:
    """Return the lines of the one unit that podman's generator makes of a quadlet."""
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        [GENERATOR, "--user", "--dryrun"],
        env={**os.environ, "QUADLET_UNIT_DIRS": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "unsupported" not in done.stderr
    return done.stdout.splitlines()


def names() -> list[str]:
    return sorted(path.name for path in GOLDEN.iterdir())


def test_every_file_that_is_written_has_a_golden_one(tmp_path: Path):
    assert sorted(write_all(tmp_path)) == names()


@pytest.mark.parametrize("name", names())
def test_what_is_written(tmp_path: Path, name: str):
    assert write_all(tmp_path)[name] == plain((GOLDEN / name).read_text())


@pytest.mark.parametrize("name", [name for name in names() if name.endswith((".container", ".build"))])
def test_what_podman_makes_of_it(tmp_path: Path, name: str):
    text = (GOLDEN / name).read_text()
    lines = generated(tmp_path, name, plain(text))
    start = shlex.split(next(line for line in lines if line.startswith("ExecStart=")))
    checks = assertions(text)
    assert checks, "a golden quadlet says what podman must make of it"
    for verb, rest in checks:
        match verb:
            case "has":
                assert rest in lines
            case "lacks":
                assert not [line for line in lines if rest in line]
            case "runs":
                words = shlex.split(rest)
                assert any(start[at : at + len(words)] == words for at in range(len(start))), f"{rest}\n{start}"
            case "never":
                assert rest not in start
            case _:
                raise AssertionError(f"unknown assertion: {verb}")


@pytest.mark.parametrize("value", ["a\nExecStart=/bin/sh", "a b", "%h", "a,b", "", "$(id)", "a;b", 'a"', "a\\b"])
def test_a_value_that_a_unit_file_would_not_keep_literal_is_refused(tmp_path: Path, value: str):
    units = UnitFiles(ROOT / "quadlets", StatePaths(tmp_path))
    with pytest.raises(InvalidName, match="can't stand in a unit file"):
        units.write_build(ImageBuild("agent", "0123456789ab", value, Path("/x"), Path("/x"), "none"))


def regenerate() -> None:
    """Write the golden files anew, with the assertions that they have."""
    with tempfile.TemporaryDirectory() as home:
        for name, text in write_all(Path(home)).items():
            path = GOLDEN / name
            kept = path.read_text() if path.exists() else ""
            path.write_text("".join(f"## {verb} {rest}\n" for verb, rest in assertions(kept)) + text)


if __name__ == "__main__":
    sys.exit(regenerate())


def test_files_that_the_manager_has_not_read_are_remembered(tmp_path: Path):
    """A daemon that dies between writing and reloading: the next one's files are in order, but nobody has read them."""
    state = StatePaths(tmp_path)
    units = UnitFiles(ROOT / "quadlets", state)
    assert not units.unread()
    assert units.write_group(TEMPLATE)
    assert units.unread()
    again = UnitFiles(ROOT / "quadlets", state)
    assert not again.write_group(TEMPLATE)
    assert again.unread()
    again.were_read()
    assert not units.unread()
    assert units.remove_group(TEMPLATE.group)
    assert units.unread()
