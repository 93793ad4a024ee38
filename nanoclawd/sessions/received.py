"""Files that people send: kept below ``in/files``, in a directory of their message's own, before its row is.

``in/`` is the daemon's own and read-only in the container, so nothing in there is hostile but names and contents. Names
are made safe, contents are never opened here beyond their first bytes.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.files import MAX_NAME_BYTES, check_name
from nanoclawd.paths import SessionPaths

log = logging.getLogger(__name__)

MAX_KEPT_BYTES: Final = 2 * 1024**3
"""Of a session's files: whoever may write there can send as many as they like, and the disk is everybody's."""

MODE: Final = 0o640
_DIRECTORY_MODE: Final = 0o750
_SHORTEST_STEM: Final = 1


@dataclass(frozen=True, slots=True)
class Received:
    """A file that came with a message.

    Attributes:
        name: safe, and the only one of its name in the message.
        media_type: what its first bytes look like, else what the platform says.
        size: bytes, as far as known.
        staged: where it lies whole and on the disk; None: it could not be had.
        problem: why not, for the agent.
    """

    name: str
    media_type: str
    size: int | None
    staged: Path | None
    problem: str = ""


def folder_of(message_id: str) -> str:
    """Return the name of a message's directory: ids are the platform's and may be anything."""
    return hashlib.sha256(message_id.encode(errors="replace")).hexdigest()[:16]


def entry(message_id: str, received: Received) -> dict[str, object]:
    """Return what a row's content says of a file; ``path`` is below ``/session/in``."""
    found: dict[str, object] = {"name": received.name, "type": received.media_type}
    if received.size is not None:
        found["size"] = received.size
    if received.staged is not None:
        found["path"] = f"files/{folder_of(message_id)}/{received.name}"
    if received.problem:
        found["problem"] = received.problem
    return found


def place(paths: SessionPaths, message_id: str, files: Iterable[Received]) -> None:
    """Put a message's files where its agent finds them. Safe to repeat: the same message has the same files.

    Those of the oldest messages make room for them.

    Raises:
        OSError: the disk is full or not writable; the message is not to be stored then.
    """
    there = [(one.name, one.staged) for one in files if one.staged is not None]
    if not there:
        return
    directory = paths.inbound_files / folder_of(message_id)
    _make_room(paths.inbound_files, directory, sum(staged.stat().st_size for _, staged in there))
    directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    for name, staged in there:
        with suppress(FileExistsError):
            _put(staged, directory / name)
    for path in (directory, paths.inbound_files):
        _sync(path)


def safe_name(name: str, number: int, suffix: str, taken: Iterable[str]) -> str:
    """Return a name for a file: the given one where it is safe, numbered where another file of the message has it.

    Args:
        name: as the platform gives it; may be anything.
        number: of the file in its message, for one without a usable name.
        suffix: with its dot, for one without a usable name.
        taken: names of the message's other files.
    """
    try:
        check_name(name)
        usable = not name.startswith(".")
    except ValueError:
        usable = False
    if not usable:
        name = f"attachment-{number}{suffix}"
    others = {other.casefold() for other in taken}
    stem, dot, end = name.partition(".")
    tried, count = name, 1
    while tried.casefold() in others:
        count += 1
        mark = f"-{count}{dot}{end}"
        room = MAX_NAME_BYTES - len(mark.encode())
        tried = stem.encode()[: max(room, _SHORTEST_STEM)].decode(errors="ignore") + mark
    return tried


def _make_room(files: Path, besides: Path, size: int) -> None:
    """Remove the files of the oldest messages where they and new ones would be too much together."""
    kept = sorted((one.stat().st_mtime, one) for one in files.iterdir() if one != besides)
    sizes = {one: sum(file.lstat().st_size for file in one.iterdir()) for _, one in kept}
    used = sum(sizes.values())
    for _, one in kept:
        if used + size <= MAX_KEPT_BYTES:
            return
        used -= sizes[one]
        log.warning("%s: too many files in this conversation, those of an old message are removed", one)
        shutil.rmtree(one)


def _put(staged: Path, target: Path) -> None:
    """Link a file in place; several agents that hear a message share one copy, which none of them can write."""
    try:
        os.link(staged, target)
    except FileExistsError:
        raise
    except OSError:
        # Another file system, or one without links: a whole copy under another name first.
        draft = target.with_name(f".{target.name[:64]}.draft")
        draft.unlink(missing_ok=True)
        shutil.copyfile(staged, draft, follow_symlinks=False)
        draft.chmod(MODE)
        _sync(draft)
        draft.rename(target)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
