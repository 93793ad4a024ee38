"""Whom the gateway trusts (the machine's authorities), and whom containers do: the same, and the gateway's own."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nanoclawd import paths
from nanoclawd.atomic_file import write_atomically
from nanoclawd.gateway.door.authority import Authority

DIRECTORY: Final = paths.GATEWAY_DIRECTORY / "trust"
_BUNDLES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian
    Path("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"),  # Fedora
)

log = logging.getLogger(__name__)


def system_bundle() -> Path:
    """Return the file with the machine's authorities."""
    named = os.environ.get("SSL_CERT_FILE")
    candidates = [Path(named)] if named else [*_BUNDLES]
    fallback = Path(ssl.get_default_verify_paths().openssl_cafile)
    return next((path for path in candidates if path.is_file()), fallback)


class Trust:
    """Contexts for both sides, and the files for containers."""

    def __init__(self, authority: Authority, hosts: Callable[[], frozenset[str]], directory: Path = DIRECTORY) -> None:
        """Prepare.

        Args:
            authority: the gateway's own.
            hosts: returns which hosts and patterns are looked into.
            directory: where containers find the files.
        """
        self._authority = authority
        self._hosts = hosts
        self._directory = directory
        self._outside = ""
        self._clients: dict[str, ssl.SSLContext] = {}
        self._system: tuple[int, int, int] | None = None
        self._written: tuple[frozenset[str], tuple[int, int, int] | None, str] | None = None
        self._busy = asyncio.Lock()

    def add(self, certificate: str) -> bool:
        """Trust another authority, OneCLI's, in the place of its former one; tell whether that is news.

        It is not trusted where OneCLI has no business: on our own connections to hosts.
        """
        if certificate == self._outside:
            return False
        self._outside = certificate
        self._clients.clear()
        return True

    async def publish(self) -> None:
        """Write the files anew where the hosts, or the machine's authorities, are others than before.

        Raises:
            OSError: they can't be written.
        """
        wanted = (self._hosts(), _identity(system_bundle()), self._outside)
        if self._written == wanted:
            return
        async with self._busy:
            if self._written != wanted:
                await asyncio.to_thread(self._write, wanted[0], wanted[2])
                self._written = wanted

    async def server(self, host: str) -> ssl.SSLContext:
        """Return the gateway's TLS in a host's place.

        Raises:
            OSError: the state can't be used.
        """
        if self._authority.has(host):
            return self._authority.context_for(host)
        async with self._busy:
            return await asyncio.to_thread(self._authority.context_for, host)

    async def client(self, *, is_outside: bool = False) -> ssl.SSLContext:
        """Return the gateway's TLS with hosts; ``is_outside``: with hosts for which OneCLI answers."""
        more = self._outside if is_outside else ""
        now = _identity(system_bundle())
        if now != self._system:
            self._clients.clear()
            self._system = now
        if more not in self._clients:
            async with self._busy:
                if more not in self._clients:
                    self._clients[more] = await asyncio.to_thread(_client_context, more)
        return self._clients[more]

    def _write(self, hosts: frozenset[str], outside: str) -> None:
        own = self._authority.certificate(hosts)
        try:
            system = system_bundle().read_text(encoding="ascii", errors="replace")
        except OSError as error:
            log.warning("the machine's certificate authorities cannot be read: %s", error.strerror)
            system = ""
        write_atomically(self._directory / "ca.pem", own)
        write_atomically(self._directory / "bundle.pem", f"{system.rstrip()}\n{own}{outside}".lstrip())


def _client_context(outside: str) -> ssl.SSLContext:
    # Verifies names and chains: its defaults.
    context = ssl.create_default_context(cafile=str(system_bundle()))
    if outside:
        context.load_verify_locations(cadata=outside)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An authority of the operator's own may be made less carefully than those of the web; who vouches is what counts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
