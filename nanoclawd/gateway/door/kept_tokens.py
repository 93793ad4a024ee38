"""Refresh tokens that a server has given in the place of others, sealed in the gateway's state directory.

They are sealed by a key that is made from the refresh token that the operator entered, which is nowhere but in the
credential that systemd opens for the gateway alone: so they are as safe as it is (bound to the machine's TPM or host
key), need no helper program and no other key, and what was entered anew makes every older one unreadable, hence void.
"""

import os
from pathlib import Path
from typing import Final

from nanoclawd.atomic_file import write_atomically

_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_MAX_BYTES: Final = 64 * 1024


class KeptTokens:
    """A file for each secret. Its methods wait for the disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, name: str, entered: str) -> str | None:
        """Return the token that is in the place of the one that was entered, None where there is none.

        Args:
            name: the secret's.
            entered: the refresh token that the operator entered.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            with self._path(name).open("rb") as file:
                sealed = bytes.fromhex(file.read(_MAX_BYTES).decode("ascii"))
            opened = AESGCM(_key(name, entered)).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
            return opened.decode()
        except (OSError, ValueError, InvalidTag):
            return None

    def keep(self, name: str, entered: str, token: str) -> None:
        """Seal a token; when this returns it is on the disk.

        Raises:
            OSError: it can't be kept.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        sealed = nonce + AESGCM(_key(name, entered)).encrypt(nonce, token.encode(), name.encode())
        write_atomically(self._path(name), sealed.hex(), mode=0o600)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.token"


def _key(name: str, entered: str) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=f"nanoclaw rotated refresh token {name}".encode())
    return derive.derive(entered.encode())
