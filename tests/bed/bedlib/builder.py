"""Runs commands in the builder: a Debian 13 with the tools that build and check, without booting it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .enter import PATH
from .settings import REPOSITORY, BedError

# In a mount and PID namespace of its own: whatever happens, the kernel undoes the mounts and ends the processes.
ENTER = """
set -e
root=$1; source=$2; build=$3; wheels=$4; shift 4
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
mount --bind "$source" "$root/src"
if [ -n "$build" ]; then mount --bind "$build" "$root/build"; fi
if [ -n "$wheels" ]; then mkdir "$root/run/wheels"; mount --bind "$wheels" "$root/run/wheels"; fi
for file in /etc/resolv.conf /etc/hosts; do
    if [ -e "$file" ] && [ -e "$root$file" ]; then mount --bind "$file" "$root$file"; fi
done
exec chroot "$root" "$@"
"""


def command(
    root: Path,
    words: Sequence[str],
    *,
    directory: str = "/src",
    build: Path | None = None,
    wheels: Path | None = None,
) -> list[str]:
    """The command line that runs `words` in the builder, with the repository at /src.

    Args:
        root: the builder's tree.
        words: the command.
        directory: where it starts.
        build: a directory of the host to have at /build.
        wheels: one to have at /run/wheels.
    """
    caches = "/src/build/cache"
    variables: Mapping[str, str] = {
        "PATH": PATH,
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
        # nothing is left between the sources, which may belong to somebody else than root
        "PYTHONDONTWRITEBYTECODE": "1",
        "MYPY_CACHE_DIR": f"{caches}/mypy",
        "RUFF_CACHE_DIR": f"{caches}/ruff",
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{caches}/hypothesis",
        "PYTEST_ADDOPTS": f"-o cache_dir={caches}/pytest",
        **({"CI": os.environ["CI"]} if "CI" in os.environ else {}),
    }
    pairs = [f"{name}={value}" for name, value in variables.items()]
    return [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"),
        *("sh", "-c", ENTER, "sh", str(root), str(REPOSITORY), str(build or ""), str(wheels or "")),
        *("env", "-i", f"--chdir={directory}", *pairs, *words),
    ]


def run(root: Path, words: Sequence[str], wheels: Path | None = None) -> int:
    """Run a command in the builder, its input and output being ours, and return its exit status."""
    sys.stderr.flush()
    return subprocess.run(command(root, words, wheels=wheels), check=False).returncode


def capture(root: Path, words: Sequence[str], build: Path) -> str:
    """Run a command in /build and return what it printed.

    Raises:
        BedError: it failed.
    """
    result = subprocess.run(
        command(root, words, directory="/build", build=build),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if result.returncode != 0:
        tail = "\n".join(result.stdout.splitlines()[-40:])
        raise BedError(f"in the builder, `{' '.join(words)}` failed ({result.returncode}):\n{tail}")
    return result.stdout
