"""Counts how often a platform's event was begun, on the disk, so that none can end the daemon again and again.

An event that the daemon dies of is told again by the platform after the restart. After three tries it is set aside:
kept for a look, and acknowledged, so that what comes behind it is heard.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.text import storable
from nanoclawd.atomic_file import write_atomically

MAX_TRIES: Final = 3
MAX_RAW_CHARACTERS: Final = 8192
MAX_SET_ASIDE: Final = 100
"""Of a channel; the oldest go first."""

_MAX_ID_CHARACTERS: Final = 200


class _Begun(msgspec.Struct):
    tries: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """An event that was given up.

    Attributes:
        event_id: as the platform calls it.
        at: when it was given up.
        reason: what went wrong the last time.
        raw: the beginning of what the platform has sent.
    """

    event_id: str
    at: str
    reason: str
    raw: str


class Attempts:
    """The ledger of one channel. Blocking, but for :attr:`set_aside_count`: not for the event loop."""

    def __init__(self, directory: Path) -> None:
        """Prepare; the directory is made when something is written."""
        self._begun = directory / "begun"
        self._aside = directory / "set-aside"
        self.set_aside_count = 0

    def open(self) -> None:
        """Look at what an earlier daemon has left. Before anything else."""
        self._begun.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._aside.mkdir(mode=0o700, exist_ok=True)
        self.set_aside_count = len(self._names())

    def begin(self, event_id: str) -> int:
        """Note that an event is being handled; return the which time this is.

        Not synced: a process that dies leaves it all the same, and a machine that dies is not the event's doing.
        """
        path = self._begun / _name(event_id)
        try:
            tries = msgspec.json.decode(path.read_bytes(), type=_Begun).tries + 1
        except FileNotFoundError:
            tries = 1
        except msgspec.DecodeError:  # the file was being written when the machine died
            tries = 1
        path.write_bytes(msgspec.json.encode(_Begun(tries)))
        return tries

    def end(self, event_id: str) -> None:
        """Note that an event is done with."""
        (self._begun / _name(event_id)).unlink(missing_ok=True)

    def forget(self, event_id: str, tries: int) -> None:
        """Note that a try was none: it could not be stored for a reason that is not the event's."""
        if tries <= 1:
            self.end(event_id)
        else:
            (self._begun / _name(event_id)).write_bytes(msgspec.json.encode(_Begun(tries - 1)))

    def set_aside(self, event_id: str, reason: str, raw: str) -> None:
        """Give an event up."""
        kept = SetAside(
            storable(event_id[:_MAX_ID_CHARACTERS]), now_text(), storable(reason), storable(raw[:MAX_RAW_CHARACTERS])
        )
        write_atomically(self._aside / _name(event_id), msgspec.json.encode(kept).decode(), mode=0o600)
        self.end(event_id)
        for path in self._names()[:-MAX_SET_ASIDE]:
            path.unlink(missing_ok=True)
        self.set_aside_count = len(self._names())

    def all_set_aside(self) -> Sequence[SetAside]:
        """Return what was given up, oldest first."""
        found = []
        for path in self._names():
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=SetAside))
            except (OSError, msgspec.DecodeError):
                continue
        return found

    def clear(self) -> int:
        """Forget what was given up; return how much that was."""
        names = self._names()
        for path in names:
            path.unlink(missing_ok=True)
        self.set_aside_count = 0
        return len(names)

    def _names(self) -> list[Path]:
        with os.scandir(self._aside) as entries:
            found = [(entry.stat().st_mtime_ns, Path(entry.path)) for entry in entries if entry.is_file()]
        return [path for _, path in sorted(found)]


def _name(event_id: str) -> str:
    return hashlib.sha256(event_id.encode(errors="surrogatepass")).hexdigest()[:32]
