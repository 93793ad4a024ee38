"""The skills of this agent: found at each start, linked where Claude's client looks, described to other models."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from nanoclaw_runner.contract.skills import SOURCES, Skill, find

_log = logging.getLogger(__name__)


def available(root: Path, selected: Collection[str] | None) -> list[Skill]:
    """Return the skills that the agent has, by name.

    Args:
        root: where the shared skills are mounted.
        selected: the names of its configuration; None: all.
    """
    return find([(source, root / source) for source in SOURCES], selected)


def link(skills: Sequence[Skill], directory: Path) -> None:
    """Make the directory's links those of the skills; what the agent has made there itself is left alone (F-187).

    Trouble is logged and nothing more: an agent without its skills still answers.
    """
    wanted = {skill.name: skill.path for skill in skills}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for entry in directory.iterdir():
            if entry.is_symlink() and wanted.get(entry.name) != entry.readlink():
                entry.unlink()
        for name, path in wanted.items():
            place = directory / name
            if not place.is_symlink() and not place.exists():
                place.symlink_to(path)
    except OSError as error:
        _log.warning("the skills could not be linked below %s: %s", directory, error)


def overview(skills: Sequence[Skill]) -> str:
    """Return what a model is told that knows nothing of skills; empty where there are none."""
    if not skills:
        return ""
    lines = [f"- {skill.name}: {skill.description or 'no description'} ({skill.path}/SKILL.md)" for skill in skills]
    return "\n".join(
        ["# Skills", "", "Before a task that one of these is about, read its file and follow it.", "", *lines]
    )
