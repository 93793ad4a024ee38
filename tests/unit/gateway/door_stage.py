"""A gateway that looks into TLS, before hosts on loopback with an authority of their own, and who trusts it."""

import asyncio
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from egress_stage import IDLE_SECONDS, Host, Names, Out
from gateway_stage import AGENTS, FIRST_UID, Upstream, running

from nanoclawd.config import Config, Gateway
from nanoclawd.egress.secrets import OAuth, Place, Sealed
from nanoclawd.gateway.policy import SubordinateRange
from nanoclawd.gateway.reaching import Reaching

NAME = "api.test"
VALUE = "s3cr3t/Value+with=marks&more"
"""A secret that looks different in a URL, in JSON and in base64."""


class Issuer:
    """An authority of the world outside."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests' authority")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        made = self._begun(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self.certificate = made.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def server(self, place: Path, *names: str, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        """A server's TLS with a certificate for some names."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for name in names:
            is_address = name.replace(".", "").isdigit()
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)) if is_address else x509.DNSName(name))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a host")])
        extension = x509.SubjectAlternativeName(alternatives)
        made = self._begun(subject, key).add_extension(extension, critical=False).sign(self._key, hashes.SHA256())
        path = place / f"{names[0]}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        context.set_alpn_protocols(protocols)
        return context

    def bundle(self, place: Path) -> Path:
        path = place / "outside.pem"
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path


@dataclass
class Inside(Out):
    """A gateway with a door.

    Attributes:
        place: where its files are.
        issuer: vouches for hosts.
    """

    place: Path
    issuer: Issuer

    def bind(self, *secrets: dict[str, object], rules: list[dict[str, object]] | None = None) -> None:
        """Publish secrets, and a rule that lets the group reach the host."""
        self.gateway.publish(AGENTS, rules if rules is not None else [self.rule()], list(secrets))

    def rule(self, **more: object) -> dict[str, object]:
        return {"id": 1, "action": "allow", "host": NAME, "port": self.host.port, "private": True, **more}

    def place_of(self, host: str = NAME, path: str = "") -> dict[str, object]:
        return {"host": host, "port": self.host.port, "path": path}

    def secret(
        self, name: str = "key", style: str = "bearer", parameter: str = "", **more: object
    ) -> dict[str, object]:
        places = [self.place_of()]
        return {"name": name, "places": places, "style": style, "parameter": parameter, **more}

    async def trust(self, *protocols: str) -> ssl.SSLContext:
        """What a program in a container trusts that begins now."""
        await self.gateway.door.publish()
        context = ssl.create_default_context(cafile=str(self.place / "trust" / "bundle.pem"))
        context.set_alpn_protocols(protocols or ["http/1.1"])
        return context

    async def open_tls(
        self, host: str = NAME, context: ssl.SSLContext | None = None, port: int | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """TLS with whoever answers for a host."""
        context = context or await self.trust()
        reader, writer = await self.connect(f"{host}:{port or self.host.port}")
        await writer.start_tls(context, server_hostname=host)
        return reader, writer

    async def say(self, request: bytes, host: str = NAME) -> bytes:
        """Send bytes within TLS; return everything that comes back."""
        async with asyncio.timeout(10):
            reader, writer = await self.open_tls(host)
            writer.write(request)
            await writer.drain()
            answer = b""
            try:
                while piece := await reader.read(65_536):
                    answer += piece
            except ConnectionError:
                pass
            writer.close()
            return answer

    async def fetch(self, path: str = "/", headers: str = "", method: str = "GET", body: bytes = b"") -> bytes:
        """One request; returns the whole answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {NAME}:{self.host.port}\r\nConnection: close\r\n{headers}\r\n"
        return await self.say(head.encode() + body)


@asynccontextmanager
async def forwarder(door: Inside) -> AsyncIterator[str]:
    """What the runner has in a container: a proxy's address on loopback."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        finally:
            target.close()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        inner_reader, inner_writer = await door.open()
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in tasks:
        if task is not None:
            task.cancel()
    await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)


@asynccontextmanager
async def inside(
    place: Path,
    seal: Callable[[int], Mapping[str, Sealed]] | None = None,
    issuer: Issuer | None = None,
    idle: float = IDLE_SECONDS,
) -> AsyncIterator[Inside]:
    """A gateway before a host with the name ``api.test``; ``127.0.0.1`` and ``other.test`` are the same one.

    Args:
        place: for its files.
        seal: returns what was entered, for the host's port.
        issuer: the authority of hosts.
        idle: seconds after which silence ends what is open.
    """
    issuer = issuer or Issuer()
    os.environ["SSL_CERT_FILE"] = str(issuer.bundle(place))
    host, names = Host(), Names({name: ["127.0.0.1"] for name in (NAME, "other.test", "tokens.test", "wrong.test")})
    server = await asyncio.start_server(
        host.serve, "127.0.0.1", 0, ssl=issuer.server(place, NAME, "other.test", "tokens.test", "127.0.0.1")
    )
    host.port = server.sockets[0].getsockname()[1]
    config = Config(gateway=Gateway(max_connections=4, max_egress=8, egress_idle=idle))
    ranges = [SubordinateRange(os.getuid(), 1), SubordinateRange(FIRST_UID, 65_536)]
    reaching = Reaching(names.look_up, names.connect)
    sealed = seal(host.port) if seal is not None else {"key": entered(host.port)}
    try:
        async with running(config, ranges, Upstream(), place, reaching, sealed) as gateway:
            found = Inside(gateway, host, names, place, issuer)
            found.bind(found.secret())
            yield found
    finally:
        server.close()
        for task in host.tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in host.tasks if task), return_exceptions=True)
        del os.environ["SSL_CERT_FILE"]


def entered(port: int, value: str = VALUE, host: str = NAME, oauth: OAuth | None = None) -> Sealed:
    """What an operator has entered."""
    return Sealed(value=value, places=(Place(host, port),), oauth=oauth)
