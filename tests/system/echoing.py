"""A host that says back what it was told, in every form that a host has: what must not come in with its answers."""

import base64
import contextlib
import gzip
import hashlib
import json
import zlib
from collections import Counter
from pathlib import Path
from typing import Final, override
from urllib.parse import parse_qsl, quote, urlsplit

from system.hosting import Answering, Host

PACKED: Final = {"gzip": gzip.compress, "deflate": zlib.compress}
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Echo(Host):
    """Answers ``/STYLE/FORM``; counts by style how often what it looks for has arrived."""

    def __init__(self, certificate: Path, marks: dict[str, str]) -> None:
        """Prepare.

        Args:
            certificate: with its key.
            marks: by style, what the requests of this style have in them when they arrive.
        """
        super().__init__(_Echoing, certificate)
        self.marks = marks
        self.arrived: Counter[str] = Counter()
        self.strayed: Counter[str] = Counter()


class _Echoing(Answering):
    server: Echo
    wbufsize = 0

    @override
    def do_GET(self) -> None:
        body = self.body()
        _, style, form, *_ = (urlsplit(self.path).path + "//").split("/")
        told = self._told(body)
        for name, mark in self.server.marks.items():
            if mark in told:
                (self.server.arrived if name == style else self.server.strayed)[name] += 1
        getattr(self, f"_{form}", self._plain)(told)

    do_POST = do_GET  # noqa: N815  # the same

    def _told(self, body: bytes) -> str:
        """Return everything of the request, what is encoded in it opened, too."""
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        lines += [f"{name}={value}" for name, value in parse_qsl(urlsplit(self.path).query)]
        word, _, rest = (self.headers.get("Authorization") or "").partition(" ")
        if word == "Basic":
            lines.append(base64.b64decode(rest).decode(errors="replace"))
        return "\n".join([*lines, body.decode(errors="replace")])

    def _line(self, told: str) -> str:
        return " ".join(told.split())

    def _plain(self, told: str, status: int = 200, **headers: str) -> None:
        self.say(status, told.encode(), {name.replace("_", "-"): value for name, value in headers.items()})

    def _error(self, told: str) -> None:
        self._plain(told, 500, X_Said=self._line(told))

    def _unauthorised(self, told: str) -> None:
        self._plain(told, 401, WWW_Authenticate=f'Bearer realm="{self._line(told)}"')

    def _headers(self, told: str) -> None:
        self._plain(told, X_Said=self._line(told), Set_Cookie=f"said={quote(told, safe='')}")

    def _redirect(self, told: str) -> None:
        self._plain(told, 302, Location=f"/other/plain?said={quote(told)}")

    def _json(self, told: str) -> None:
        self.say(200, json.dumps({"said": told}).encode(), {"Content-Type": "application/json"})

    def _percent(self, told: str) -> None:
        self.say(200, quote(told, safe="").encode())

    def _base64(self, told: str) -> None:
        self.say(200, base64.b64encode(told.encode()))

    def _gzip(self, told: str) -> None:
        self._packed("gzip", told)

    def _deflate(self, told: str) -> None:
        self._packed("deflate", told)

    def _packed(self, how: str, told: str) -> None:
        """Pack it, whatever the client says it takes."""
        self.say(200, PACKED[how](told.encode()), {"Content-Encoding": how})

    def _chunks(self, told: str, size: int = 7, trailer: str = "") -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = told.encode()
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(f"0\r\n{trailer}\r\n".encode())

    def _bytes(self, told: str) -> None:
        self._chunks(told, 1)

    def _trailer(self, told: str) -> None:
        self._chunks(told, 100, f"X-Said: {self._line(told)}\r\n")

    def _early(self, told: str) -> None:
        self.wfile.write(f"HTTP/1.1 103 Early Hints\r\nLink: <{quote(told)}>; rel=preload\r\n\r\n".encode())
        self._plain(told)

    def _reason(self, told: str) -> None:
        body = told.encode()
        head = f"HTTP/1.1 200 {self._line(told)}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode("latin-1", "replace") + body)

    def _closing(self, told: str) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(told.encode())
        self.close_connection = True

    def _events(self, told: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in told.splitlines():
            self.wfile.write(f"data: {line}\n\n".encode())
        self.close_connection = True

    def _socket(self, told: str) -> None:
        """Become a WebSocket and say it in two messages, one of them in two frames."""
        key = (self.headers.get("Sec-WebSocket-Key") or "") + _GUID
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        head = "\r\n".join([*lines, f"X-Said: {self._line(told)}"])
        self.wfile.write(f"{head}\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        data = told.encode()
        half = len(data) // 2
        for first, piece in ((0x81, data), (0x01, data[:half]), (0x80, data[half:]), (0x88, b"\x03\xe8")):
            length = bytes([len(piece)]) if len(piece) < 126 else b"\x7e" + len(piece).to_bytes(2)
            self.wfile.write(bytes([first]) + length + piece)
        self.rfile.read(1)
        self.close_connection = True

    def finish(self) -> None:
        """Say that this was all: TLS tells an end from a cut."""
        super().finish()
        with contextlib.suppress(OSError, ValueError):
            self.connection.settimeout(5)
            self.connection.unwrap()  # type: ignore[attr-defined]  # it is TLS


FORMS: Final = tuple(
    name.removeprefix("_")
    for name in (
        *("_plain", "_error", "_unauthorised", "_headers", "_redirect", "_json", "_percent", "_base64", "_gzip"),
        *("_deflate", "_chunks", "_bytes", "_trailer", "_early", "_reason", "_closing", "_events"),
    )
)
"""But WebSockets, which take a client of their own."""
