"""What a Matrix channel keeps in its directory: the device that it is, and how far it has read."""

import json
import logging
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from nanoclawd.atomic_file import write_atomically

log = logging.getLogger(__name__)

MAX_SEALED: Final = 500
MAX_INVITES: Final = 100
MAX_MARKS: Final = 2000
"""Rooms; those in which nothing was said for longest are known by a time only."""

_MODE: Final = 0o600


class Device(msgspec.Struct, frozen=True):
    """The session of the account that this channel is.

    Attributes:
        address: the homeserver's.
        token: the access token.
        pickle_key: what the keys on the disk are encrypted with: 32 characters.
        secret_hash: of the credential that made it, so that a new one is noticed.
    """

    address: str
    user_id: str
    device_id: str
    token: str
    pickle_key: str
    secret_hash: str


class Sealed(msgspec.Struct, frozen=True):
    """An event that could not be decrypted yet, as it came; ``told``: people know."""

    room: str
    event: dict[str, Any]
    since: float
    told: bool = False


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """An event of a room up to which all was handed in, and when its server says that it was sent (milliseconds)."""

    event_id: str
    sent: int


class Progress(msgspec.Struct):
    """How far the channel has read, and what is left open.

    Attributes:
        since: the token of the sync up to which everything was handed in; empty before the first.
        rooms: those that the account was in then.
        invites: by room, who invited the account and was not accepted.
        moved: the rooms that were replaced, by their replacement.
        sealed: events that wait for their keys.
        marks: by room, its last event that was handed in: for a server that does not know ``since`` any more.
    """

    since: str = ""
    rooms: set[str] = msgspec.field(default_factory=set)
    invites: dict[str, str] = msgspec.field(default_factory=dict)
    moved: dict[str, str] = msgspec.field(default_factory=dict)
    sealed: list[Sealed] = msgspec.field(default_factory=list)
    marks: dict[str, Mark] = msgspec.field(default_factory=dict)

    def mark(self, room_id: str, event_id: str, sent: int) -> None:
        """Note a room's last event."""
        self.marks.pop(room_id, None)
        self.marks[room_id] = Mark(event_id, sent)
        while len(self.marks) > MAX_MARKS:
            del self.marks[next(iter(self.marks))]

    def mark_of(self, room_id: str) -> Mark:
        """Return a room's last event; where none is known, there is a time before which all was handed in."""
        return self.marks.get(room_id) or Mark("", max((mark.sent for mark in self.marks.values()), default=0))


class Store:
    """Reads and writes both. Blocking: to be called in the channel's own thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._device = directory / "device.json"
        self._progress = directory / "progress.json"

    @property
    def keys(self) -> str:
        """The name of the database of keys in the directory."""
        return "keys.db"

    def device(self) -> Device | None:
        """Return the device, or None where there is none, or none that can be read."""
        return _read(self._device, Device)

    def keep_device(self, device: Device) -> None:
        """Write the device down."""
        write_atomically(self._device, msgspec.json.encode(device).decode(), mode=_MODE)

    def forget_device(self) -> None:
        """Have no device: its keys and how far it has read are of no use to another."""
        for path in (self._device, self._progress, self.directory / self.keys):
            path.unlink(missing_ok=True)

    def progress(self) -> Progress:
        """Return how far the channel has read; from the beginning where that can't be read."""
        return _read(self._progress, Progress) or Progress()

    def keep_progress(self, progress: Progress) -> None:
        """Write down how far the channel has read."""
        write_atomically(self._progress, msgspec.json.encode(progress).decode(), mode=_MODE)

    def protect(self) -> None:
        """Have the database of keys be nobody else's to read."""
        for path in self.directory.glob(f"{self.keys}*"):
            if path.stat().st_mode & 0o077:
                os.chmod(path, _MODE)  # noqa: PTH101  # as it is, without following anything


def _read[Kind: msgspec.Struct](path: Path, kind: type[Kind]) -> Kind | None:
    try:
        return msgspec.convert(json.loads(path.read_bytes()), kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        log.warning("%s can't be read, and is begun anew: %s", path.name, type(error).__name__)
        return None
