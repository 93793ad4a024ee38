"""The secrets of hooks whose callers sign: files of the daemon's own, 0600, never in the database or a log."""

import logging
import os
from collections.abc import Collection
from pathlib import Path

from nanoclawd.atomic_file import write_atomically
from nanoclawd.errors import Unavailable

log = logging.getLogger(__name__)

_MODE = 0o600
_DIRECTORY_MODE = 0o700
_MAX_BYTES = 1024


class SecretFiles:
    """All of them, in memory too: a request does not wait for a disk. Everything but :meth:`get` blocks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, bytes] = {}

    def get(self, hook_id: str) -> bytes | None:
        """Return a hook's secret; None where it has none."""
        return self._known.get(hook_id)

    def load(self, hook_ids: Collection[str]) -> None:
        """Read the secrets of these hooks, and remove what others have left."""
        self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        for path in self._directory.iterdir():
            if path.name not in hook_ids:
                path.unlink(missing_ok=True)
                continue
            with path.open("rb") as file:
                self._known[path.name] = file.read(_MAX_BYTES)
        for missing in sorted(set(hook_ids) - set(self._known)):
            log.error("the secret of hook %s is not there: ncl hooks rotate makes a new one", missing)

    def put(self, hook_id: str, secret: str) -> None:
        """Keep a hook's secret in place of an earlier one.

        Raises:
            Unavailable: the disk is full or not writable.
        """
        try:
            self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            write_atomically(self._directory / hook_id, secret, mode=_MODE)
        except OSError as error:
            raise Unavailable(f"the secret can't be stored: {error}", hint="df -h; ncl doctor") from error
        self._known[hook_id] = secret.encode()

    def remove(self, hook_id: str) -> None:
        """Forget a hook's secret; again does nothing."""
        self._known.pop(hook_id, None)
        (self._directory / hook_id).unlink(missing_ok=True)
        if self._directory.is_dir():
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
