"""Writing a file so that a reader sees the old text or the new one, and a crash leaves one of the two."""

import os
import stat
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Replace a file's text; False (and nothing touched) when it is the same already.

    Raises:
        OSError: the disk is full, or the directory is not writable.
    """
    if holds(path, text, mode=mode):
        return False
    content = text.encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(draft).rename(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True


def holds(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Tell whether a file is there with this text and mode."""
    try:
        found = path.lstat()
        content = text.encode()
        return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and path.read_bytes() == content
    except FileNotFoundError:
        return False
