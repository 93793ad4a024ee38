"""Whose session a connection comes from: told by the kernel, and nothing where it can't be."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from nanoclawd.gateway.sessions import session_of

BASE = "0::/user.slice/user-998.slice/user@998.service/app.slice"


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends are this process's own."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)


def proc(place: Path, cgroup: str, pid: int | None = None) -> str:
    """What the kernel would say of this process, were it in a container."""
    number = pid or os.getpid()
    (place / str(number)).mkdir(parents=True)
    (place / str(number) / "cgroup").write_text(cgroup)
    return str(place)


@pytest.mark.parametrize(
    ("cgroup", "session"),
    [
        (f"{BASE}/app-nanoclaw\\x2dmain.slice/nanoclaw-main@k3v9x0m2p7q1.service/libpod-payload-0a1b", "k3v9x0m2p7q1"),
        (f"{BASE}/nanoclaw-main@k3v9x0m2p7q1.service/x\n", "k3v9x0m2p7q1"),
        (f"{BASE}/nanoclaw-main@k3v9x0m2p7q1.service", "k3v9x0m2p7q1"),
        (f"{BASE}/nanoclaw-other@k3v9x0m2p7q1.service/x", ""),
        (f"{BASE}/nanoclaw-main@.service/x", ""),
        (f"{BASE}/nanoclaw-main@a%b.service/x", ""),
        ("0::/system.slice/ssh.service", ""),
        ("", ""),
    ],
)
def test_the_session_is_the_instance_of_the_groups_unit(tmp_path: Path, cgroup: str, session: str):
    ours, theirs = pair()
    with ours, theirs:
        found = session_of(ours, "main", proc(tmp_path, cgroup))
    assert found == session


def test_of_this_machine_nothing_is_made_up():
    ours, theirs = pair()
    with ours, theirs:
        assert session_of(ours, "main") == ""


async def test_who_has_ended_is_nobody(tmp_path: Path):
    """The number may be another's by now: what cannot be told is not."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
        await process.wait()
        accepted, _ = listening.accept()
        with accepted:
            place = proc(tmp_path / "proc", f"{BASE}/nanoclaw-main@k3v9x0m2p7q1.service/x", process.pid)
            assert session_of(accepted, "main", place) == ""
