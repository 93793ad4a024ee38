"""What the tests of both packages look at a machine with."""

import contextlib
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

USER = "nanoclaw"
GATEWAY = "nanoclaw-gateway"
STATE = Path("/var/lib/nanoclaw")
UNITS = (
    "nanoclawd.service",
    "nanoclawd.socket",
    "nanoclawd-http.socket",
    "nanoclawd-requests.socket",
    "nanoclaw-gateway.socket",
    "nanoclaw-credentials.socket",
)
APT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def run(*argv: str, check: bool = True, **options: Any):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def output(*argv: str):
    return run(*argv).stdout.strip()


def apt(action: str, *packages: str):
    options = ("-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confold")
    return run("apt-get", action, "--yes", "-q", "--no-install-recommends", *options, *packages, env=APT)


def show(unit: str, name: str, *, user: bool = False):
    where = ("--user", "-M", f"{USER}@") if user else ()
    return output("systemctl", *where, "show", "--value", "-p", name, unit)


def network():
    names = ("PrivateNetwork", "RestrictAddressFamilies", "IPAddressDeny")
    return {name: set(show("nanoclawd.service", name).split()) for name in names}


def is_active(unit: str):
    return show(unit, "ActiveState") == "active"


def delegated(kind: str):
    return [line for line in Path(f"/etc/sub{kind}").read_text().splitlines() if line.startswith(f"{USER}:")]


def range_of(kind: str):
    (line,) = delegated(kind)
    _, start, length = line.split(":")
    return int(start), int(length)


def processes(uids: list[tuple[int, int]]):
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            uid = directory.stat().st_uid
            if any(low <= uid < high for low, high in uids):
                found[int(directory.name)] = (directory / "cmdline").read_text().replace("\0", " ")
    return found


def all_ids():
    start, length = range_of("uid")
    return [(uid, uid + 1) for uid in (pwd.getpwnam(USER).pw_uid, pwd.getpwnam(GATEWAY).pw_uid)] + [
        (start, start + length)
    ]


def traces():
    """Whatever on this machine tells that the package was here."""
    skipped = {
        "/proc",
        "/sys",
        "/src",
        "/out",
        "/var/cache/nanoclaw-bed",
        "/usr/local/share/nanoclaw-bed",
        "/tmp",
        "/var/log",
    }
    found = []
    for top, directories, files in os.walk("/"):
        directories[:] = [name for name in directories if str(Path(top) / name) not in skipped]
        found += [str(Path(top) / name) for name in directories + files if "nanoclaw" in name]
    pruned = ["(", "-path", "/tmp", "-o", "-path", "/src", "-o", "-path", "/out", ")", "-prune"]
    ownerless = output("find", "/", "-xdev", *pruned, "-o", "(", "-nouser", "-o", "-nogroup", ")", "-print")
    return found + ownerless.splitlines()
