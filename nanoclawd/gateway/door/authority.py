"""A certificate authority of this appliance's own, which can vouch for exactly the hosts that are looked into.

Its key never leaves the gateway's state directory. The authority's certificate is made anew, with the same key, when
the hosts change; a host's certificate lives for a day and is only ever in memory.
"""

import contextlib
import datetime as dt
import ipaddress
import os
import ssl
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from nanoclawd.atomic_file import write_atomically
from nanoclawd.egress.targets import is_address

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LEAF_SECONDS: Final = 24 * 3600.0
SKEW_SECONDS: Final = 3600.0
"""A container's clock is the machine's, but a machine without a clock of its own jumps."""

MAX_LEAVES: Final = 256
_RENEW_SECONDS: Final = 4 * 3600.0
_AUTHORITY_DAYS: Final = 3650
_RENEW_AUTHORITY_SECONDS: Final = 365 * 24 * 3600.0
_NOBODY: Final = "nanoclaw.invalid"
_NAME: Final = "nanoclaw gateway"


class _Kept(msgspec.Struct, frozen=True):
    """The certificate that was made last, and for which hosts: most starts need no new one."""

    hosts: tuple[str, ...]
    until: float
    certificate: str


class Authority:
    """Makes certificates. Its methods take milliseconds and may run in any thread, one at a time."""

    def __init__(self, state: Path) -> None:
        """Prepare.

        Args:
            state: directory that is the gateway's alone.
        """
        self._state = state
        self._signing: EllipticCurvePrivateKey | None = None
        self._leaf_key: EllipticCurvePrivateKey | None = None
        self._leaves: OrderedDict[str, tuple[float, ssl.SSLContext]] = OrderedDict()

    def certificate(self, hosts: frozenset[str]) -> str:
        """Return the authority's certificate (PEM) for exactly these hosts and patterns.

        Raises:
            OSError: the state directory can't be used.
        """
        wanted, path = tuple(sorted(hosts)), self._state / "authority.json"
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        except (OSError, msgspec.MsgspecError):
            kept = None
        has_key = (self._state / "authority.key").exists()
        if kept and has_key and kept.hosts == wanted and kept.until - time.time() > _RENEW_AUTHORITY_SECONDS:
            return kept.certificate
        made, until = self._made(wanted)
        write_atomically(path, msgspec.json.encode(_Kept(wanted, until, made)).decode(), mode=0o600)
        return made

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return a server's TLS for a host, with a certificate that is good for hours yet.

        Raises:
            OSError: the state directory can't be used.
        """
        until, context = self._leaves.get(host, (0.0, None))
        if context is not None and until - time.time() > _RENEW_SECONDS:
            with contextlib.suppress(KeyError):  # another thread may have let it go meanwhile
                self._leaves.move_to_end(host)
            return context
        context = _server_context(host, self._leaf(host))
        self._leaves[host] = (time.time() + LEAF_SECONDS, context)
        while len(self._leaves) > MAX_LEAVES:
            self._leaves.popitem(last=False)
        return context

    def has(self, host: str) -> bool:
        """Tell whether a host's certificate is at hand."""
        return host in self._leaves and self._leaves[host][0] - time.time() > _RENEW_SECONDS

    def _key(self) -> "EllipticCurvePrivateKey":
        """Return the authority's key, made at its first use.

        Raises:
            OSError: it can't be read or kept.
            ValueError: the file holds something else.
        """
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        if self._signing is None:
            path = self._state / "authority.key"
            if not path.exists():
                made = ec.generate_private_key(ec.SECP256R1())
                form = serialization.PrivateFormat.PKCS8
                text = made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
                write_atomically(path, text.decode(), mode=0o600)
            found = serialization.load_pem_private_key(path.read_bytes(), None)
            if not isinstance(found, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{path} is no key of the gateway's")
            self._signing = found
        return self._signing

    def _made(self, hosts: tuple[str, ...]) -> tuple[str, float]:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = self._key()
        now = dt.datetime.now(dt.UTC)
        until = now + dt.timedelta(days=_AUTHORITY_DAYS)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        made = (
            _begun(_NAME, _NAME, now - dt.timedelta(days=1), until)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_constraints(hosts), critical=True)
            .sign(key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode(), until.timestamp()

    def _leaf(self, host: str) -> bytes:
        """Return a host's key and certificate (PEM)."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        authority = self._key()
        if self._leaf_key is None:
            self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        key = self._leaf_key
        now = dt.datetime.now(dt.UTC)
        begin = now - dt.timedelta(seconds=SKEW_SECONDS)
        until = now + dt.timedelta(seconds=LEAF_SECONDS)
        name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
        made = (
            # A common name has at most 64 characters, and nobody reads it.
            _begun("nanoclaw", _NAME, begin, until)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
            .sign(authority, hashes.SHA256())
        )
        form = serialization.PrivateFormat.PKCS8
        text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return text + made.public_bytes(serialization.Encoding.PEM)


def _begun(subject: str, issuer: str, begin: dt.datetime, until: dt.datetime) -> "x509.CertificateBuilder":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(until)
    )


def _constraints(hosts: tuple[str, ...]) -> "x509.NameConstraints":
    """Return what a certificate of this authority may speak of. A kind of name that is not spoken of would be free."""
    from cryptography import x509

    addresses = [host for host in hosts if is_address(host)]
    names = sorted({host.removeprefix("*.") for host in hosts if not is_address(host)})
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in names or [_NOBODY]]
    permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in addresses]
    excluded: list[x509.GeneralName] = []
    if not addresses:
        excluded += [x509.IPAddress(ipaddress.ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
    return x509.NameConstraints(permitted, excluded or None)


def _server_context(host: str, chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # What runs in containers knows TLS 1.3; so there is no renegotiation, and no session that is kept for anybody.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols(["h2", "http/1.1"])
    # The library reads files only. This one is never on a disk.
    file = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        os.write(file, chain)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)

    def check(_tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> int | None:
        lies = name is not None and name.lower().removesuffix(".") != host
        return int(ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME) if lies else None

    context.sni_callback = check
    return context
