"""API keys, from the directory where systemd puts this service's credentials; nobody else can read it."""

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from nanoclawd.gateway.refusals import Refusal

PREFIX = "nanoclaw-gateway."
"""What the unit's ImportCredential= selects by; keeps the gateway's keys apart from the daemon's tokens."""

MAX_CREDENTIAL_BYTES = 16 * 1024

# A header's value: no line break, nothing invisible.
_USABLE = re.compile(rb"[\x21-\x7e]+")

log = logging.getLogger(__name__)


class Credentials:
    """The keys by name. Its representation never shows one."""

    __slots__ = ("_keys",)

    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys

    def __repr__(self) -> str:
        return f"Credentials({sorted(self._keys)})"

    def key(self, name: str) -> str:
        """Return a key.

        Raises:
            Refusal: there is no such key; the message says how to add it.
        """
        key = self._keys.get(name)
        if key is None:
            raise Refusal(503, "credential_missing", f'the API key "{name}" is not stored; run: {how_to_add(name)}')
        return key

    def redact(self, text: bytes) -> bytes:
        """Return the text without any of the keys: an endpoint may echo what it was sent."""
        for name, key in self._keys.items():
            text = text.replace(key.encode("ascii"), f"[{name}]".encode("ascii"))
        return text


def how_to_add(name: str) -> str:
    """Return the command that stores a key."""
    return f"ncl credentials put {PREFIX}{name}"


def load_credentials(names: Iterable[str], directory: str | None = None) -> Credentials:
    """Read the named keys; one that is missing or unusable is reported and left out.

    Args:
        names: those that the configuration's endpoints ask for.
        directory: where they are; by default what systemd says in CREDENTIALS_DIRECTORY.
    """
    base = directory or os.environ.get("CREDENTIALS_DIRECTORY")
    keys: dict[str, str] = {}
    for name in names:
        key = _read(Path(base) / (PREFIX + name)) if base else None
        if key is None:
            log.warning('the API key "%s" is not stored; run: %s', name, how_to_add(name))
            continue
        if not _USABLE.fullmatch(key):
            log.error('the API key "%s" is empty, too long or not one line of printable ASCII', name)
            continue
        keys[name] = key.decode("ascii")
    return Credentials(keys)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CREDENTIAL_BYTES + 1)
    except OSError:
        return None
    return b"" if len(content) > MAX_CREDENTIAL_BYTES else content.strip()
