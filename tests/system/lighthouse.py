"""A chat service on loopback with what real ones have: a name in the DNS, TLS, and a key for each account.

Its adapter is a package of its own, as somebody else would install it, and declares what it asks.
"""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from eventually import wait_until
from system.appliance import call, run

HOST: Final = "lighthouse.example"
TYPE: Final = "lighthouse"
_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")
_AUTHORITY: Final = Path("/usr/local/share/lighthouse.crt")
_RESOLVER: Final = Path("/etc/resolv.conf")

ADAPTER: Final = """
import asyncio, json, ssl

import msgspec

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.adapter import Account, BaseAdapter
from nanoclawd.channels.credentials import read_token
from nanoclawd.channels.options import read_options
from nanoclawd.channels.setup import ChannelSetup, Question
from nanoclawd.errors import Refused, Unavailable
from nanoclawd.routing.event import InboundEvent, Sender
from nanoclawd.sessions.ports import Delivered

SETUP = ChannelSetup(
    "key of the light",
    "Every keeper has one; it hangs behind the door.",
    (
        Question("where", "address", "It is painted on the tower, HOST:PORT."),
        Question("authority", "file of its certificate", default="/usr/local/share/lighthouse.crt"),
    ),
)

class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    where: str
    authority: str

class Lighthouse(BaseAdapter):
    platform = "lighthouse"

    def __init__(self, name, options, places):
        self.name, self._options = name, options
        self._reading = self._writer = None

    async def _connect(self):
        host, _, port = self._options.where.rpartition(":")
        context = ssl.create_default_context(cafile=self._options.authority)
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(json.dumps({"key": read_token(self.name)}).encode() + b"\\n")
        answer = json.loads(await reader.readline())
        if "name" not in answer:
            writer.close()
            raise Refused("the lighthouse refuses this key", hint=f"ncl channels login {self.name}")
        return reader, writer, answer["name"]

    async def setup(self, inbound):
        reader, self._writer, _ = await self._connect()
        self._reading = asyncio.create_task(self._read(reader, inbound))

    async def teardown(self):
        if self._reading is not None:
            self._reading.cancel()
            self._writer.close()
            self._reading = None

    async def account(self):
        _, writer, name = await self._connect()
        writer.close()
        return Account(name, "say something to the light")

    async def deliver(self, outgoing):
        line = {"chat": outgoing.address.platform_id, "text": outgoing.body.text}
        self._writer.write(json.dumps(line).encode() + b"\\n")
        return Delivered(outgoing.id)

    async def _read(self, reader, inbound):
        while line := await reader.readline():
            said = json.loads(line)
            await inbound.handle(said["id"], line.decode(), lambda: self._hand_in(inbound, said))
        inbound.lost("the light went out")

    async def _hand_in(self, inbound, said):
        if "text" not in said:
            raise ValueError("there is nothing in it")
        event = InboundEvent(Address(self.name, said["chat"]), said["id"], said["text"], Sender("lighthouse:ada"))
        await inbound.message(event)

def create(name, options, places):
    return Lighthouse(name, read_options(Options, options), places)
"""


class Lighthouse:
    """The service: which keys it takes, and what it was told."""

    def __init__(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[ssl.SSLSocket] = []
        self.port = int(self._listener.getsockname()[1])
        self.accounts: dict[str, str] = {}
        self.heard: list[dict[str, Any]] = []
        _in_thread(self._accept)

    @property
    def where(self) -> str:
        return f"{HOST}:{self.port}"

    def say(self, chat: str, text: str | None, number: str) -> None:
        """Tell something to whoever is connected; None: what the adapter cannot make sense of."""
        said = {"id": number, "chat": chat} | ({} if text is None else {"text": text})
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.sendall(json.dumps(said).encode() + b"\n")

    def hears(self, chat: str, text: str) -> None:
        def found() -> bool:
            return any(one["chat"] == chat and text in one["text"] for one in self.heard)

        try:
            wait_until(found, f"{text!r} at the lighthouse")
        except AssertionError as error:
            raise AssertionError(f"{error}; it heard {self.heard}") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            _in_thread(lambda plain=plain: self._serve(plain))

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            connection = self._context.wrap_socket(plain, server_side=True)
            lines = connection.makefile("rb")
            name = self.accounts.get(json.loads(lines.readline())["key"])
            connection.sendall(json.dumps({"name": name} if name else {"refused": True}).encode() + b"\n")
            if name is None:
                return
            self._connections.append(connection)
            for line in lines:
                self.heard.append(json.loads(line))
            self._connections.remove(connection)


@contextlib.contextmanager
def lighthouse(directory: Path) -> Iterator[Lighthouse]:
    """Have the service, its name in the DNS, and its adapter's package on this machine for a while."""
    module, info = _PACKAGES / "nanoclawd_lighthouse.py", _PACKAGES / "nanoclawd_lighthouse-1.0.dist-info"
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    resolver = _RESOLVER.read_text()
    service = Lighthouse(certificate, key)
    try:
        shutil.copyfile(certificate, _AUTHORITY)
        module.write_text(ADAPTER)
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoclawd-lighthouse\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nanoclawd.channels]\n{TYPE} = nanoclawd_lighthouse:create\n")
        with _name_server():
            _RESOLVER.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            yield service
    finally:
        _RESOLVER.write_text(resolver)
        _clean()
        service.close()
        module.unlink(missing_ok=True)
        shutil.rmtree(info, ignore_errors=True)
        _AUTHORITY.unlink(missing_ok=True)


def _clean() -> None:
    """Take away what a test has added, with its key."""
    for channel in call("Channels.List")["channels"]:
        if channel["type"] == TYPE:
            run("ncl", "channels", "remove", channel["name"], check=False)


@contextlib.contextmanager
def _name_server() -> Iterator[None]:
    """Answer at port 53 of loopback: the lighthouse is here, and nothing else is anywhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        thread = _in_thread(lambda: _answer(server))
        yield
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", 53))
        thread.join(10)


def _answer(server: socket.socket) -> None:
    while True:
        question, client = server.recvfrom(512)
        if not question:
            return
        server.sendto(answer_to(question), client)


def answer_to(question: bytes) -> bytes:
    """Return the answer to a question of the DNS (RFC 1035, 4.1): an address for our name, nothing for others."""
    end = question.index(b"\0", 12) + 5
    name, kind = question[12 : end - 4], question[end - 4 : end - 2]
    ours = name == b"".join(bytes([len(part)]) + part.encode() for part in HOST.split(".")) + b"\0"
    found = ours and kind == b"\0\1"
    flags = b"\x81\x80" if ours else b"\x81\x83"
    head = question[:2] + flags + b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x05\0\4" + socket.inet_aton("127.0.0.1")
    return head + question[12:end] + (record if found else b"")


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
