"""Groups' own images: the Containerfile that is written, and what becomes of a build."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

import nanoclawd
from nanoclawd.config import Config
from nanoclawd.errors import InvalidName, Refused
from nanoclawd.images.group_images import BuildError, GroupImages, containerfile, tag_of
from nanoclawd.paths import StatePaths
from nanoclawd.supervision.quadlets import UnitFiles
from nanoclawd.supervision.user_manager import UserManager

BASE = "localhost/nanoclaw-agent:0123456789ab"
ROOT = Path(nanoclawd.__file__).parents[1]


class Manager(UserManager):
    """systemd, as far as builds go."""

    def __init__(self) -> None:
        super().__init__("unix:path=/nobody")
        self.result = "done"
        self.started: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def start_unit(self, unit: str, patience: float = 0) -> str:
        self.started.append(unit)
        await self.go_on.wait()
        return self.result

    async def reset_failed(self, unit: str) -> None:
        del unit

    async def reload(self) -> None:
        """Nothing is loaded."""


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path)


def images(paths: StatePaths, manager: Manager) -> GroupImages:
    return GroupImages(Config(), paths, manager, UnitFiles(ROOT / "quadlets", paths))


def test_the_containerfile():
    text = containerfile(BASE, {"apt": ("jq", "g++"), "npm": ("@scope/tool",), "pip": ("rich",)})
    lines = text.splitlines()
    assert lines[1] == f"FROM {BASE}"
    assert sum(line.startswith("RUN ") for line in lines) == 3
    assert "install -q --yes --no-install-recommends -- jq g++ python3-pip nodejs npm;" in text
    assert "npm install --global --no-audit --no-fund -- @scope/tool\n" in text
    assert "--target /opt/packages/python $offline -- rich;" in text
    assert not any(line.startswith(("COPY", "ADD")) for line in lines)
    only_pip = containerfile(BASE, {"pip": ("rich",)})
    assert "install-missing python3-pip" in only_pip
    assert "npm" not in only_pip
    assert tag_of(text) != tag_of(containerfile(BASE.replace("ab", "cd"), {"apt": ("jq",)}))


@pytest.mark.parametrize("name", ["jq\nRUN reboot", "jq; reboot", "$(id)", "--yes"])
def test_no_name_gets_past_the_containerfile(name: str):
    """W-57: checked once more where it would do harm, wherever it came from."""
    with pytest.raises(InvalidName):
        containerfile(BASE, {"apt": (name,)})
    with pytest.raises(Refused):
        containerfile(BASE, {"apt": ()})


def test_a_name_that_no_package_has_is_no_pattern_of_others(tmp_path: Path):
    """W-57: nano.+ keeps the rule of names; apt-get would take it for a pattern, and install what no card has shown."""
    text = containerfile(BASE, {"apt": ("nano.+",)})
    options = re.search(r'from="(.*?)"', text)
    assert options is not None
    own = tmp_path / "own"
    for directory in ("lists/partial", "archives/partial"):
        (own / directory).mkdir(parents=True)
    (own / "status").touch()
    (own / "own.list").write_text(f"deb [trusted=yes] file:{own} ./\n")
    packages = "".join(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nFilename: ./{name}.deb\nSize: 9\nSHA256: {64 * '0'}\n\n"
        for name in ("nanoxx", "nanoyy")
    )
    (own / "Packages").write_text(packages)
    places = f"-o Dir::State={own} -o Dir::State::status={own}/status -o Dir::Cache={own} -o Dir::Etc::sourceparts=-"
    command = ["apt-get", *options[1].split(), *places.split(), "-o", f"Dir::Etc::sourcelist={own}/own.list"]
    subprocess.run([*command, "update"], check=True, capture_output=True)

    def simulated(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "-s", "install", "--", name], check=False, capture_output=True, text=True)

    assert "Inst nanoxx" in simulated("nanoxx").stdout
    for name in ("nano.+", "nanox."):
        refused = simulated(name)
        assert refused.returncode != 0
        assert "Inst " not in refused.stdout


async def test_a_build_sees_its_containerfile_alone(paths: StatePaths):
    """W-73: nothing of the appliance's data is in the context, and what lies there goes before a build."""
    context = paths.group_image("main") / "context"
    context.mkdir(parents=True)
    (context / "left-over").write_text("x")
    manager = Manager()
    built = await images(paths, manager).build("main", "agent", BASE, {"apt": ("jq",)})
    assert [path.name for path in context.iterdir()] == ["Containerfile"]
    unit = (paths.quadlets / "nanoclaw-image-group-main.build").read_text()
    assert f"SetWorkingDirectory={context}" in unit
    assert f"ImageTag=localhost/nanoclaw-group-main:{built.tag}" in unit
    assert manager.started == ["nanoclaw-image-group-main-build.service"]


async def test_a_failed_build_says_why_within_bounds(paths: StatePaths):
    manager = Manager()
    manager.result = "failed"
    log = paths.group_image("main") / "log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"first\n" * 5000 + b"E: Unable to locate package \x1b[31mnone\n")
    with pytest.raises(BuildError) as failed:
        await images(paths, manager).build("main", "agent", BASE, {"apt": ("none",)})
    assert "E: Unable to locate package ?[31mnone" in failed.value.message
    assert len(failed.value.message) < 2000


async def test_the_loop_goes_on_while_an_image_is_built(paths: StatePaths):
    """The reference's build holds up every conversation for as long as it takes."""
    manager = Manager()
    manager.go_on.clear()
    building = asyncio.create_task(images(paths, manager).build("main", "agent", BASE, {"apt": ("jq",)}))
    async with asyncio.timeout(5):
        while not manager.started:  # noqa: ASYNC110  # the point is that this loop runs
            await asyncio.sleep(0)
    assert not building.done()
    manager.go_on.set()
    await building
