"""The credential store: secrets go in, sealed by systemd-creds, and names come out."""

import asyncio
import logging
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.clock import to_text
from nanoclawd.atomic_file import write_atomically
from nanoclawd.control.values import Credential
from nanoclawd.credentials.names import Name, is_name, read_name
from nanoclawd.errors import NanoclawError, NotFound, Refused, TooLarge

DIRECTORY: Final = Path("/etc/credstore.encrypted")
MAX_SECRET_BYTES: Final = 64 * 1024

_SEAL: Final = ("/usr/bin/systemd-creds", "encrypt")
_SEAL_SECONDS: Final = 60.0
"""A TPM may take its time."""
_SHOWN_CHARACTERS: Final = 300
_JOURNAL: Final = "journalctl -u nanoclaw-credentials -n 20"

log = logging.getLogger(__name__)


class CredentialStore:
    """Encrypted credentials in a directory, a file each."""

    def __init__(self, directory: Path = DIRECTORY, seal: Sequence[str] = _SEAL) -> None:
        """Use a directory.

        Args:
            directory: where systemd looks for encrypted credentials.
            seal: the program that reads a secret and writes it encrypted.
        """
        self._directory = directory
        self._seal = tuple(seal)

    async def put(self, name: Name, secret: str) -> Credential:
        """Store a secret in place of an earlier one of this name.

        Raises:
            Refused: there is nothing in it.
            TooLarge: it is over the bound.
            NanoclawError: it could not be sealed or written; an earlier one is still there.
        """
        content = _checked(secret)
        sealed = await self._sealed(name, content)
        path = self._directory / name.text
        try:
            await asyncio.to_thread(write_atomically, path, sealed, mode=0o600)
        except OSError as error:
            raise _unwritable(path, error) from None
        return await asyncio.to_thread(self._read, name)

    async def delete(self, name: Name) -> None:
        """Remove a credential.

        Raises:
            NotFound: there is none.
            NanoclawError: it could not be removed.
        """
        path = self._directory / name.text
        try:
            await asyncio.to_thread(path.unlink)
        except FileNotFoundError:
            raise NotFound(f"there is no credential {name.text}", hint="ncl credentials list") from None
        except OSError as error:
            raise _unwritable(path, error) from None

    async def every(self) -> Sequence[Credential]:
        """Return the appliance's credentials by name; nothing of what is in them."""
        return await asyncio.to_thread(self._every)

    def _every(self) -> list[Credential]:
        if not self._directory.is_dir():
            return []
        names = sorted(path.name for path in self._directory.iterdir() if is_name(path.name))
        return [self._read(read_name(name)) for name in names]

    def _read(self, name: Name) -> Credential:
        found = (self._directory / name.text).lstat()
        stored_at = to_text(datetime.fromtimestamp(found.st_mtime, UTC)) if stat.S_ISREG(found.st_mode) else None
        return Credential(name.text, name.consumer, stored_at)

    async def _sealed(self, name: Name, content: bytes) -> str:
        """Return a secret as systemd-creds writes it: bound to its name, this machine, and its TPM if there is one.

        The secret goes through a pipe: no other process sees an argument, an environment or a file of it.
        """
        process = await asyncio.create_subprocess_exec(
            *(*self._seal, f"--name={name.text}", "-", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(_SEAL_SECONDS):
                sealed, said = await process.communicate(content)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise NanoclawError(f"systemd-creds did not end within {_SEAL_SECONDS:g} s", hint=_JOURNAL) from None
        if process.returncode != 0 or not sealed.strip():
            words = " ".join(said.decode(errors="replace").split())[:_SHOWN_CHARACTERS]
            log.error("systemd-creds failed (%s): %s", process.returncode, words)
            raise NanoclawError(f"systemd-creds could not encrypt it: {words or 'it said nothing'}", hint=_JOURNAL)
        return sealed.decode("ascii")


def _checked(secret: str) -> bytes:
    content = secret.encode(errors="surrogatepass")
    if not content.strip():
        raise Refused("there is nothing in this secret")
    if len(content) > MAX_SECRET_BYTES:
        raise TooLarge(f"a secret is {MAX_SECRET_BYTES // 1024} KiB at most")
    return content


def _unwritable(path: Path, error: OSError) -> NanoclawError:
    hint = "sudo systemd-tmpfiles --create nanoclawd.conf" if not path.parent.is_dir() else f"df -h {path.parent}"
    return NanoclawError(f"{path}: {error.strerror or type(error).__name__}", hint=hint)
