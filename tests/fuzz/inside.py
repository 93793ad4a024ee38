"""Readers behind the door: what agents say in HTTP/2, what hosts answer, where secrets go."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

import h2.exceptions
import h11

from nanoclawd.egress.rules import Asked
from nanoclawd.egress.secret_wishes import place_text, read_place
from nanoclawd.egress.secrets import Place, Sealed, Secret
from nanoclawd.egress.targets import BadTarget, Target
from nanoclawd.gateway.caller import MAX_HEADERS, Caller
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.decoding import Undecodable
from nanoclawd.gateway.door.http2 import GroupStreams, StreamCaller, Streams
from nanoclawd.gateway.door.injection import Injection
from nanoclawd.gateway.door.redaction import spellings
from nanoclawd.gateway.door.searching import Searching
from nanoclawd.gateway.door.vault import Vault
from nanoclawd.gateway.forwarding import cleaned
from nanoclawd.gateway.wire import Wire

_MINE: Final = "s3cr3t/Value+with=marks"
_THEIRS: Final = "an0ther/Groups+secret"
_HOST: Final = Target("example.org", 443)
_PLACES: Final = (Place("example.org"),)
_SEALED: Final = {
    name: Sealed(value, _PLACES) for name, value in (("key", _MINE), ("mine", _MINE), ("theirs", _THEIRS))
}
_PUBLISHED: Final = (
    Secret("key", _PLACES),
    Secret("mine", _PLACES, style="placeholder"),
    Secret("theirs", _PLACES, ("work",), "placeholder"),
)
_NEEDLES: Final = spellings([_MINE])
_MOST_BYTES: Final = 4 * 1024 * 1024 + 251 * 4096
_loop: Final = asyncio.new_event_loop()


def place(data: bytes) -> None:
    """Where an operator says that a secret goes: one form, which is read as the same again."""
    with contextlib.suppress(BadTarget):
        found = read_place(data.decode("utf-8", "replace"))
        assert read_place(place_text(found)) == found
        assert found.host != "*"
        assert 0 < found.port < 65_536


def answer(data: bytes) -> None:
    """A host's answer, in two pieces: whatever it is, nothing of a secret goes on, and not more than so much."""
    cut = data[:1][0] if data else 0
    text = data[1:].replace(b"KEY", _MINE.encode())
    host = h11.Connection(h11.CLIENT)
    host.send(h11.Request(method="GET", target="/", headers=[("Host", "example.org")]))
    host.send(h11.EndOfMessage())
    searching = Searching(_NEEDLES)
    said = b""
    with contextlib.suppress(h11.RemoteProtocolError, Undecodable):
        for piece in (text[:cut], text[cut:], b""):
            host.receive_data(piece)
            said += b"".join(_passed(searching, host))
    assert len(said) <= _MOST_BYTES
    for needle in _NEEDLES:
        assert needle not in said, said


def _passed(searching: Searching, host: h11.Connection) -> Iterable[bytes]:
    while (event := host.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
        match event:
            case h11.Response():
                reason, headers = searching.head(b"GET", event, cleaned(event))
                has_body = event.status_code not in (204, 304)
                assert not has_body or data_of(headers).strip(b" ,") in (b"", b"identity")
                yield reason + b"\0".join(name + b":" + value for name, value in headers)
            case h11.Data():
                yield from searching.body(bytes(event.data))
            case h11.EndOfMessage():
                yield searching.end()
            case h11.ConnectionClosed():
                return


def data_of(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b",".join(value.lower() for name, value in headers if name.lower() == b"content-encoding")


class _NoTokens:
    async def access(self, _name: str, _sealed: Sealed) -> str:
        raise AssertionError("there is none")

    def refused(self, _name: str, _token: str) -> bool:
        return False

    def known(self, _name: str, _sealed: Sealed) -> Iterable[str]:
        return ()

    async def settle(self, _seconds: float) -> None:
        return


def charge(data: bytes) -> None:
    """A request that gets secrets: its own ones, in a form that can be sent, and never another group's."""
    wire = Wire()
    wire.data_received(data)
    wire.eof_received()
    with contextlib.suppress(Denial, ConnectionResetError):
        request = _loop.run_until_complete(Caller(wire).request())
        if request is None:
            return
        path = request.target.decode("ascii", "replace")
        asked = Asked(_HOST, request.method.decode("ascii", "replace"), path, "https")
        published = [secret for secret in _PUBLISHED if secret.is_for("main")]
        charged = _loop.run_until_complete(
            Injection(Vault(_SEALED), _NoTokens()).charge("main", published, asked, cleaned(request))
        )
        low = [name.lower() for name, _ in charged.headers]
        assert low.count(b"authorization") == 1
        assert b"range" not in low
        assert _MINE.encode() in dict(charged.headers)[b"Authorization"]
        text = charged.path.encode() + b"".join(name + b":" + value for name, value in charged.headers)
        assert _THEIRS.encode() not in text
        assert b"nanoclaw-secret-mine" not in text
        assert len(low) <= MAX_HEADERS + 2
        sent = h11.Connection(h11.CLIENT).send(
            h11.Request(method="GET", target=charged.path, headers=[(b"Host", b"x"), *charged.headers])
        )
        assert sent is not None
        assert sent.count(b"\r\n\r\n") == 1


class _Line:
    """A secure wire that has heard everything already."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.said = 0

    async def read(self, _seconds: float | None = None) -> bytes:
        await asyncio.sleep(0)
        return self.pieces.pop(0) if self.pieces else b""

    async def write(self, data: bytes, _seconds: float | None = None) -> None:
        self.said += len(data)


def streams(data: bytes) -> None:
    """An agent's bytes of HTTP/2: each request in one reading only, no stream that is left, no fault."""
    cut = data[:1][0] if data else 0
    _loop.run_until_complete(_streams([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + data[1 : 1 + cut], data[1 + cut :]]))


async def _streams(pieces: list[bytes]) -> None:
    counts = GroupStreams()
    line: Any = _Line(pieces)
    faults: list[Exception] = []

    async def handle(caller: StreamCaller, request: h11.Request) -> None:
        try:
            names = [name for name, _ in request.headers]
            assert names.count(b"host") == 1
            assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
            sent = h11.Connection(h11.CLIENT).send(request)
            assert sent is not None
            assert sent.count(b"\r\n\r\n") == 1
            length = next((int(value) for name, value in request.headers if name == b"content-length"), None)
            with contextlib.suppress(Denial, TimeoutError, ConnectionError):
                size = 0
                while piece := await caller.body(0.01):
                    size += len(piece)
                assert length in (None, size), "what is not as long as it says is no body"
        except Exception as error:
            faults.append(error)
        await caller.send(h11.Response(status_code=204, headers=[]))
        await caller.send(h11.EndOfMessage())

    async def refuse(caller: StreamCaller, denial: Denial) -> None:
        await caller.deny(denial, b"")

    one = Streams(line, counts.of("main"), handle, refuse, lambda *, idle: None)
    with contextlib.suppress(ConnectionError, TimeoutError, h2.exceptions.ProtocolError):
        await one.serve()
    await asyncio.sleep(0)  # what is over is told in the loop's next turn
    assert not counts._open
    if faults:
        raise faults[0]
