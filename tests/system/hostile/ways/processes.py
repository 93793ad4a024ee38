"""Processes: the runner has the doorbell, systemd's notifications and the session's databases."""

import ctypes
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .words import REFUSED, Refused, Tried, libc, outcome, runner, syscall, way, written

# Processes: the runner has the doorbell, systemd's notifications and the session's databases.

way("ptrace: attach to the runner", REFUSED, lambda: syscall("ptrace", 16, runner(), None, None))
way("ptrace: seize the runner", REFUSED, lambda: syscall("ptrace", 0x4206, runner(), None, None))
way("the runner's memory by its file", REFUSED, lambda: os.open(f"/proc/{runner()}/mem", os.O_RDWR))
way("the runner's environment", REFUSED, lambda: Path(f"/proc/{runner()}/environ").read_bytes()[:20])
way("the runner's descriptors", REFUSED, lambda: os.listdir(f"/proc/{runner()}/fd"))
way("the runner's maps", REFUSED, lambda: Path(f"/proc/{runner()}/maps").read_text()[:20])
way("the runner's root", REFUSED, lambda: os.listdir(f"/proc/{runner()}/root"))
way("the runner's directory", REFUSED, lambda: os.readlink(f"/proc/{runner()}/cwd"))


def vector(size: int = 64) -> Any:
    buffer = ctypes.create_string_buffer(size)
    words = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), size)
    vector.kept = [*getattr(vector, "kept", []), buffer]  # type: ignore[attr-defined]
    return words


def foreign() -> Any:
    return (ctypes.c_void_p * 2)(0x400000, 64)


way("process_vm_readv", REFUSED, lambda: syscall("process_vm_readv", runner(), vector(), 1, foreign(), 1, 0))
way("process_vm_writev", REFUSED, lambda: syscall("process_vm_writev", runner(), vector(), 1, foreign(), 1, 0))


def descriptor_of(pid: Callable[[], int]) -> Tried:
    """Each descriptor of a process: one that can be had is a way."""

    def tried() -> object:
        process = syscall("pidfd_open", pid(), 0)
        seen = {outcome(lambda number=number: syscall("pidfd_getfd", process, number, 0)) for number in range(3, 40)}
        raise Refused(max(seen))

    return tried


way("the doorbell by pidfd_getfd", REFUSED, descriptor_of(runner))
way(
    "process_madvise",
    (*REFUSED, "EINVAL"),
    lambda: syscall("process_madvise", syscall("pidfd_open", runner(), 0), vector(), 1, 21, 0),
)
way("the scheduler: real time", REFUSED, lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)))
way("a better priority", REFUSED, lambda: os.setpriority(os.PRIO_PROCESS, 0, -10))
way("never to be killed for memory", REFUSED, written("/proc/self/oom_score_adj", "-1000"))
way(
    "more files than its bound",
    (*REFUSED, "ValueError: not allowed to raise maximum limit"),
    lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100_000, 100_000)),
)
way(
    "core dumps",
    (*REFUSED, "ValueError: not allowed to raise maximum limit"),
    lambda: resource.setrlimit(resource.RLIMIT_CORE, (10**9, 10**9)),
)
way(
    "larger files than its bound",
    (*REFUSED, "ValueError: not allowed to raise maximum limit"),
    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)),
)


def capabilities() -> object:
    """None in any set, and none to be had."""
    words = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    sets = {name: words[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(words[name], 16)}
    if sets or words["NoNewPrivs"] != "1" or words["Seccomp"] != "2":
        return {**sets, "NoNewPrivs": words["NoNewPrivs"], "Seccomp": words["Seccomp"]}
    raise Refused("NOBODY")


def prctl(*words: int) -> Tried:
    def tried() -> object:
        if libc.prctl(*(ctypes.c_ulong(word) for word in (*words, 0, 0, 0, 0)[:5])):
            raise OSError(ctypes.get_errno(), "prctl")
        return "done"

    return tried


way("capabilities", ("NOBODY",), capabilities)
way("an ambient capability", REFUSED, prctl(47, 2, 21))
way("new privileges after all", ("EINVAL",), prctl(38, 0))
way("seccomp off", ("EINVAL", "EACCES", "EFAULT"), prctl(22, 0))
way("another memory layout", (*REFUSED, "EINVAL"), prctl(35, 1, 0x400000))
way(
    "capset",
    REFUSED,
    lambda: syscall(
        "capset", (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1 << 21, 1 << 21, 0, 0, 0, 0)
    ),
)


def setuid_file() -> object:
    """A program that belongs to others by its bits: run, it is still who it was."""
    path = Path("/workspace/like-id")
    path.write_bytes(Path("/usr/bin/id").read_bytes())
    path.chmod(0o6755)
    said = subprocess.run([str(path), "-u"], check=True, capture_output=True, text=True).stdout.strip()
    path.unlink()
    if said == str(os.getuid()):
        raise Refused("NOBODY")
    return said


way("a setuid file of its own", ("NOBODY",), setuid_file)
way("a setuid file of root", REFUSED, lambda: os.chown(Path("/usr/bin/su"), os.getuid(), 0))
way(
    "file capabilities",
    (*REFUSED, "ENODATA"),
    lambda: os.setxattr("/workspace", "security.capability", b"\1\0\0\2" + b"\xff" * 16),
)
way("trusted attributes", (*REFUSED, "ENOTSUP"), lambda: os.setxattr("/workspace", "trusted.overlay.opaque", b"y"))
