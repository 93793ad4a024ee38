"""Namespaces and mounts."""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

from .words import REFUSED, Refused, apart, calls, opened, outcome, runner, syscall, way, written

NAMESPACES: Final = {
    "mounts": 0x20000,
    "cgroups": 0x2000000,
    "names": 0x4000000,
    "IPC": 0x8000000,
    "users": 0x10000000,
    "processes": 0x20000000,
    "the network": 0x40000000,
    "time": 0x80,
}
for name, flag in NAMESPACES.items():
    way(f"a namespace of {name} by unshare", ("EPERM",), apart(calls("unshare", flag)))
    if flag != 0x80:
        way(f"a namespace of {name} by clone", ("EPERM", "ENOSYS"), calls("clone", flag | 17, None, None, None, None))
    # struct clone_args: flags, five pointers, the signal.
    way(
        f"a namespace of {name} by clone3",
        ("ENOSYS",),
        lambda flag=flag: syscall("clone3", (ctypes.c_uint64 * 8)(flag, 0, 0, 0, 17), 64),
    )
    way(f"users and {name} at once", ("EPERM",), apart(calls("unshare", flag | 0x10000000)))
for name in ("user", "mnt", "net", "pid", "ipc", "uts", "cgroup"):

    def join(name: str = name) -> object:
        for pid in (1, os.getpid(), runner()):
            with contextlib.suppress(PermissionError):
                return syscall("setns", os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), 0)
        return syscall("setns", os.open(f"/proc/self/ns/{name}", os.O_RDONLY), 0)

    way(f"the {name} namespace of others", REFUSED, apart(join))
way("mount: a tmpfs", REFUSED, calls("mount", b"x", b"/tmp", b"tmpfs", 0, None))
way("mount: proc", REFUSED, calls("mount", b"x", b"/tmp", b"proc", 0, None))
way("mount: overlayfs", REFUSED, calls("mount", b"x", b"/tmp", b"overlay", 0, b"lowerdir=/,upperdir=/tmp,workdir=/tmp"))
way("mount: FUSE", REFUSED, calls("mount", b"x", b"/tmp", b"fuse", 0, b"fd=3,rootmode=40000,user_id=0,group_id=0"))
way("mount: the root again, writable", REFUSED, calls("mount", None, b"/", None, 32, None))
way("mount: another place for the inbox", REFUSED, calls("mount", b"/session/in", b"/tmp", None, 4096, None))
way("umount: what lies over the runner", REFUSED, calls("umount2", b"/app/runner", 2))
way("umount: what hides a part of proc", REFUSED, calls("umount2", b"/proc/kcore", 2))
way("umount: the inbox", REFUSED, calls("umount2", b"/session/in", 2))
way("fsopen", REFUSED, calls("fsopen", b"tmpfs", 0))
way("fspick", REFUSED, calls("fspick", -100, b"/", 0))
way("open_tree", REFUSED, calls("open_tree", -100, b"/", 1))
way("open_tree without a copy", REFUSED, calls("open_tree", -100, b"/", 0))
way("move_mount", REFUSED, calls("move_mount", -100, b"/tmp", -100, b"/mnt", 0))
way(
    "mount_setattr: writable",
    REFUSED,
    calls("mount_setattr", -100, b"/app/runner", 0, ctypes.create_string_buffer(32), 32),
)
way("pivot_root", REFUSED, calls("pivot_root", b"/tmp", b"/tmp"))
way("chroot", REFUSED, apart(calls("chroot", b"/tmp")))
way("chroot to another process's root", REFUSED, apart(calls("chroot", b"/proc/1/root")))


def above_the_root() -> object:
    """Climb."""
    place = os.open("/", os.O_RDONLY)
    for _ in range(20):
        above = os.open("..", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = above
    if os.fstat(place).st_ino == os.stat("/").st_ino and not os.path.exists(f"/proc/self/fd/{place}/var/lib/nanoclaw"):
        os.close(place)
        raise Refused("ENOENT")
    return "above"


def leaked_directories() -> object:
    """Descriptors that somebody forgot: directories, or files of the machine."""
    strange = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{name}")
            if not path.startswith(("pipe:", "/dev/null", "/proc/", "/tmp", "/workspace", "socket:", "anon_inode:")):
                strange.append(path)
    if strange:
        return strange
    raise Refused("NOBODY")


way("above the root", ("ENOENT",), above_the_root)
way("descriptors that were left open", ("NOBODY",), leaked_directories)
way("files by their handles", REFUSED, calls("open_by_handle_at", 3, ctypes.create_string_buffer(64), 0))


def mounts() -> dict[str, tuple[str, str]]:
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        found[words[4]] = (words[5], words[words.index("-") + 1])
    return found


def writable_mounts() -> object:
    """Each that can be written to is one of the contract's."""
    meant = {"/tmp", "/var/tmp", "/run", "/dev/shm", "/session/out", "/home/agent", "/workspace"}
    strange = []
    for path, (options, kind) in mounts().items():
        # Below /proc and /dev the kernel's own modes decide; podman's monitor has made the single files.
        if options.startswith("ro") or path in meant or path.startswith(("/proc", "/dev")):
            continue
        if kind != "tmpfs" or outcome(opened(path, os.O_RDWR)) not in ("EISDIR", *REFUSED):
            strange.append(path)
    null = os.stat("/dev/null").st_rdev  # what podman lays over files of proc
    strange += [
        path
        for path in mounts()
        if path.startswith("/proc") and os.stat(path).st_rdev != null and outcome(written(path, "")) == "out: 0"
    ]
    if strange:
        return strange
    raise Refused("NOBODY")


def mounts_that_believe_in_files() -> object:
    """What an agent can write to must honour neither setuid bits nor device files."""
    places = ("/tmp", "/var/tmp", "/run", "/dev/shm", "/session/out", "/session/in", "/home/agent", "/workspace")
    strange = [path for path in places if not {"nosuid", "nodev"} <= set(mounts()[path][0].split(","))]
    if strange:
        return strange
    raise Refused("NOBODY")


way("mounts that can be written to", ("NOBODY",), writable_mounts)
way("mounts that honour setuid bits or devices", ("NOBODY",), mounts_that_believe_in_files)
