"""Skills: directories with a ``SKILL.md``, shared read-only by all agents. Host and runner find them alike."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCES = ("shipped", "own")
"""Of the package, and of the operator: of two with one name the operator's counts."""

MAX_TEXT_BYTES = 64 * 1024
MAX_DESCRIPTION_CHARACTERS = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_FIELD = re.compile(r"([a-z-]+):[ \t]*(.*)")


@dataclass(frozen=True, slots=True)
class Skill:
    """One skill.

    Attributes:
        name: of its directory.
        description: one line: what it is for, and when.
        path: its directory.
        source: one of SOURCES.
    """

    name: str
    description: str
    path: Path
    source: str

    def instructions(self) -> str:
        """Return what an agent that has the skill is always told (``instructions.md``), most often nothing."""
        return read_bounded(self.path / "instructions.md")


def is_skill_name(name: str) -> bool:
    """Tell whether a text can name a skill."""
    return _NAME.fullmatch(name) is not None


def find(sources: Sequence[tuple[str, Path]], selected: Collection[str] | None) -> list[Skill]:
    """Return the skills that there are, by name.

    Args:
        sources: pairs of a source's name and its directory; later ones replace earlier ones.
        selected: names that count; None: all (F-185).
    """
    found: dict[str, Skill] = {}
    for source, directory in sources:
        try:
            entries = sorted(directory.iterdir())
        except OSError:
            continue
        for entry in entries:
            text = read_bounded(entry / "SKILL.md") if is_skill_name(entry.name) else ""
            if text and (selected is None or entry.name in selected):
                found[entry.name] = Skill(entry.name, _description(text), entry, source)
    return [found[name] for name in sorted(found)]


def read_bounded(path: Path) -> str:
    """Return a file's text, empty where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _description(text: str) -> str:
    r"""Return the description of the heading between the dashes; other lines of it are for whoever reads the file.

    >>> _description("---\nname: tour\ndescription: Shows people round.\n---\n# Tour")
    'Shows people round.'
    """
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return ""
    for line in lines[1:]:
        if line.strip() == "---":
            break
        field = _FIELD.fullmatch(line)
        if field is not None and field[1] == "description":
            return field[2].strip().strip("\"'")[:MAX_DESCRIPTION_CHARACTERS]
    return ""
