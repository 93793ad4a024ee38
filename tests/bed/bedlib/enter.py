"""Runs commands inside a booted bed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import cgroups
from .settings import BedError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class User:
    """An account of the bed."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def user_of(leader: int, name: str) -> User:
    """Look up an account of the bed.

    Raises:
        BedError: it has none of that name.
    """
    for line in Path(f"/proc/{leader}/root/etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return User(name, int(fields[2]), int(fields[3]), fields[5], fields[6])
    raise BedError(f"the bed has no user {name!r}: see `bed exec -- getent passwd`")


def command(leader: int, user: User, words: Sequence[str]) -> list[str]:
    """The command line that runs `words` in the bed as `user`, with nothing of our own environment."""
    variables = {"PATH": PATH, "HOME": user.home, "USER": user.name, "LOGNAME": user.name, "LANG": "C.UTF-8"}
    variables["SHELL"] = user.shell
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    variables.update({name: os.environ[name] for name in ("TERM", "CI") if name in os.environ})
    runtime = f"/run/user/{user.uid}"
    if Path(f"/proc/{leader}/root{runtime}").is_dir():
        variables["XDG_RUNTIME_DIR"] = runtime
        variables["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={runtime}/bus"
    become = ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--init-groups"] if user.uid else []
    pairs = [f"{name}={value}" for name, value in variables.items()]
    # a home that is not there must not be in the way
    go_home = ["sh", "-c", 'cd "$HOME" 2>/dev/null || cd /; exec "$@"', "sh"]
    return ["nsenter", f"--target={leader}", "--all", *become, "env", "-i", *pairs, *go_home, *words]


def execute(leader: int, user: User, words: Sequence[str]) -> NoReturn:
    """Become that command: its input, output and exit status are the caller's."""
    cgroups.join(_neighbour(leader, user))
    argv = command(leader, user, words)
    os.execvp(argv[0], argv)


def capture(leader: int, words: Sequence[str], *, user: str = "root") -> str:
    """Run a command in the bed and return what it printed.

    Raises:
        BedError: it failed.
    """
    account = user_of(leader, user)
    neighbour = _neighbour(leader, account)
    result = subprocess.run(
        command(leader, account, words),
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=lambda: cgroups.join(neighbour),
    )
    if result.returncode != 0:
        raise BedError(f"in the bed, `{' '.join(words)}` failed ({result.returncode}):\n{result.stdout.rstrip()}")
    return result.stdout


def _neighbour(leader: int, user: User) -> int:
    """The process whose cgroup a command of this user belongs in: his manager, else PID 1.

    podman without root asks its user's manager for a scope; the kernel lets that manager move only what is already in
    its own part of the tree.
    """
    unit = f"user@{user.uid}.service/init.scope"
    procs = Path(f"/proc/{leader}/root/sys/fs/cgroup/user.slice/user-{user.uid}.slice", unit, "cgroup.procs")
    try:
        # whoever reads them gets the ids of his own pid namespace: here the host's
        first = procs.read_text().split()[:1]
    except OSError:
        return leader
    return int(first[0]) if first else leader
