"""The bed as the benchmarks see it: its users, processes, units and processor time."""

import grp
import os
import pwd
import resource
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DAEMON = "nanoclawd.service"
SOCKET = "nanoclawd.socket"
GATEWAY = "nanoclaw-gateway.service"
_CGROUPS = Path("/sys/fs/cgroup")
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that the daemon and the containers run as."""

    uid: int
    gid: int
    home: str

    @classmethod
    def find(cls) -> "Owner":
        """Look the package's user up."""
        entry = pwd.getpwnam("nanoclaw")
        return cls(entry.pw_uid, entry.pw_gid, entry.pw_dir)

    @property
    def runtime_directory(self) -> str:
        """Where its user manager's bus is."""
        return f"/run/user/{self.uid}"

    def run(self, *command: str) -> str:
        """Run a command as this user, as its own login would, and return what it printed.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, **self._login()
        )
        return str(done.stdout)

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """Begin a command as this user, which reads lines and writes some."""
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **self._login())

    def _login(self) -> dict[str, Any]:
        return {
            "user": self.uid,
            "group": self.gid,
            "extra_groups": [],
            "cwd": self.home,
            "env": {"HOME": self.home, "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": self.runtime_directory},
        }

    def call(self, function: Callable[[], None]) -> None:
        """Run a function in a child process of this user, whose files are the daemon's then.

        Raises:
            RuntimeError: it raised; its traceback is on standard error.
        """
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgroups([])
                os.setgid(self.gid)
                os.setuid(self.uid)
                os.umask(0o027)
                function()
                code = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise RuntimeError(f"{function} failed as uid {self.uid}")


@contextmanager
def acting_as(uid: int, *groups: int) -> Iterator[None]:
    """Have this process's effective identity be another one for a while; SO_PEERCRED then tells that one."""
    before = os.getgroups()
    os.setgroups(list(groups))
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setgroups(before)


def admin_group() -> int:
    """Return the gid that may use the control socket."""
    return grp.getgrnam("nanoclaw-admin").gr_gid


def systemctl(*arguments: str) -> str:
    """Run systemctl and return what it printed.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    return subprocess.run(["systemctl", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def unit_number(unit: str, name: str) -> int:
    """Return a numeric property of a system unit."""
    return int(systemctl("show", "--value", "--property", name, unit))


def wall(command: Sequence[str]) -> float:
    """Run a command and return how long it took, in seconds."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - begun


def processor_seconds() -> float:
    """Return the processor time of everything in the bed since its boot, without this process's own."""
    usage = next(line for line in (_CGROUPS / "cpu.stat").read_text().splitlines() if line.startswith("usage_usec "))
    own = resource.getrusage(resource.RUSAGE_SELF)
    return int(usage.split()[1]) / 1e6 - own.ru_utime - own.ru_stime


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of some processes, in MiB: pages that they map, their share of those that others map too, and
    those that no other maps.
    """

    resident: float
    proportional: float
    private: float

    @classmethod
    def of(cls, *pids: int) -> "Memory":
        """Add up the processes' memory (proc_pid_smaps_rollup(5))."""
        totals = {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
        for pid in pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in totals:
                    totals[name] += int(value.split()[0])
        private = totals["Private_Clean"] + totals["Private_Dirty"]
        return cls(totals["Rss"] / _KIB, totals["Pss"] / _KIB, private / _KIB)


@dataclass(frozen=True, slots=True)
class Switches:
    """How often all threads of a process have left a processor: to sleep, and because others wanted it."""

    slept: int
    preempted: int

    @classmethod
    def of(cls, pid: int) -> "Switches":
        """Add the threads' counters up (proc_pid_status(5))."""
        found = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/status")]
        words = [line.split() for text in found for line in text.splitlines() if "voluntary_ctxt_switches" in line]
        return cls(
            sum(int(count) for name, count in words if name == "voluntary_ctxt_switches:"),
            sum(int(count) for name, count in words if name == "nonvoluntary_ctxt_switches:"),
        )


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def processes_below(fragment: str) -> list[int]:
    """Return the processes of all control groups whose path has a fragment."""
    return [
        int(pid)
        for members in _CGROUPS.glob(f"user.slice/**/*{fragment}*/**/cgroup.procs")
        for pid in members.read_text().split()
    ]
