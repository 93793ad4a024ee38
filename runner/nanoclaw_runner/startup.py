"""The runner's first act: take what systemd and podman passed, and leave nothing of it to the agent's tools.

The listening doorbell arrives as descriptor 3. podman says ``LISTEN_PID=1``, and with ``RunInit=true`` process 1 is the
init and the runner its child; therefore the parent's number is accepted too, and the descriptor itself is examined.
"""

import ctypes
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import sdnotify

from nanoclaw_runner.contract.places import FIRST_LISTEN_FD

_PR_SET_DUMPABLE = 4
_INIT = 1
_UMASK = 0o007
_TAKEN_VARIABLES = (
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
)


class StartError(Exception):
    """The runner was started without what it needs; the message says what."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """What came from outside.

    Attributes:
        doorbell: the listening SOCK_SEQPACKET socket, close-on-exec and non-blocking.
        notifier: speaks to NOTIFY_SOCKET; a no-op where there is none.
        watchdog_seconds: the unit's watchdog interval, None without one.
    """

    doorbell: socket.socket
    notifier: sdnotify.SystemdNotifier
    watchdog_seconds: float | None


def first_act() -> Inherited:
    """Take the doorbell and the notify socket, then hide both from every process that is started later.

    Not dumpable means that a tool with the same uid can neither trace this process nor read its environment or
    descriptors under ``/proc``.

    Raises:
        StartError: no doorbell was passed, or the process could not be made undumpable.
    """
    os.umask(_UMASK)
    doorbell = _take_doorbell()
    watchdog_seconds = _watchdog_seconds(os.environ.get("WATCHDOG_USEC", ""))
    # The library reads NOTIFY_SOCKET when it is created, so it comes before the variables go.
    notifier = sdnotify.SystemdNotifier()
    for name in _TAKEN_VARIABLES:
        os.environ.pop(name, None)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise StartError(f"prctl(PR_SET_DUMPABLE): {os.strerror(ctypes.get_errno())}")
    return Inherited(doorbell=doorbell, notifier=notifier, watchdog_seconds=watchdog_seconds)


def _take_doorbell() -> socket.socket:
    if os.environ.get("LISTEN_FDS") != "1":
        raise StartError("no doorbell was passed: this program is started by a session's socket unit, not by hand")
    if not _meant_for_us(os.environ.get("LISTEN_PID", "")):
        raise StartError(f"LISTEN_PID={os.environ.get('LISTEN_PID')!r} names neither this process nor its init")
    try:
        doorbell = socket.socket(fileno=FIRST_LISTEN_FD)
        listening = doorbell.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise StartError(f"descriptor {FIRST_LISTEN_FD} is no socket: {error}") from error
    if doorbell.family != socket.AF_UNIX or doorbell.type != socket.SOCK_SEQPACKET or not listening:
        raise StartError(f"descriptor {FIRST_LISTEN_FD} is no listening SOCK_SEQPACKET unix socket")
    doorbell.set_inheritable(False)
    doorbell.setblocking(False)
    return doorbell


def _meant_for_us(listen_pid: str) -> bool:
    if listen_pid == str(os.getpid()):
        return True
    return listen_pid == str(_INIT) and os.getppid() == _INIT


def age() -> float:
    """Return for how many seconds this process has been there, as exactly as the kernel counts (10 ms)."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    # starttime, in ticks since the boot (proc_pid_stat(5), field 22; the first after the name is the third).
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def _watchdog_seconds(microseconds: str) -> float | None:
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000
