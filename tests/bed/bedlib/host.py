"""What the host must have, and what it knows about where Debian's packages come from."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .command import run
from .settings import BED_SOURCES, BedError

# program → the Debian package that has it
PROGRAMS = {
    "git": "git",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "systemd-nspawn": "systemd-container",
    "tar": "tar",
    "unshare": "util-linux",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-trixie-stable.gpg")
# rootless podman's image store, FUSE file systems and network taps; often modules, sometimes built in
MODULES = ("overlay", "fuse", "tun")


def require_root() -> None:
    """Raises BedError unless this runs as root: only root boots machines."""
    if os.geteuid() != 0:
        raise BedError("the bed boots a machine, which only root may do: run it again with `sudo`")


def missing_packages() -> list[str]:
    """Debian packages that the host lacks."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if importlib.util.find_spec("pip") is None:
        missing.add("python3-pip")
    if not KEYRING.exists():
        missing.add("debian-archive-keyring")
    return sorted(missing)


def prepare(note: Callable[[str], None]) -> None:
    """Install what the host lacks and load the kernel's modules.

    Raises:
        BedError: not root, or the host's packages cannot be installed.
    """
    require_root()
    missing = missing_packages()
    if missing:
        install(missing, note)
    if shutil.which("modprobe"):
        for module in MODULES:
            # without the module its feature is missing, and what needs it says so better than we could here
            subprocess.run(["modprobe", "--quiet", module], check=False, capture_output=True)


def install(packages: list[str], note: Callable[[str], None]) -> None:
    """Install Debian packages on the host."""
    if shutil.which("apt-get") is None:
        raise BedError(f"this host has no apt-get; install these, then try again: {' '.join(packages)}")
    note(f"installing on this host: {' '.join(packages)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], env=quiet, hint="mend the host's apt sources, then try again")
    run(
        ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
        env=quiet,
        hint=f"run `apt-get install {' '.join(packages)}`, then try again",
    )


def debian_sources(suite: str) -> list[str]:
    """The sources.list lines of `suite` on the mirrors this host uses; empty if it names none."""
    wanted = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    result = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"],
        check=False,
        capture_output=True,
        text=True,
    )
    mirrors: dict[str, str] = {}
    for line in result.stdout.splitlines():
        origin, label, uri = line.split("|", 2)
        if origin == "Debian" and uri.startswith(("http://", "https://")):
            mirrors.setdefault(label, uri.rstrip("/"))
    if "Debian" not in mirrors:
        return []
    lines = [f"deb {mirrors['Debian']} {name} main" for name in (suite, f"{suite}-updates")]
    if "Debian-Security" in mirrors:
        lines.append(f"deb {mirrors['Debian-Security']} {suite}-security main")
    return lines


def apt_options() -> list[str]:
    """How this host's apt reaches its mirrors: proxies, retries, tolerated clocks."""
    result = subprocess.run(["apt-config", "dump"], check=False, capture_output=True, text=True)
    wanted = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries", "Acquire::ForceIPv4")
    lines = [line for line in result.stdout.splitlines() if line.startswith(wanted) and not line.endswith(' "";')]
    return [*lines, 'Acquire::Languages "none";']


def download_wheels(requirements: str, directory: Path) -> None:
    """Fetch the wheels a file beside the recipe names, for the bed's Python, with the host's own pip configuration.

    Raises:
        BedError: pip could not.
    """
    machine = platform.machine()
    platforms = [f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}"]
    options = [word for name in platforms for word in ("--platform", name)]
    run(
        [
            *("python3", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
            *("--python-version", "3.13", *options),
            *("--dest", directory, "--requirement", BED_SOURCES / requirements),
        ],
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        hint=f"look at tests/bed/{requirements} and at this host's pip configuration, then try again",
    )
