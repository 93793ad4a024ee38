#!/usr/bin/python3
"""Prepares this machine for rootless containers of the user ``nanoclaw``: subordinate ids, home, user manager.

Called by the package's maintainer scripts, and safe to run again at any time, as root::

    /usr/libexec/nanoclawd/host-setup install

``install`` never fails an installation half-way: what can't be done is said in one line, and `ncl doctor` says it
again; with ``--no-start`` it leaves the user manager to the next boot. ``stop`` ends everything that runs under the
user's name and keeps the data. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

USER = "nanoclaw"
RANGE_LENGTH = 65536
"""What container images expect: ids from 0 to 65535 (nobody's is the last but one)."""
FIRST_ID = 100000
"""Where useradd begins too (login.defs, SUB_UID_MIN)."""
LAST_ID = 600100000
LINGER = Path("/var/lib/systemd/linger")
STOP_SECONDS = 60.0


class SetupError(Exception):
    """Something that this machine does not allow; the text says what and why."""


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive ids."""

    start: int
    length: int

    @property
    def end(self) -> int:
        """The first id behind the range."""
        return self.start + self.length

    def overlaps(self, other: Range) -> bool:
        """Tell whether the two have an id in common."""
        return self.start < other.end and other.start < self.end


def read_delegations(text: str) -> list[tuple[str, Range]]:
    """Return the owners and ranges of an /etc/subuid or /etc/subgid; lines that aren't of its form are passed over."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():  # noqa: PLR2004
            found.append((fields[0], Range(int(fields[1]), int(fields[2]))))
    return found


def read_id_map(text: str) -> list[Range]:
    """Return which ids exist in this user namespace, from a /proc/PID/uid_map: a container has not all of them."""
    return [Range(int(line.split()[0]), int(line.split()[2])) for line in text.splitlines() if line.strip()]


def choose(taken: list[Range], exists: list[Range]) -> Range | None:
    """Return the first range that overlaps nothing taken and exists as a whole, or None."""
    starts = {FIRST_ID, *(used.end for used in taken), *(piece.start for piece in exists)}
    for start in sorted(start for start in starts if FIRST_ID <= start <= LAST_ID):
        wanted = Range(start, RANGE_LENGTH)
        if any(wanted.overlaps(used) for used in taken):
            continue
        if any(piece.start <= wanted.start and wanted.end <= piece.end for piece in exists):
            return wanted
    return None


def owned(delegations: list[tuple[str, Range]], user: str, uid: int) -> Range | None:
    """Return the user's first range that is long enough; a line may name the user or its uid."""
    mine = (found for owner, found in delegations if owner in {user, str(uid)})
    return next((found for found in mine if found.length >= RANGE_LENGTH), None)


def read(path: str) -> str:
    """Return a file's text, or nothing where there is no such file."""
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return ""


def add_subordinate_ids(user: str) -> None:
    """Give the user a range of subordinate uids and gids, if it has none.

    Raises:
        SetupError: there is no room for one on this machine, or it didn't come into force.
    """
    uid = pwd.getpwnam(user).pw_uid
    accounts = [Range(entry.pw_uid, 1) for entry in pwd.getpwall()]
    for kind, what in (("uid", "u"), ("gid", "g")):
        delegations = read_delegations(read(f"/etc/sub{kind}"))
        if owned(delegations, user, uid):
            continue
        exists = read_id_map(read(f"/proc/self/{kind}_map"))
        chosen = choose([found for _, found in delegations] + accounts, exists)
        if chosen is None:
            raise SetupError(
                f"no {RANGE_LENGTH} consecutive {kind}s are free here (/etc/sub{kind}, /proc/self/{kind}_map)"
                f": agents can't run; give this machine a larger id map, or add a line for {user} to /etc/sub{kind}"
            )
        run("usermod", f"--add-sub{what}ids", f"{chosen.start}-{chosen.end - 1}", user)
        if owned(read_delegations(read(f"/etc/sub{kind}")), user, uid) != chosen:
            raise SetupError(f"/etc/sub{kind} has no line for {user} although usermod was asked to write it")


def check_subordinate_ids(user: str) -> None:
    """Try the ranges: make a user namespace with them, as podman will.

    Raises:
        SetupError: the kernel or newuidmap refuses.
    """
    run("runuser", "-u", user, "--", "unshare", "--user", "--map-root-user", "--map-auto", "true")


def make_home(user: str) -> None:
    """Make the home, which is the state directory. It may be an administrator's link to another disk."""
    entry = pwd.getpwnam(user)
    home = Path(entry.pw_dir)
    home.mkdir(mode=0o750, parents=True, exist_ok=True)
    # Only what is empty is taken over: data that are there already have their owner.
    if home.stat().st_uid != entry.pw_uid and not any(home.iterdir()):
        os.chown(home, entry.pw_uid, entry.pw_gid)
        home.chmod(0o750)


def linger(user: str) -> None:
    """Have a user manager after each boot, without anybody logging in.

    This is what `loginctl enable-linger` does; that needs logind, and this works in an image build as well.
    """
    LINGER.mkdir(mode=0o755, parents=True, exist_ok=True)
    (LINGER / user).touch()


def start_user_manager(user: str) -> None:
    """Start the user manager.

    Raises:
        SetupError: it does not start.
    """
    run("systemctl", "start", f"user@{pwd.getpwnam(user).pw_uid}.service")


def stop_user(user: str) -> None:
    """End the user manager with all its containers, and whatever else runs with one of the user's ids."""
    (LINGER / user).unlink(missing_ok=True)
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        return
    if booted():
        # The slice has the user manager in it, and what was started beside it (podman's pause process, a login).
        with contextlib.suppress(SetupError):
            run("systemctl", "stop", f"user@{uid}.service", f"user-{uid}.slice")
    ids = [Range(uid, 1)]
    ids += [found for owner, found in read_delegations(read("/etc/subuid")) if owner in {user, str(uid)}]
    deadline = time.monotonic() + STOP_SECONDS
    while running := processes_of(ids):
        if time.monotonic() > deadline:
            raise SetupError(f"these processes of {user} can't be ended: {' '.join(map(str, running))}")
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def processes_of(ids: list[Range]) -> list[int]:
    """Return the processes whose real uid is one of these."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            status = (directory / "status").read_text()
            uid = int(status.split("\nUid:", 1)[1].split(None, 1)[0])
            if any(piece.start <= uid < piece.end for piece in ids) and "\nState:\tZ" not in status:
                found.append(int(directory.name))
    return found


def booted() -> bool:
    """Tell whether systemd is the system manager here (sd_booted(3)); it isn't while an image is built."""
    return Path("/run/systemd/system").is_dir()


def run(*argv: str) -> None:
    """Run a program quietly.

    Raises:
        SetupError: it is missing or failed; with the last line of what it said.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SetupError(f"{argv[0]} is not installed") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SetupError(f"`{' '.join(argv)}` failed: {said[-1] if said else f'exit status {done.returncode}'}")


def install(user: str, *, start: bool = True) -> None:
    """Do every step, whatever became of the others, and say what could not be done."""
    steps = [make_home, add_subordinate_ids, check_subordinate_ids, linger]
    if start and booted():
        steps.append(start_user_manager)
    for step in steps:
        try:
            step(user)
        except (SetupError, OSError) as error:
            print(f"nanoclawd: {error}", file=sys.stderr)  # noqa: T201
            print("nanoclawd: mend this, then run /usr/libexec/nanoclawd/host-setup install", file=sys.stderr)  # noqa: T201


def main(arguments: list[str]) -> int:
    """Do what the maintainer script asks."""
    match arguments:
        case ["install"]:
            install(USER)
        case ["install", "--no-start"]:
            install(USER, start=False)
        case ["stop"]:
            try:
                stop_user(USER)
            except SetupError as error:
                print(f"nanoclawd: {error}", file=sys.stderr)  # noqa: T201
                return 1
        case _:
            print("usage: host-setup install [--no-start] | stop", file=sys.stderr)  # noqa: T201
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
