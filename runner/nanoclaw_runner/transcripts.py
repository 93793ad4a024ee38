"""What was said, kept as Markdown in the workspace before a conversation is made shorter (§7.4)."""

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

DIRECTORY: Final = "conversations"
MAX_ENTRY_CHARACTERS: Final = 2000
MAX_ENTRIES: Final = 5000
MAX_NAME_CHARACTERS: Final = 50
_MAX_TITLE_CHARACTERS: Final = 200
_ATTEMPTS: Final = 1000
_ELLIPSIS: Final = "…"
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One side's words."""

    speaker: str
    text: str


def archive(workspace: Path, entries: Iterable[Entry], now: datetime, title: str = "") -> Path | None:
    """Write a conversation into the workspace, under a name that nothing has yet.

    Args:
        workspace: the agent group's.
        entries: oldest first; long ones are cut, and of very many the newest are kept.
        now: in the owner's zone.
        title: what it was about, where somebody knows.

    Returns:
        The file, or None where nothing was said or it could not be written: that is logged, and no reason to stop.
    """
    kept = [entry for entry in entries if entry.text.strip()][-MAX_ENTRIES:]
    if not kept:
        return None
    line = " ".join(title.split())[:_MAX_TITLE_CHARACTERS]
    try:
        return _write(workspace / DIRECTORY, _stem(line, now), _markdown(line or "Conversation", now, kept))
    except OSError as error:
        _log.warning("the conversation could not be archived: %s", error)
        return None


def _markdown(title: str, now: datetime, entries: list[Entry]) -> bytes:
    head = f"# {title}\n\nArchived: {now.isoformat(timespec='minutes')}\n\n---\n\n"
    body = "\n\n".join(f"**{entry.speaker}**: {_bounded(entry.text.strip())}" for entry in entries)
    return f"{head}{body}\n".encode(errors="replace")


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_ENTRY_CHARACTERS else text[: MAX_ENTRY_CHARACTERS - 1] + _ELLIPSIS


def _stem(title: str, now: datetime) -> str:
    slug = _NOT_PLAIN.sub("-", title.lower()).strip("-")[:MAX_NAME_CHARACTERS].strip("-")
    return f"{now:%Y-%m-%d}-{slug or f'conversation-{now:%H%M}'}"


def _write(directory: Path, stem: str, content: bytes) -> Path:
    """Create a file that was not there. The workspace is the agent's: no link of its making is followed."""
    directory.mkdir(exist_ok=True)
    for number in range(1, _ATTEMPTS):
        path = directory / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o660)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return path
    raise FileExistsError(f"{directory} has too many files named {stem}")
