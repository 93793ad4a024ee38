"""A site on loopback with a certificate of its own: files, a package index, a git repository, a registry's form."""

import contextlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from system import npm

HOSTS: Final = Path("/etc/hosts")
AUTHORITY: Final = Path("/usr/local/share/ca-certificates/tests-of-the-way-out.crt")
TRUST: Final = Path("/run/nanoclaw-gateway/trust")
NAME: Final = "site.egress.test"
HELLO: Final = "hello from the site"


class Site(http.server.ThreadingHTTPServer):
    """Serves what is below a directory, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, root: Path, certificate: Path | None) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.root = root
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.scheme = "http" if certificate is None else "https"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, _request: Any, _client: Any) -> None:
        """A client that trusts nobody here is no news."""


class _Answering(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:  # http.server's name
        self.server.asked.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path == "/redirect":
            self._say(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"})
        elif path == f"/{npm.PACKAGE}":
            self._say(200, npm.packument(f"{self.server.scheme}://{self.headers['Host']}"))
        elif path == npm.TARBALL:
            self._say(200, npm.tarball())
        elif path == "/hello":
            self._say(200, HELLO.encode())
        elif path == "/simple/tiny/":
            links = [f'<a href="/{one.name}">{one.name}</a>' for one in self.server.root.glob("*.whl")]
            self._say(200, "".join(links).encode(), {"Content-Type": "text/html"})
        else:
            file = (self.server.root / path.lstrip("/")).resolve()
            if file.is_relative_to(self.server.root) and file.is_file():
                self._say(200, file.read_bytes(), {"Content-Type": "application/octet-stream"})
            else:
                self._say(404, b"not here")

    def do_POST(self) -> None:  # the same
        self.server.asked.append((self.path, dict(self.headers)))
        self._say(200, self.rfile.read(int(self.headers["Content-Length"])))

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nobody reads it."""


def certificate(place: Path) -> tuple[Path, Path]:
    """Return an authority's certificate, and the site's with its key."""
    ca, key, site, request = (place / name for name in ("ca.pem", "ca.key", "site.pem", "site.csr"))
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = f"subjectAltName=DNS:{NAME},IP:127.0.0.1"

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl("req", "-x509", *new, "-subj", "/CN=tests", *usage, "-keyout", key, "-out", ca)
    openssl("req", *new, "-subj", f"/CN={NAME}", "-addext", names, "-keyout", place / "site.key", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", key, "-copy_extensions", "copy", "-out", site)
    site.write_text(site.read_text() + (place / "site.key").read_text())
    return ca, site


@contextlib.contextmanager
def trusted(ca: Path) -> Iterator[None]:
    """Have the machine trust an authority for a while, the way an operator does."""
    try:
        AUTHORITY.write_text(ca.read_text())
        subprocess.run(["update-ca-certificates"], check=True, capture_output=True)
        yield
    finally:
        AUTHORITY.unlink()
        subprocess.run(["update-ca-certificates", "--fresh"], check=True, capture_output=True)


def vouched_for() -> str:
    """Return for which hosts the gateway's authority may vouch, as openssl shows it."""
    shown = ["openssl", "x509", "-in", str(TRUST / "ca.pem"), "-noout", "-ext", "nameConstraints"]
    return subprocess.run(shown, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def named(*lines: str) -> Iterator[None]:
    """Have the machine know some names for a while."""
    before = HOSTS.read_text()
    try:
        HOSTS.write_text(before + "".join(f"{line}\n" for line in lines))
        yield
    finally:
        HOSTS.write_text(before)


@contextlib.contextmanager
def serving(root: Path, pem: Path | None = None) -> Iterator[Site]:
    """Run a site until the block ends."""
    site = Site(root, pem)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield site
    finally:
        site.shutdown()
        site.server_close()
