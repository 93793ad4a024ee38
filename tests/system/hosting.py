"""What the tests' own hosts on loopback have in common."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Host(http.server.ThreadingHTTPServer):
    """Serves by TLS where it has a certificate, and without where it has none."""

    daemon_threads = True

    def __init__(self, answering: type["Answering"], certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), answering)
        self.scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            # Each client's handshake is its own thread's: a slow one holds nobody up.
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, _request: Any, _client: Any) -> None:
        """Clients that leave, or trust nobody here, are no news."""


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers one client."""

    protocol_version = "HTTP/1.1"

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        """Return what came with the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


@contextlib.contextmanager
def running[Served: Host](host: Served) -> Iterator[Served]:
    """Run a host until the block ends."""
    threading.Thread(target=host.serve_forever, daemon=True).start()
    try:
        yield host
    finally:
        host.shutdown()
        host.server_close()
