"""What the rows of the list are made of: a way out, what must come of it, and words for the kernel."""

import contextlib
import ctypes
import errno
import os
import platform
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

GATEWAY: Final = "/run/nanoclaw-gateway/gateway.sock"
FOUND: Final = Path("/workspace/no-way-out.json")
SECONDS: Final = 3.0
GIVEN: dict[str, Any] = {}
"""Of the test: ports of servers elsewhere, uids of other groups, paths of doorbells."""

REFUSED: Final = ("EPERM", "EACCES", "ENOSYS", "EROFS")
NOT_THERE: Final = ("ENOENT", "ENOTDIR", "ENODEV", "ENXIO", *REFUSED)
NOBODY: Final = ("ECONNREFUSED", "ENOENT", "ENETUNREACH", "EHOSTUNREACH", "TIMEOUT", *REFUSED)
NO_SUCH_SOCKET: Final = ("ENOSYS",)

type Tried = Callable[[], object]


@dataclass(frozen=True)
class Way:
    """A way: its name, the outcomes of which one must be its end, and what is tried."""

    name: str
    must: tuple[str, ...]
    tried: Tried


class Refused(Exception):  # noqa: N818  # an outcome
    """Somebody other than the kernel said no; the message is the outcome."""


WAYS: list[Way] = []


def way(name: str, must: tuple[str, ...], tried: Tried) -> None:
    WAYS.append(Way(name, must, tried))


# Words for the kernel.

libc = ctypes.CDLL(None, use_errno=True)
# Those from 424 on have one number everywhere.
NUMBERS: Final = {
    "x86_64": (
        "ptrace 101 setuid 105 setgroups 116 setresuid 117 capset 126 syslog 103 pivot_root 155 chroot 161 acct 163"
        " settimeofday 164 mount 165 umount2 166 swapon 167 reboot 169 sethostname 170 iopl 172 init_module 175"
        " quotactl 179 clock_settime 227 kexec_load 246 add_key 248 request_key 249 keyctl 250 clone 56 unshare 272"
        " perf_event_open 298 fanotify_init 300 open_by_handle_at 304 setns 308 process_vm_readv 310"
        " process_vm_writev 311 finit_module 313 kexec_file_load 320 bpf 321 userfaultfd 323"
    ),
    "aarch64": (
        "ptrace 117 setuid 146 setgroups 159 setresuid 147 capset 91 syslog 116 pivot_root 41 chroot 51 acct 89"
        " settimeofday 170 mount 40 umount2 39 swapon 224 reboot 142 sethostname 161 init_module 105"
        " quotactl 60 clock_settime 112 kexec_load 104 add_key 217 request_key 218 keyctl 219 clone 220 unshare 97"
        " perf_event_open 241 fanotify_init 262 open_by_handle_at 265 setns 268 process_vm_readv 270"
        " process_vm_writev 271 finit_module 273 kexec_file_load 294 bpf 280 userfaultfd 282"
    ),
}
_NEWER: Final = (
    " io_uring_setup 425 open_tree 428 move_mount 429 fsopen 430 fspick 433 pidfd_open 434 clone3 435 pidfd_getfd 438"
    " process_madvise 440 mount_setattr 442 quotactl_fd 443"
)


def _number(name: str) -> int:
    words = (NUMBERS[platform.machine()] + _NEWER).split()
    return int(words[words.index(name) + 1])


def syscall(name: str, *arguments: object) -> int:
    """Make a system call; raises what it answers."""
    number = _number(name)
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *words))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def calls(name: str, *arguments: object) -> Tried:
    return lambda: syscall(name, *arguments)


def apart(work: Tried) -> Tried:
    """Try it in a child: what it changes must not be the other ways' place."""

    def tried() -> object:
        reader, writer = os.pipe()
        if not (child := os.fork()):
            os.write(writer, outcome(work).encode()[:300])
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        raise Refused(os.read(reader, 300).decode())

    return tried


def outcome(work: Tried) -> str:
    """Return how it ended, in a word."""
    try:
        result = work()
    except TimeoutError:
        return "TIMEOUT"
    except Refused as refused:
        return str(refused)
    except socket.gaierror:
        return "NONAME"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")
    except subprocess.CalledProcessError:
        return "FAILED"
    except BaseException as error:  # whatever it is, it is what came of it
        return f"{type(error).__name__}: {error}"[:200]
    return f"out: {result!r}"[:300]


def opened(path: str, flags: int = os.O_RDONLY) -> Tried:
    return lambda: os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def written(path: str, text: str = "0") -> Tried:
    def tried() -> object:
        file = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.write(file, text.encode())
        finally:
            os.close(file)

    return tried


def stream(family: int, address: Any) -> Tried:
    def tried() -> object:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.settimeout(SECONDS)
            one.connect(address() if callable(address) else address)
            return "connected"

    return tried


def program(*words: str) -> Tried:
    def tried() -> object:
        return subprocess.run(words, check=True, capture_output=True, timeout=20, stdin=subprocess.DEVNULL).stdout[:80]

    return tried


def runner() -> int:
    """Return the process of the runner, which has the doorbell."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if b"nanoclaw_runner" in words and words[0].startswith(b"python3"):
                return int(directory.name)
    raise RuntimeError("there is no runner")
