"""Boots a tree with systemd-nspawn, finds the machine again, and ends it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import cgroups
from .settings import REPOSITORY, BedError, Settings

SHARE = "/usr/local/share/nanoclaw-bed"
LAUNCHERS = (b"unshare", b"sh", b"systemd-nspawn")  # each becomes the next
# In a mount namespace of its own, so that the kernel undoes the mounts. Relative paths: they may hold any character.
MOUNT = """
set -e
cd "$1"; shift
mount -t overlay -o lowerdir=tree,upperdir=changes,workdir=work overlay root
mount --bind var root/var
"""
BOOT_LIMIT = 60.0
END_LIMIT = 20.0


def supervisor(settings: Settings) -> int | None:
    """The process id of the nspawn that runs this bed, or of what is about to become it."""
    mark = f"--machine={settings.identity}"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if mark.encode() in words and words[0] in LAUNCHERS:
            return int(entry.name)
    return None


def leader(settings: Settings) -> int | None:
    """The process id, on the host, of the bed's PID 1."""
    outer = supervisor(settings)
    if outer is None:
        return None
    try:
        children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
        for child in children:
            status = Path(f"/proc/{child}/status").read_text()
            ids = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(ids) > 1 and ids[-1] == "1":
                return int(child)
    except OSError:
        pass  # it ended while we looked
    return None


def root(leader: int) -> Path:
    """The root file system of a booted bed, as seen from the host."""
    return Path(f"/proc/{leader}/root")


def require_leader(settings: Settings) -> int:
    """The bed's PID 1.

    Raises:
        BedError: the bed is not up.
    """
    found = leader(settings)
    if found is None:
        variable = "" if settings.name == "bed" else f"BED_NAME={settings.name} "
        raise BedError(f"the bed {settings.name!r} is not up: run `{variable}tests/bed/bed up`")
    return found


def boot(settings: Settings, base: Path, wheels: Path) -> int:
    """Boot the bed's tree and return its PID 1 once systemd has started everything it was to start.

    Raises:
        BedError: it did not come up.
    """
    address = f"\0{settings.identity}.{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, settings.console.open("wb") as console:
        notify.bind(address)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "NOTIFY_SOCKET": "@" + address[1:],
            # the appliance's cgroups are cgroup2 only, whatever the host has
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            # the appliance sets sysctls, and podman mounts its own /proc
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
        }
        process = subprocess.Popen(
            _nspawn(settings, base, wheels),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_ready(settings, notify, process)
        except BaseException:
            end(settings)
            raise
    return require_leader(settings)


def end(settings: Settings) -> None:
    """End the bed's processes, however far they got, and remove its cgroups.

    Raises:
        BedError: the kernel would not let them go.
    """
    outer = supervisor(settings)
    if outer is not None:
        inner = leader(settings)
        # With its PID 1 the kernel ends all of the bed's processes, and nspawn cleans up. What is on the bed's disk
        # is thrown away, so nothing is gained by an orderly shutdown.
        _kill(outer if inner is None else inner, outer)
    cgroups.remove(settings.identity)


def _nspawn(settings: Settings, base: Path, wheels: Path) -> list[str]:
    words = [
        *("systemd-nspawn", f"--directory={settings.directory}/root", f"--machine={settings.identity}"),
        *(f"--hostname={settings.name}", "--boot", "--notify-ready=yes", "--register=no", "--link-journal=no"),
        *("--console=pipe", "--private-network", "--capability=all", "--system-call-filter=@mount @keyring bpf"),
        *(f"--bind-ro={REPOSITORY}:/src", f"--bind={settings.out}:/out"),
        *(f"--bind-ro={base}/base.tar:{SHARE}/base.tar", f"--bind-ro={wheels}:{SHARE}/wheels"),
        *(f"--bind={device}" for device in ("/dev/fuse", "/dev/net/tun") if Path(device).exists()),
    ]
    script = MOUNT
    if not cgroups.host_runs_systemd():  # which would give it a scope of its own
        group = cgroups.make(settings.identity)
        # the shell is in the cgroup before nspawn begins, so that two beds never share one
        script += f'echo 0 >"{group}/cgroup.procs"\n'
        words.append("--keep-unit")
    script += 'exec "$@"\n'
    return ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh", str(settings.directory), *words]


def _await_ready(settings: Settings, notify: socket.socket, process: subprocess.Popen[bytes]) -> None:
    ended = os.pidfd_open(process.pid)
    deadline = time.monotonic() + BOOT_LIMIT
    try:
        while True:
            remaining = deadline - time.monotonic()
            ready, _, _ = select.select([notify.fileno(), ended], [], [], max(remaining, 0.0))
            if notify.fileno() in ready:
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return
                continue
            reason = "ended while booting" if ended in ready else f"did not come up in {BOOT_LIMIT:.0f} s"
            tail = "\n".join(settings.console.read_text(errors="replace").splitlines()[-20:])
            raise BedError(f"the machine {reason}:\n{tail}\nthe whole console: less {settings.console}")
    finally:
        os.close(ended)


def _kill(*pids: int) -> None:
    """Kill the first process and wait until all are gone; those that stay are killed, too."""
    watched = {}
    for pid in pids:
        try:
            watched[os.pidfd_open(pid)] = pid
        except ProcessLookupError:
            continue
    try:
        for limit in (END_LIMIT, END_LIMIT):
            if not watched:
                return
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(next(iter(watched)), signal.SIGKILL)
            deadline = time.monotonic() + limit
            while watched and (remaining := deadline - time.monotonic()) > 0:
                for gone in select.select(list(watched), [], [], remaining)[0]:
                    del watched[gone]
                    os.close(gone)
        if watched:
            raise BedError(f"process {list(watched.values())} does not end; see `ps -o stat,wchan,cmd {pids[-1]}`")
    finally:
        for descriptor in watched:
            os.close(descriptor)
