"""A site on loopback with a certificate of its own: files, a package index, a git repository, a registry's form."""

import contextlib
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, override

from system import npm
from system.hosting import Answering, Host
from system.people import Person

HOSTS: Final = Path("/etc/hosts")
AUTHORITY: Final = Path("/usr/local/share/ca-certificates/tests-of-the-way-out.crt")
TRUST: Final = Path("/run/nanoclaw-gateway/trust")
NAME: Final = "site.egress.test"
HELLO: Final = "hello from the site"


class Site(Host):
    """Serves what is below a directory, and remembers what it was asked."""

    def __init__(self, root: Path, certificate: Path | None = None) -> None:
        super().__init__(_Answering, certificate)
        self.root = root
        self.asked: list[tuple[str, dict[str, str]]] = []


class _Answering(Answering):
    server: Site

    @override
    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path == "/redirect":
            self.say(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"})
        elif path == f"/{npm.PACKAGE}":
            self.say(200, npm.packument(f"{self.server.scheme}://{self.headers['Host']}"))
        elif path == npm.TARBALL:
            self.say(200, npm.tarball())
        elif path == "/hello":
            self.say(200, HELLO.encode())
        elif path == "/simple/tiny/":
            links = [f'<a href="/{one.name}">{one.name}</a>' for one in self.server.root.glob("*.whl")]
            self.say(200, "".join(links).encode(), {"Content-Type": "text/html"})
        else:
            file = (self.server.root / path.lstrip("/")).resolve()
            if file.is_relative_to(self.server.root) and file.is_file():
                self.say(200, file.read_bytes(), {"Content-Type": "application/octet-stream"})
            else:
                self.say(404, b"not here")

    @override
    def do_POST(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.say(200, self.body())


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


def publish(person: Person, workspace: Path) -> None:
    """Have there be a Python package, one of npm's and a git repository with ``file`` in an agent's workspace."""
    with zipfile.ZipFile(workspace / "tiny-1.0-py3-none-any.whl", "w") as file:
        file.writestr("tiny.py", f"VALUE = '{HELLO}'\n")
        file.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "")
    npm.put(workspace)
    person.runs(
        "git init -q --bare repo.git && git init -q work && cd work && echo words > file && git add file"
        " && git -c user.name=a -c user.email=a@example.org commit -qm one && git push -q ../repo.git HEAD:main"
        " && cd ../repo.git && git symbolic-ref HEAD refs/heads/main && git update-server-info"
        " && chmod -R a+rX . && chmod a+rx .."
    )
