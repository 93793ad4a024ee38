"""Files that others read, and what other containers have."""

import array
import contextlib
import ctypes
import fcntl
import os
import socket
import subprocess
from pathlib import Path
from typing import Final

from .words import GATEWAY, GIVEN, NOT_THERE, REFUSED, Refused, libc, opened, stream, way

# Files that others read.

RUNNER: Final = "/app/runner/nanoclaw_runner/__main__.py"
for path in (
    *(
        RUNNER,
        "/app/agent/agent.json",
        "/etc/passwd",
        "/etc/hosts",
        "/etc/resolv.conf",
    ),
    *("/usr/bin/env", "/session/in/inbound.db", "/run/.containerenv"),
):
    way(f"writing {path}", (*REFUSED, "ENOENT"), opened(path, os.O_WRONLY))
for source, target in (
    (RUNNER, "/workspace/linked"),
    ("/session/in/inbound.db", "/session/out/linked"),
    ("/session/in/inbound.db", "/session/out/files/linked"),
    (GATEWAY, "/workspace/linked.sock"),
    ("/workspace", "/session/out/linked"),
):
    way(
        f"a hard link of {source} at {target}",
        (*REFUSED, "EXDEV"),
        lambda source=source, target=target: os.link(source, target, follow_symlinks=False),
    )
way("the outbox's database away", REFUSED, lambda: os.rename("/session/out/outbound.db", "/session/out/gone"))
way("the outbox's database replaced", REFUSED, lambda: _moved_over("/session/out/files/x", "/session/out/outbound.db"))
way("others' state by a link", NOT_THERE, lambda: _through("/var/lib/nanoclaw/central.db"))
way("others' state by /proc", NOT_THERE, opened("/proc/1/root/var/lib/nanoclaw/central.db"))
way("the machine's secrets", NOT_THERE, opened("/etc/credstore.encrypted"))
way("the machine's shadow", NOT_THERE, opened("/etc/shadow"))
way("a lease on a file of all groups", (*REFUSED, "EAGAIN"), lambda: _leased(RUNNER))
way("times of a file of all groups", REFUSED, lambda: os.utime(RUNNER))
way(
    "attributes of a file of all groups",
    (*REFUSED, "ENOTSUP"),
    lambda: os.setxattr("/app/runner", "user.message", b"x"),
)


def _through(path: str) -> object:
    link = Path("/session/out/files/through")
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(path)
    return os.open(link, os.O_RDONLY)


def _leased(path: str) -> object:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    finally:
        os.close(file)


def _moved_over(mine: str, theirs: str) -> object:
    Path(mine).touch()
    os.replace(mine, theirs)
    return "replaced"


# What other containers have.


def shared_memory() -> object:
    """System V's and POSIX's names are of one container."""
    key = GIVEN["key"]
    found = libc.shmget(key, 0, 0)
    if found >= 0:
        return f"segment {found}"
    raise OSError(ctypes.get_errno(), "shmget")


def message_queue() -> object:
    library = ctypes.CDLL("librt.so.1", use_errno=True)
    found = library.mq_open(b"/of-the-neighbour", os.O_RDONLY)
    if found >= 0:
        return f"queue {found}"
    raise OSError(ctypes.get_errno(), "mq_open")


way("another container's shared memory", ("ENOENT",), shared_memory)
way("another container's message queue", ("ENOENT",), message_queue)
way("another container's abstract socket", ("ECONNREFUSED",), stream(socket.AF_UNIX, "\0of-the-neighbour"))
way("another container's /dev/shm", NOT_THERE, opened("/dev/shm/of-the-neighbour"))
way("another container's /tmp", NOT_THERE, opened("/tmp/of-the-neighbour"))


def others_processes() -> object:
    """All processes that can be seen are of this container."""
    words = [(directory / "cmdline").read_bytes() for directory in Path("/proc").glob("[0-9]*")]
    names = {one.split(b"\0")[0].rpartition(b"/")[2] for one in words}
    strange = [one for one in words if b"of-the-neighbour" in one] + sorted(names & {b"conmon", b"podman", b"systemd"})
    if strange:
        return strange
    raise Refused("NOBODY")


way("processes of others", ("NOBODY",), others_processes)


# What one must be able to do, lest the list be of a container in which nothing works.


def own_thread() -> object:
    import threading

    one = threading.Thread(target=lambda: None)
    one.start()
    one.join()
    if subprocess.run(["true"], check=True).returncode:
        return "no program"
    a, b = socket.socketpair()
    with a, b:
        a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
        b.recvmsg(1, socket.CMSG_SPACE(4))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]):
        pass
    if [name for _, name in socket.if_nameindex()] != ["lo"]:
        return "other interfaces"
    raise Refused("WORKS")


way("threads, programs, descriptors passed on, a loopback server, one's own interfaces", ("WORKS",), own_thread)
