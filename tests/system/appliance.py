"""The kit of the system tests: people at terminals, and the operator's view of the installed appliance.

The tests run as root in a bed. Everything here goes through what an operator has too: the control socket, systemd,
podman, the journal and ``/proc``. Each wait has a deadline and names what it waited for.
"""

import contextlib
import os
import pwd
import re
import secrets
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from eventually import wait_until
from system.people import Connection, ControlError, Event, Outcome, Person, call

CONFIG: Final = Path("/etc/nanoclawd/config.yaml")
STATE: Final = Path("/var/lib/nanoclaw")
USER: Final = "nanoclaw"

__all__ = ["Connection", "ControlError", "Event", "Outcome", "Person", "call"]

# Groups and sessions.


@contextlib.contextmanager
def group(name: str | None = None) -> Iterator[str]:
    """Make a group with the scripted provider, and delete it with all that is its."""
    name = name or f"t{secrets.token_hex(4)}"
    call("Groups.Create", name=name, provider="scripted")
    try:
        yield name
    finally:
        with contextlib.suppress(ControlError):
            call("Groups.Delete", name=name, force=True, seconds=90)


@dataclass(frozen=True, slots=True)
class SessionNames:
    """Where the parts of a session are."""

    group: str
    id: str

    @property
    def unit(self) -> str:
        return f"nanoclaw-{self.group}@{self.id}.service"

    @property
    def socket(self) -> str:
        return f"nanoclaw-{self.group}@{self.id}.socket"

    @property
    def container(self) -> str:
        return f"nanoclaw-{self.group}_{self.id}"

    @property
    def directory(self) -> Path:
        return STATE / "sessions" / self.group / self.id

    @property
    def inbound_db(self) -> Path:
        return self.directory / "in" / "inbound.db"

    @property
    def outbound_db(self) -> Path:
        return self.directory / "out" / "outbound.db"


def session_of(group_name: str) -> SessionNames:
    """Return the only session of a group."""
    (found,) = call("Sessions.List", group=group_name)["sessions"]
    return SessionNames(found["group"], found["id"])


def session_state(session: SessionNames) -> dict[str, Any]:
    """Return what the daemon says of a session."""
    found: dict[str, Any] = call("Sessions.Get", id=session.id)["session"]
    return found


def rows(database: Path, query: str, *bindings: object) -> list[tuple[Any, ...]]:
    """Read a session's database beside its writer, which may hold a lock for a moment."""

    found: list[tuple[Any, ...]] = []

    def read() -> bool:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            found[:] = connection.execute(query, bindings).fetchall()
        return True

    wait_until(read, f"{database} can be read", despite=sqlite3.OperationalError)
    return found


def wired(channel: str, group: str, *, is_group: bool = False, **rules: str) -> str:
    """Make a public chat that a group's agent hears; return its id on the platform."""
    chat = f"c-{secrets.token_hex(4)}"
    made = call("Chats.Create", channel=channel, chat=chat, is_group=is_group, unknown_sender_policy="public")["chat"]
    call("Wirings.Create", chat=made["id"], group=group, **rules)
    return chat


# systemd, podman, processes.


def run(*argv: str, check: bool = True, seconds: float = 90.0, **options: Any) -> str:
    """Run a command and return its output."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=seconds, stdin=subprocess.DEVNULL, **options
    )
    assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def as_nanoclaw(*argv: str, check: bool = True, seconds: float = 90.0) -> str:
    """Run a command as the appliance's user, with its bus."""
    user = pwd.getpwnam(USER)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": user.pw_dir,
        "XDG_RUNTIME_DIR": f"/run/user/{user.pw_uid}",
        "LC_ALL": "C.UTF-8",
    }
    identity = ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups")
    return run(*identity, *argv, check=check, seconds=seconds, env=environment, cwd="/")


def systemctl_user(*argv: str, check: bool = True) -> str:
    """Ask or tell the user manager that runs the sessions."""
    return as_nanoclaw("systemctl", "--user", "--no-pager", *argv, check=check)


def podman(*argv: str, check: bool = True) -> str:
    """Run podman as the appliance's user."""
    return as_nanoclaw("podman", *argv, check=check)


def unit(name: str, *, system: bool = False) -> dict[str, str]:
    """Return some properties of a unit, of the user manager's unless said otherwise."""
    argv = ("show", "-p", "LoadState,ActiveState,SubState,Result,MainPID,StatusText,NRestarts,InvocationID", name)
    text = run("systemctl", *argv) if system else systemctl_user(*argv)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def loaded_units(group_name: str) -> list[str]:
    """Return the units of a group that the user manager has loaded, in whatever state."""
    text = systemctl_user("list-units", "--all", "--plain", "--no-legend", f"nanoclaw-{group_name}@*")
    return [line.split()[0] for line in text.splitlines()]


@dataclass(frozen=True, slots=True)
class Process:
    """A process. ``session`` is the session whose unit it is in, ``container`` the container's id if it is inside."""

    pid: int
    argv: tuple[str, ...]
    uid: int
    session: SessionNames | None
    container: str | None

    @property
    def is_runner(self) -> bool:
        return self.container is not None and "nanoclaw_runner" in self.argv and self.argv[0].startswith("python3")

    @property
    def is_conmon(self) -> bool:
        return bool(self.argv) and self.argv[0].endswith("conmon")

    @property
    def is_podman(self) -> bool:
        return bool(self.argv) and self.argv[0].endswith("podman")


_UNIT_IN_CGROUP = re.compile(r"/nanoclaw-([a-z0-9-]+)@([0-9a-z]{12})\.service(?:/|$)")
_PAYLOAD_IN_CGROUP = re.compile(r"/libpod-payload-([0-9a-f]{64})")


def processes(group_name: str | None = None) -> list[Process]:
    """Return the living processes of sessions' units: runners, their tools, conmon, podman."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            cgroup = (directory / "cgroup").read_text()
            place = _UNIT_IN_CGROUP.search(cgroup)
            if place is None or (group_name is not None and place[1] != group_name):
                continue
            argv = (directory / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
            if argv == [""]:
                continue  # a zombie, or between fork and exec
            inside = _PAYLOAD_IN_CGROUP.search(cgroup)
            found.append(
                Process(
                    pid=int(directory.name),
                    argv=tuple(argv),
                    uid=directory.stat().st_uid,
                    session=SessionNames(place[1], place[2]),
                    container=inside[1] if inside else None,
                )
            )
    return found


def runner(session: SessionNames) -> Process | None:
    """Return a session's runner, if it runs."""
    found = [process for process in processes(session.group) if process.session == session and process.is_runner]
    return found[0] if found else None


def containers(group_name: str) -> list[str]:
    """Return the names of a group's containers in podman's eyes, dead ones too."""
    names = podman("ps", "-a", "--format", "{{.Names}}").split()
    return [name for name in names if name.startswith(f"nanoclaw-{group_name}_")]


def container_starts(session: SessionNames) -> int:
    """Count how often podman has started a container of a session, as the journal tells."""
    run("journalctl", "--sync")
    found = run("journalctl", "-o", "cat", f"PODMAN_NAME={session.container}", "PODMAN_EVENT=start", check=False)
    return len(found.splitlines())


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal; False where the process has gone already (or is none: systemd's MainPID=0)."""
    if pid <= 1:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def asleep(session: SessionNames) -> bool:
    """Tell whether a session costs nothing: no process, no loaded unit."""
    return not processes(session.group) and not loaded_units(session.group)


# The daemon.


def daemon_pid() -> int:
    """Return the daemon's process, 0 where there is none."""
    return int(unit("nanoclawd.service", system=True)["MainPID"])


def kill_daemon() -> None:
    """End the daemon by SIGKILL; systemd starts another."""
    kill(daemon_pid())


def restart_daemon() -> None:
    """Restart the daemon in good order and wait until it is ready."""
    run("systemctl", "restart", "nanoclawd.service")


@contextlib.contextmanager
def daemon_stopped() -> Iterator[None]:
    """Keep the daemon (and whoever would start it again) out of the way for a while."""
    run("systemctl", "stop", "nanoclawd.socket", "nanoclawd.service")
    try:
        yield
    finally:
        run("systemctl", "start", "nanoclawd.socket", "nanoclawd.service")


@contextlib.contextmanager
def configured(**changes: dict[str, Any] | str) -> Iterator[None]:
    """Run the daemon with other settings for a while: sections of config.yaml are merged into what is there."""
    before = CONFIG.read_text()
    settings = yaml.safe_load(before)
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values} if isinstance(values, dict) else values
    try:
        CONFIG.write_text(yaml.safe_dump(settings))
        restart_daemon()
        yield
    finally:
        CONFIG.write_text(before)
        restart_daemon()


def journal(*matches: str, since: float) -> str:
    """Return the journal's messages since a moment (seconds since 1970)."""
    run("journalctl", "--sync")
    return run("journalctl", "-o", "cat", f"--since=@{since:.3f}", *matches, check=False)
