"""What this machine lacks the means to check: said in the summary of every run, never skipped in silence."""

from pathlib import Path

NOTES: list[str] = []


def not_checked(what: str) -> None:
    """Note something for the summary, once."""
    if what not in NOTES:
        NOTES.append(what)


def controllers() -> frozenset[str]:
    """Return the cgroup controllers that this machine gives to units."""
    return frozenset(Path("/sys/fs/cgroup/cgroup.controllers").read_text().split())
