"""Unit files that the daemon writes: one template quadlet and socket per agent group, the model's, the image builds'.

A session needs no file and no reload: it is an instance (house rule 4). Values come from closed alphabets, because a
newline, ``%``, ``:`` or ``,`` in one would be an injection; all else goes into ``agent.json``.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanoclawd.atomic_file import holds, write_atomically
from nanoclawd.errors import InvalidName
from nanoclawd.paths import StatePaths
from nanoclawd.store.names import check_group_name

_NUMBER: Final = re.compile(r"[0-9]+")
_PATH: Final = re.compile(r"(/(?!\.\.?(/|$))[A-Za-z0-9._@+-]+)+")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@:-]*")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOUNT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
_RULES: Final[Mapping[str, re.Pattern[str]]] = {
    "base_image": _IMAGE,
    "context": _PATH,
    "directory": _PATH,
    "file_bytes": _NUMBER,
    "group": re.compile(r"[a-z0-9-]+"),
    "idle_seconds": _NUMBER,
    "image": _IMAGE,
    "memory_bytes": _NUMBER,
    "mounts": re.compile(rf"(Volume=({_PATH.pattern}):/mnt/{_MOUNT_NAME.pattern}:(ro|rw),nosuid,nodev\n)*"),
    "network": _WORD,
    "packages": _PATH,
    "ready_seconds": _NUMBER,
    "runner": re.compile(r"[0-9a-f]+"),
    "share": _PATH,
    "stage": _WORD,
    "state": _PATH,
    "tag": _WORD,
    "tasks": _NUMBER,
    "timezone": re.compile(r"[A-Za-z][A-Za-z0-9_+/-]*"),
    "uid": _NUMBER,
    "watchdog_seconds": _NUMBER,
    "watchdog_usec": _NUMBER,
    "wheels": _PATH,
}
"""What each placeholder may hold: a ``:`` that belongs into an image's name would split a mount."""

MAX_FILE_BYTES: Final = 256 * 1024 * 1024
"""Largest file in a container; an outbound database beyond it would not be read anyway."""


@dataclass(frozen=True, slots=True)
class MountedDirectory:
    """A directory of the machine, and where a session sees it: ``/mnt/<name>``."""

    path: Path
    name: str
    writable: bool


@dataclass(frozen=True, slots=True)
class SessionTemplate:
    """What a group's session quadlet says. Seconds and bytes."""

    group: str
    uid: int
    image: str
    runner: str
    timezone: str
    watchdog_seconds: int
    ready_seconds: int
    memory_bytes: int
    tasks: int
    share: Path
    mounts: tuple[MountedDirectory, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupImageBuild:
    """What the build quadlet of a group's own image says."""

    group: str
    tag: str
    directory: Path
    wheels: Path
    packages: Path
    network: str


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """What an image's build quadlet says."""

    stage: str
    tag: str
    base_image: str
    context: Path
    wheels: Path
    network: str


class UnitFiles:
    """Renders templates and puts them where the user manager looks. Every method says whether anything changed.

    A mark lies beside the state from before a change until the manager has read it: a daemon that dies in between would
    else find its files in order at the next start, and wait for units that nobody has loaded.
    """

    def __init__(self, templates: Path, state: StatePaths) -> None:
        self._templates = templates
        self._state = state

    def write_group(self, template: SessionTemplate) -> bool:
        """Write a group's quadlet and socket.

        Raises:
            InvalidName: a value has a character that a unit file would not keep literal.
        """
        values = {
            "group": check_group_name(template.group),
            "uid": str(template.uid),
            "image": template.image,
            "state": str(self._state.root),
            "runner": template.runner,
            "timezone": template.timezone,
            "watchdog_seconds": str(template.watchdog_seconds),
            "watchdog_usec": f"{template.watchdog_seconds}000000",
            "ready_seconds": str(template.ready_seconds),
            "memory_bytes": str(template.memory_bytes),
            "tasks": str(template.tasks),
            "file_bytes": str(MAX_FILE_BYTES),
            "share": str(template.share),
            "mounts": "".join(
                f"Volume={mount.path}:/mnt/{mount.name}:{'rw' if mount.writable else 'ro'},nosuid,nodev\n"
                for mount in template.mounts
            ),
        }
        name = f"nanoclaw-{template.group}@"
        container = self._write("session.container", self._state.quadlets / f"{name}.container", values)
        socket = self._write("session.socket", self._state.user_units / f"{name}.socket", {"group": template.group})
        return container or socket

    def remove_group(self, group: str) -> bool:
        """Remove a group's unit files."""
        name = f"nanoclaw-{group}@"
        paths = (
            self._state.quadlets / f"{name}.container",
            self._state.user_units / f"{name}.socket",
            self._state.quadlets / f"nanoclaw-image-group-{group}.build",
        )
        found = any(path.exists() for path in paths)
        if found:
            self._state.unread_units.touch()
        for path in paths:
            path.unlink(missing_ok=True)
        return found

    def unread(self) -> bool:
        """Tell whether the manager may not know all of the files."""
        return self._state.unread_units.exists()

    def were_read(self) -> None:
        """Note that the manager has been reloaded since the last change."""
        self._state.unread_units.unlink(missing_ok=True)

    def groups(self) -> set[str]:
        """Return the groups that have a quadlet."""
        return {
            path.name[len("nanoclaw-") : -len("@.container")]
            for path in self._state.quadlets.glob("nanoclaw-*@.container")
        }

    def write_model(self, image: str, share: Path, idle_seconds: int) -> bool:
        """Write the embedded model's units."""
        container = self._write(
            "model.container", self._state.quadlets / "nanoclaw-model.container", {"image": image, "share": str(share)}
        )
        socket = self._write("model.socket", self._state.user_units / "nanoclaw-model.socket", {})
        proxy = self._write(
            "model-proxy.service",
            self._state.user_units / "nanoclaw-model-proxy.service",
            {"idle_seconds": str(idle_seconds)},
        )
        return container or socket or proxy

    def write_build(self, build: ImageBuild) -> bool:
        """Write an image's build quadlet."""
        values = {
            "stage": build.stage,
            "tag": build.tag,
            "base_image": build.base_image,
            "context": str(build.context),
            "wheels": str(build.wheels),
            "network": build.network,
        }
        return self._write("image.build", self._state.quadlets / f"nanoclaw-image-{build.stage}.build", values)

    def write_group_build(self, build: GroupImageBuild) -> bool:
        """Write the build quadlet of a group's own image; it is started as :func:`group_build_unit`.

        Raises:
            InvalidName: a value has a character that a unit file would not keep literal.
        """
        values = {
            "group": check_group_name(build.group),
            "tag": build.tag,
            "directory": str(build.directory),
            "wheels": str(build.wheels),
            "packages": str(build.packages),
            "network": build.network,
        }
        target = self._state.quadlets / f"nanoclaw-image-group-{build.group}.build"
        return self._write("group-image.build", target, values)

    def _write(self, template: str, target: Path, values: Mapping[str, str]) -> bool:
        text = render((self._templates / template).read_text(encoding="utf-8"), values)
        if holds(target, text):
            return False
        self._state.unread_units.touch()
        return write_atomically(target, text)


def group_build_unit(group: str) -> str:
    """Return the name of the unit that builds a group's own image."""
    return f"nanoclaw-image-group-{group}-build.service"


def render(template: str, values: Mapping[str, str]) -> str:
    """Fill a template's placeholders; its heading comment, which explains them, is left out.

    Raises:
        InvalidName: a value has a character that a unit file would not keep literal.
    """
    for name, value in values.items():
        if _RULES[name].fullmatch(value) is None:
            raise InvalidName(f"{name}: {value[:60]!r} can't stand in a unit file")
    body = template[template.index("\n[") + 1 :]
    return "# Written by nanoclawd; changes here are overwritten.\n\n" + string.Template(body).substitute(values)
