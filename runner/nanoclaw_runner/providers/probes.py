"""What a script can try from inside the sandbox; each probe returns words about what happened.

Nothing here waits without a bound: files are opened non-blocking (a FIFO does not hold the loop up), connects time out.
"""

import asyncio
import os
import socket
import stat
from pathlib import Path

MAX_READ_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0
_STATUS_FIELDS = ("CapEff", "CapBnd", "NoNewPrivs")


async def read(rest: str) -> str:
    """Read a file's beginning, or a directory's names."""
    path = _needed(rest.strip(), "PATH")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return f"read {path}: {' '.join(sorted(os.listdir(descriptor)))}"[:MAX_READ_BYTES]  # noqa: PTH208  # pathlib lists no descriptor
        return f"read {path}: {os.read(descriptor, MAX_READ_BYTES).decode(errors='replace')}"
    finally:
        os.close(descriptor)


async def write(rest: str) -> str:
    """Write a text to a file, replacing what was there."""
    path, _, text = rest.partition(" ")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    descriptor = os.open(_needed(path, "PATH TEXT"), flags, 0o666)
    try:
        written = os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    return f"wrote {written} bytes to {path}"


async def connect(rest: str) -> str:
    """Connect by TCP, or to a unix stream socket."""
    host, _, port = rest.strip().partition(" ")
    _needed(port, "HOST PORT")
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if host == "unix":
                _, writer = await asyncio.open_unix_connection(port)
            else:
                _, writer = await asyncio.open_connection(host, int(port))
    except TimeoutError:
        raise TimeoutError(f"no answer in {CONNECT_SECONDS:.0f} s") from None
    writer.close()
    return f"connected to {host} {port}"


async def identity(_rest: str) -> str:
    """Say who this process is and what it may do."""
    status = _own_status()
    fields = {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": ",".join(str(group) for group in sorted(os.getgroups())),
        **{name: status.get(name, "?").strip() for name in _STATUS_FIELDS},
        "interfaces": ",".join(sorted(name for _, name in socket.if_nameindex())),
    }
    return "id: " + " ".join(f"{name}={value}" for name, value in fields.items())


def _own_status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def _needed(argument: str, usage: str) -> str:
    if not argument:
        raise ValueError(f"needs {usage}")
    return argument
