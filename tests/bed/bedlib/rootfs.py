"""Builds the Debian trees that beds, the builder and base images are made from."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import cache, host
from .command import run
from .settings import BED_SOURCES, Settings

# raise it when the way of building changes and the recipe does not show it
REVISION = 3
MOUNT_POINTS = ("src", "build", "out")
UNWANTED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "logrotate.timer",
    "squid.service",  # the benchmarks start one of their own
    "systemd-modules-load.service",  # the host's modules are the host's
)


@dataclass(frozen=True)
class Recipe:
    """What one tree consists of."""

    name: str
    suite: str
    packages: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    wheels: str = ""

    @property
    def key(self) -> str:
        """Differs when the tree would."""
        pins = (BED_SOURCES / self.wheels).read_text() if self.wheels else ""
        return cache.key_of(REVISION, self.suite, self.packages, self.exclude, pins)


def recipe(name: str) -> Recipe:
    """Read a tree's recipe from recipe.toml."""
    document = tomllib.loads((BED_SOURCES / "recipe.toml").read_text())
    tables = document["rootfs"]
    table = tables[name]
    inherited = tables[table["extends"]]["packages"] if "extends" in table else []
    return Recipe(
        name=name,
        suite=document["suite"],
        packages=tuple(sorted({*inherited, *table["packages"]})),
        exclude=tuple(table.get("exclude", ())),
        wheels=table.get("wheels", ""),
    )


def bed_tree(settings: Settings, note: Callable[[str], None]) -> Path:
    """The tree that every bed is a copy of."""
    made = recipe("bed")

    def build(directory: Path) -> None:
        _debootstrap(made, directory / "root", note)
        masks = directory / "root" / "etc" / "systemd" / "system"
        for unit in UNWANTED_UNITS:
            (masks / unit).symlink_to("/dev/null")
        _make_mount_points(directory / "root")

    return cache.obtain(settings.cache, "rootfs", made.key, build, note) / "root"


def builder_tree(settings: Settings, note: Callable[[str], None]) -> Path:
    """The tree in which the package is built and the sources are checked."""
    made = recipe("builder")

    def build(directory: Path) -> None:
        root = directory / "root"
        _debootstrap(made, root, note)
        _make_mount_points(root)
        note(f"installing the tools of tests/bed/{made.wheels}")
        wheels = root / "var" / "cache" / "wheels"
        wheels.mkdir()
        host.download_wheels(made.wheels, wheels)
        run(
            [
                *("chroot", root, "sh", "-c"),
                'exec python3 -m pip install "$@" /var/cache/wheels/*.whl',
                *("sh", "--quiet", "--no-index", "--no-deps", "--ignore-installed", "--break-system-packages"),
                "--root-user-action=ignore",
            ]
        )

    return cache.obtain(settings.cache, "builder", made.key, build, note) / "root"


def base_image(settings: Settings, note: Callable[[str], None]) -> Path:
    """A directory with base.tar, the base of the container images."""
    made = recipe("base")

    def build(directory: Path) -> None:
        _debootstrap(made, directory / "base.tar", note)

    return cache.obtain(settings.cache, "base", made.key, build, note)


def wheels(settings: Settings, note: Callable[[str], None]) -> Path:
    """A directory of wheels for image builds in the bed."""
    pins = (BED_SOURCES / "wheels.txt").read_text()

    def build(directory: Path) -> None:
        host.download_wheels("wheels.txt", directory)

    return cache.obtain(settings.cache, "wheels", cache.key_of(pins), build, note)


def _debootstrap(made: Recipe, target: Path, note: Callable[[str], None]) -> None:
    """Make a tree, or a tarball of one, from Debian's packages."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as options:
        options.write("\n".join(host.apt_options()) + "\n")
        options.flush()
        run(
            [
                *("mmdebstrap", "--mode=root", "--variant=minbase", f"--aptopt={options.name}"),
                f"--include={','.join(made.packages)}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in made.exclude),
                made.suite,
                target,
                *host.debian_sources(made.suite),
            ],
            note=note,
            keep=lambda line: line.startswith(("I: running", "I: downloading", "I: extracting", "I: installing")),
            hint="see whether `apt-get update` works on this host, then try again",
        )


def _make_mount_points(root: Path) -> None:
    for name in MOUNT_POINTS:
        (root / name).mkdir()
