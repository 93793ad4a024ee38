"""``/files``: what lies in the agent's workspace and what people have sent, as a short list."""

import os
from collections import deque
from pathlib import Path
from typing import Final

from nanoclaw_runner.places import Places

MAX_SHOWN: Final = 40
MAX_LOOKED_AT: Final = 5000
"""A workspace can have millions of files; so many are looked at, and the words say so."""

_MAX_DEPTH: Final = 4
_MAX_NAME_CHARACTERS: Final = 120
_STEP: Final = 1024


def listing(places: Places) -> str:
    """Return the words for a person. Reads directories: for a thread, not for the loop."""
    return "\n".join(
        (*_section("Workspace", places.workspace), *_section("Received files", places.inbound_files)),
    )


def _section(title: str, root: Path) -> list[str]:
    found, whole = _files(root)
    if not found:
        return [f"{title}: nothing"]
    more = "" if whole else " and more"
    lines = [f"{title}: {len(found)} file{'s' if len(found) > 1 else ''}{more}"]
    lines += [f"  {_shown(name)} ({_size(size)})" for name, size in sorted(found)[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        lines.append(f"  … {len(found) - MAX_SHOWN}{more} not shown")
    return lines


def _files(root: Path) -> tuple[list[tuple[str, int]], bool]:
    """Return the regular files below a directory, without links, hidden ones and depths, and whether those are all."""
    found: list[tuple[str, int]] = []
    looked_at = 0
    pending = deque([(root, 0)])
    while pending:
        directory, depth = pending.popleft()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    looked_at += 1
                    if looked_at > MAX_LOOKED_AT:
                        return found, False
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False) and depth < _MAX_DEPTH:
                        pending.append((directory / entry.name, depth + 1))
                    elif entry.is_file(follow_symlinks=False):
                        found.append((os.path.relpath(entry.path, root), entry.stat(follow_symlinks=False).st_size))
        except OSError:
            # Removed meanwhile, or not ours to read.
            continue
    return found, True


def _shown(name: str) -> str:
    clean = "".join(character if character.isprintable() else "?" for character in name)
    return clean if len(clean) <= _MAX_NAME_CHARACTERS else clean[: _MAX_NAME_CHARACTERS - 1] + "…"


def _size(size: int) -> str:
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < _STEP:
            return f"{value:.0f} {unit}"
        value /= _STEP
    return f"{value:.1f} GiB"
