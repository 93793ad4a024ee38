"""Sockets of the machine, of its services and of other sessions; the gateway's door, and who stands before it."""

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from .words import (
    GATEWAY,
    GIVEN,
    NOBODY,
    REFUSED,
    SECONDS,
    Refused,
    Tried,
    apart,
    calls,
    libc,
    outcome,
    program,
    stream,
    way,
)

# Sockets of the machine, of its services, of other sessions.

for path in (
    *("/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/notify", "/run/systemd/journal/socket"),
    *("/run/systemd/journal/stdout", "/run/systemd/io.systemd.Manager", "/run/systemd/userdb/io.systemd.Multiplexer"),
    *("/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/io.systemd.Credentials", "/run/podman/podman.sock"),
    *("/var/run/docker.sock", "/run/nanoclawd/control.sock", "/run/nanoclawd/credentials.sock"),
    *("/run/nanoclawd/http.sock", "/run/nanoclawd/channels/loopback.sock", "/run/nanoclaw-model/model.sock"),
    *("/run/udev/control", "/dev/log", "/run/nscd/socket", "/run/lvm/lvmpolld.socket"),
):
    way(f"the socket {path}", NOBODY, stream(socket.AF_UNIX, path))
for name in ("bus", "systemd/private", "systemd/notify", "podman/podman.sock"):
    way(
        f"the user manager's {name}",
        NOBODY,
        stream(socket.AF_UNIX, lambda name=name: f"/run/user/{GIVEN['uid']}/{name}"),
    )


def each_doorbell(kind: int) -> Tried:
    """Another session's doorbell, and one's own from outside of the runner, by each path that could lead there."""

    def tried() -> object:
        seen = set()
        for path in GIVEN["doorbells"]:
            for root in ("", "/proc/1/root", "/proc/self/root", "/run/host"):
                seen.add(outcome(lambda place=root + path: socket.socket(socket.AF_UNIX, kind).connect(place)))
        bad = sorted(seen - set(NOBODY))
        raise Refused(bad[0] if bad else "ENOENT")

    return tried


way("doorbells of sessions", NOBODY, each_doorbell(socket.SOCK_SEQPACKET))
way("doorbells of sessions as streams", NOBODY, each_doorbell(socket.SOCK_STREAM))
for name in (
    *("/org/freedesktop/systemd1/private", "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0", "/tmp/dbus-1"),
    *("/containerd-shim/x.sock", "/org/kernel/linux/storage/multipathd", "io.nanoclaw.test"),
):
    way(f"the abstract socket {name}", ("ECONNREFUSED",), stream(socket.AF_UNIX, "\0" + name))


def abstract_sockets_seen() -> object:
    """All names that the kernel lists; those of the machine are in another network namespace."""
    names = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if len(line.split()) > 7]
    strange = [name for name in names if name.startswith("@")]
    if strange:
        return strange
    raise Refused("NOBODY")


way("abstract sockets that are listed", ("NOBODY",), abstract_sockets_seen)


def sockets_below(*places: str) -> object:
    """Connect to each socket file that can be found."""
    meant = {GATEWAY, "/run/notify/notify.sock", "/run/nanoclaw/control.sock"}
    reached = []
    for place in places:
        for directory, _, files in os.walk(place):
            for path in (os.path.join(directory, name) for name in files):
                with contextlib.suppress(OSError):
                    if path in meant or not stat.S_ISSOCK(os.lstat(path).st_mode):
                        continue
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
                        with contextlib.suppress(OSError):
                            socket.socket(socket.AF_UNIX, kind).connect(path)
                            reached.append(path)
    if reached:
        return reached
    raise Refused("NOBODY")


way(
    "every socket file there is",
    ("NOBODY",),
    lambda: sockets_below("/run", "/tmp", "/var", "/session", "/home", "/app", "/mnt"),
)

# The gateway's door, and who stands before it.

way("the gateway's socket away", REFUSED, lambda: os.unlink(GATEWAY))
way("the gateway's socket renamed", REFUSED, lambda: os.rename(GATEWAY, GATEWAY + "2"))
way("another socket over it", (*REFUSED, "EADDRINUSE"), lambda: socket.socket(socket.AF_UNIX).bind(GATEWAY))
way("another socket beside it", REFUSED, lambda: socket.socket(socket.AF_UNIX).bind("/run/nanoclaw-gateway/x"))
way("a link in its place", (*REFUSED, "EEXIST"), lambda: os.symlink("/workspace/mine.sock", GATEWAY))
way("its directory replaced", (*REFUSED, "EBUSY"), lambda: os.rename("/run/nanoclaw-gateway", "/run/elsewhere"))
way("its directory covered", REFUSED, calls("mount", b"/tmp", b"/run/nanoclaw-gateway", None, 4096, None))
way("its mode", REFUSED, lambda: os.chmod(GATEWAY, 0o777))
way("its owner", REFUSED, lambda: os.chown(GATEWAY, os.getuid(), 0))
way("its directory made writable", REFUSED, calls("mount", None, b"/run/nanoclaw-gateway", None, 0x20 | 4096, None))


def another_uid(change: Callable[[int], object]) -> Tried:
    """Be another group's uid: the gateway would take it for that group."""

    def tried() -> object:
        for uid in (*GIVEN["uids"], 0, 65_534):
            change(uid)
        return f"uid {os.getuid()}"

    return apart(tried)


way("another group's uid by setuid", REFUSED, another_uid(os.setuid))
way("another group's uid by setresuid", REFUSED, another_uid(lambda uid: os.setresuid(uid, uid, uid)))


def file_system_uid() -> object:
    """setfsuid(2) fails silently; it says who one was before, so ask twice."""
    before = libc.setfsuid(GIVEN["uids"][0])
    now = libc.setfsuid(-1)
    if now != before:
        return now
    raise Refused("EPERM")


way("another group's uid for files", REFUSED, apart(file_system_uid))
way("other groups", REFUSED, apart(lambda: os.setgroups([0, 1, 42])))
way("another group id", REFUSED, apart(lambda: os.setgid(1)))


def lying_credentials() -> object:
    """Tell the gateway another uid with the first words."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(SECONDS)
        one.connect(GATEWAY)
        words = struct.pack("iii", os.getpid(), GIVEN["uids"][0], 0)
        return one.sendmsg([b"GET / HTTP/1.1\r\n"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, words)])


way("another uid in SCM_CREDENTIALS", REFUSED, lying_credentials)
for words in (
    ("newuidmap", "1", "0", "0", "1"),
    ("su", "-c", "id"),
    ("sudo", "-n", "id"),
    ("mount", "-t", "tmpfs", "x", "/mnt"),
):
    way(f"the program {words[0]}", ("FAILED", "ENOENT"), program(*words))
way("unshare -r id", ("FAILED", "ENOENT"), program("unshare", "-r", "id"))
way("unshare -rn id", ("FAILED", "ENOENT"), program("unshare", "-rn", "id"))
