"""Images of groups that have packages of their own: one more layer on the image of their provider.

The Containerfile is generated from checked names, and lies alone in its build's directory (W-57, W-73). Its hash,
which has the image below in it, is the tag. systemd builds; the daemon waits for the job, and its loop for nothing. The
image in use changes only when a new one has been built.
"""

import asyncio
import hashlib
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from nanoclawd.atomic_file import write_atomically
from nanoclawd.config import Config
from nanoclawd.errors import NanoclawError, Refused
from nanoclawd.journal import about
from nanoclawd.paths import StatePaths
from nanoclawd.store.package_names import MANAGERS, check
from nanoclawd.supervision.quadlets import GroupImageBuild, UnitFiles, group_build_unit
from nanoclawd.supervision.user_manager import UserManager

log = logging.getLogger(__name__)

BUILD_SECONDS: Final = 1800.0
MAX_TOLD_CHARACTERS: Final = 1500
"""Of what a failed build has said, to whoever asked for it."""

_TAIL_BYTES: Final = 8192
_TAG_CHARACTERS: Final = 12

# Pattern-Only: to apt-get a name with a dot that no package has is a pattern, and all that match it would come along.
_APT: Final = """\
RUN set -eu; \\
    export DEBIAN_FRONTEND=noninteractive; \\
    from="-o APT::Sandbox::User=root -o APT::Cmd::Pattern-Only=true"; \\
    if [ -e /packages/Packages ] || [ -e /packages/Packages.gz ]; then \\
        echo "deb [trusted=yes] file:/packages ./" > /tmp/own.list; \\
        from="$from -o Dir::Etc::sourcelist=/tmp/own.list -o Dir::Etc::sourceparts=-"; \\
    fi; \\
    apt-get $from update -q; \\
    apt-get $from install -q --yes --no-install-recommends -- {names}; \\
    apt-get clean; \\
    rm -rf /tmp/own.list /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
"""
# Behind Debian's own packages on Python's path: what pip brings can't take the place of what the runner is made of.
_PIP: Final = """\
RUN set -eu; \\
    offline=; \\
    for wheel in /wheels/*.whl; do if [ -e "$wheel" ]; then offline="--no-index --find-links=/wheels"; fi; done; \\
    python3 -m pip install --no-cache-dir --no-compile --disable-pip-version-check --root-user-action=ignore \\
        --target /opt/packages/python $offline -- {names}; \\
    chmod -R a+rX /opt/packages; \\
    echo /opt/packages/python > /usr/lib/python3/dist-packages/zz-packages.pth
"""
_NPM: Final = """\
RUN npm install --global --no-audit --no-fund -- {names}
"""
_NEEDED: Final = {"pip": ("python3-pip",), "npm": ("nodejs", "npm")}


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is there."""

    stage: str
    tag: str


class BuildError(NanoclawError):
    """A build failed; the message has the end of what it said."""


class GroupImages:
    """Builds groups' own images."""

    def __init__(self, config: Config, paths: StatePaths, manager: UserManager, units: UnitFiles) -> None:
        self._config = config
        self._paths = paths
        self._manager = manager
        self._units = units
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def building(self, group: str) -> asyncio.Lock:
        """Return the lock of a group's image: held from before its packages are read until the result is recorded."""
        return self._building.setdefault(group, asyncio.Lock())

    async def build(self, group: str, stage: str, base: str, packages: Mapping[str, tuple[str, ...]]) -> Built:
        """Build an image, with :meth:`building` held. The unit files are not read anew by this for anything else.

        Args:
            group: the agent group's name.
            stage: the stage that is below it.
            base: reference of that stage's image in use.
            packages: names by manager; at least one.

        Raises:
            InvalidName: a name breaks its rule.
            Refused: there are no packages.
            BuildError: it failed; the image in use is as it was.
            Unavailable: systemd can't be asked.
        """
        text = containerfile(base, packages)
        tag = tag_of(text)
        directory = self._paths.group_image(group)
        changed = await asyncio.to_thread(self._write, group, tag, directory, text)
        if changed:
            await self._manager.reload()
        unit = group_build_unit(group)
        await self._manager.reset_failed(unit)
        result = await self._manager.start_unit(unit, BUILD_SECONDS)
        if result != "done":
            said = await asyncio.to_thread(_end_of, directory / "log")
            log.warning("the image of %s could not be built (%s)", group, result, extra=about(group=group))
            raise BuildError(
                f"the image could not be built ({result}). It said:\n{said}", hint=f"sudo cat {directory}/log"
            )
        log.info("the image of %s was built: %s", group, tag, extra=about(group=group))
        return Built(stage, tag)

    async def present(self, group: str, tag: str) -> bool:
        """Ask podman whether an image is there."""
        result = await self._manager.run_transient(
            f"nanoclaw-image-group-{group}-look.service",
            ["/usr/bin/podman", "image", "exists", reference(group, tag)],
            f"See whether the image of agent group {group} is there",
        )
        return result == "done"

    async def remove(self, group: str, tag: str) -> None:
        """Remove an image that is not in use any more; one that a container still has stays, which only costs disk."""
        await remove_image(self._manager, group, tag)

    def _write(self, group: str, tag: str, directory: Path, text: str) -> bool:
        context = directory / "context"
        # Whatever lies there beside the Containerfile would be sent along with it.
        with suppress(FileNotFoundError):
            shutil.rmtree(context)
        write_atomically(context / "Containerfile", text)
        nothing = self._paths.image_contexts / "nothing"
        nothing.mkdir(parents=True, exist_ok=True)
        images = self._config.images
        return self._units.write_group_build(
            GroupImageBuild(
                group=group,
                tag=tag,
                directory=directory,
                wheels=Path(images.wheels) if images.wheels else nothing,
                packages=Path(images.packages) if images.packages else nothing,
                network=images.build_network or "private",
            )
        )


def containerfile(base: str, packages: Mapping[str, tuple[str, ...]]) -> str:
    """Return the text of a group's Containerfile.

    Args:
        base: reference of the image below.
        packages: names by manager.

    Raises:
        InvalidName: a name breaks its rule, whoever has let it in.
        Refused: there are no packages.
    """
    names = {manager: [check(manager, name) for name in packages.get(manager, ())] for manager in MANAGERS}
    if not any(names.values()):
        raise Refused("it has no packages of its own, so it has no image of its own")
    apt = [*names["apt"], *(one for manager, needed in _NEEDED.items() if names[manager] for one in needed)]
    parts = ["# Written by nanoclawd; changes here are overwritten.\n", f"FROM {base}\n"]
    if names["apt"]:
        parts.append(_APT.format(names=" ".join(dict.fromkeys(apt))))
    elif apt:
        parts.append(f"RUN sh /usr/local/sbin/install-missing {' '.join(apt)}\n")
    if names["npm"]:
        parts.append(_NPM.format(names=" ".join(names["npm"])))
    if names["pip"]:
        parts.append(_PIP.format(names=" ".join(names["pip"])))
    return "".join(parts)


def tag_of(text: str) -> str:
    """Return the tag of what a Containerfile makes."""
    return hashlib.sha256(text.encode()).hexdigest()[:_TAG_CHARACTERS]


def reference(group: str, tag: str) -> str:
    """Return the name of a group's own image."""
    return f"localhost/nanoclaw-group-{group}:{tag}"


async def remove_image(manager: UserManager, group: str, tag: str) -> None:
    """Remove a group's own image, as far as no container has it."""
    await manager.run_transient(
        f"nanoclaw-image-group-{group}-remove.service",
        ["/usr/bin/podman", "image", "rm", "--ignore", reference(group, tag)],
        f"Remove an image of agent group {group}",
    )


def _end_of(log_file: Path) -> str:
    """Return the end of what a build said, in whole lines."""
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, log_file.stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError as error:
        return f"(nothing can be read: {error.strerror})"
    text = "".join(char if char.isprintable() or char == "\n" else "?" for char in text).strip()
    return text if len(text) <= MAX_TOLD_CHARACTERS else text[-MAX_TOLD_CHARACTERS:].partition("\n")[2]
