"""The secrets' values, from the directory where systemd puts this service's credentials."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from nanoclawd.egress.secrets import CREDENTIAL_PREFIX, Sealed

_MAX_BYTES: Final = 64 * 1024
# As a header's value has it: nothing invisible, but spaces and what is not ASCII within.
_USABLE: Final = re.compile(r"[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?")

log = logging.getLogger(__name__)


class Vault:
    """The values by name. Its representation never shows one."""

    __slots__ = ("_sealed",)

    def __init__(self, sealed: Mapping[str, Sealed]) -> None:
        self._sealed = sealed

    def __repr__(self) -> str:
        return f"Vault({sorted(self._sealed)})"

    def get(self, name: str) -> Sealed | None:
        """Return what was entered for a secret."""
        return self._sealed.get(name)


def load(directory: str | None = None) -> Vault:
    """Read all of them; one that is unusable is reported and left out.

    Args:
        directory: where they are; by default what systemd says in CREDENTIALS_DIRECTORY.
    """
    base = directory or os.environ.get("CREDENTIALS_DIRECTORY")
    found: dict[str, Sealed] = {}
    for path in sorted(Path(base).glob(f"{CREDENTIAL_PREFIX}*")) if base else ():
        name = path.name.removeprefix(CREDENTIAL_PREFIX)
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
            sealed = msgspec.json.decode(content, type=Sealed)
        except (OSError, msgspec.MsgspecError, UnicodeError):
            # Not the decoder's words, which may quote what it read.
            log.error("the secret %s cannot be read; run: ncl secret rotate %s", name, name)  # noqa: TRY400
            continue
        if not _USABLE.fullmatch(sealed.value):
            log.error("the secret %s has spaces around it, or a line break or another control character in it", name)
            continue
        found[name] = sealed
    return Vault(found)
