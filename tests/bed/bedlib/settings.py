"""Where things are, and the one exception that the user sees."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

BED_SOURCES = Path(__file__).resolve().parent.parent
REPOSITORY = BED_SOURCES.parent.parent


class BedError(Exception):
    """Something the user can mend; the message ends with what to type next."""


@dataclass(frozen=True)
class Settings:
    """The bed that this command is about."""

    name: str
    home: Path

    @property
    def identity(self) -> str:
        """A name no other bed of this machine has, in this checkout or in another."""
        place = hashlib.sha256(str(self.home).encode()).hexdigest()[:8]
        return f"nanoclaw-bed-{self.name}-{place}"

    @property
    def cache(self) -> Path:
        """What is built once and shared by all beds."""
        return self.home / "cache"

    @property
    def beds(self) -> Path:
        """The directory that holds the beds, one directory each."""
        return self.home / "beds"

    @property
    def directory(self) -> Path:
        """This bed's files."""
        return self.beds / self.name

    @property
    def tree(self) -> Path:
        """A link to the cached tree under this bed's root file system."""
        return self.directory / "tree"

    @property
    def changes(self) -> Path:
        """What this bed's root file system has other than the cached tree."""
        return self.directory / "changes"

    @property
    def var(self) -> Path:
        """This bed's /var: no overlay, because podman's image store cannot lie on one."""
        return self.directory / "var"

    @property
    def out(self) -> Path:
        """Where the bed leaves files for the host; it outlives the bed."""
        return self.home / "out" / self.name

    @property
    def facts(self) -> Path:
        """What was put into this bed."""
        return self.directory / "facts.json"

    @property
    def console(self) -> Path:
        """What the machine printed while booting."""
        return self.directory / "console.log"


def from_environment(name: str | None = None) -> Settings:
    """Settings of the bed called `name`, by default the one that BED_NAME says.

    Raises:
        BedError: the name cannot name a machine.
    """
    name = name or os.environ.get("BED_NAME") or "bed"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise BedError(f"{name!r} cannot name a bed: up to 20 of a-z, 0-9 and -; try BED_NAME=second")
    home = Path(os.environ.get("BED_HOME") or REPOSITORY / "build" / "bed").resolve()
    return Settings(name, home)
