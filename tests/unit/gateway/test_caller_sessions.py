"""Whose session a connection comes from: told by the kernel, and nothing where it can't be."""

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from nanoclawd.gateway.sessions import Sessions

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
        found = Sessions(proc(tmp_path, cgroup)).of(ours, "main")
    assert found == session


def test_of_this_machine_nothing_is_made_up():
    ours, theirs = pair()
    with ours, theirs:
        assert Sessions().of(ours, "main") == ""


async def test_it_is_remembered_by_process_and_not_by_its_number(tmp_path: Path):
    """Another process is looked at, and one group's answer is no other's."""
    unit = f"{BASE}/nanoclaw-{{}}@k3v9x0m2p7q1.service/x"
    found = Sessions(proc(tmp_path, unit.format("main")))
    ours, theirs = pair()
    with ours, theirs:
        assert found.of(ours, "main") == "k3v9x0m2p7q1"
        assert found.of(ours, "other") == ""
        # What the file says by now is of nobody's interest: a container's process stays where it began.
        (tmp_path / str(os.getpid()) / "cgroup").write_text(unit.format("other"))
        assert found.of(ours, "main") == "k3v9x0m2p7q1"
        assert found.of(ours, "other") == ""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()"
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(path), stdin=asyncio.subprocess.PIPE
        )
        accepted, _ = await asyncio.get_running_loop().run_in_executor(None, listening.accept)
        proc(tmp_path, unit.format("other"), other.pid)
        with accepted:
            assert found.of(accepted, "other") == "k3v9x0m2p7q1"
        assert other.stdin is not None
        other.stdin.close()
        await other.wait()


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
            assert Sessions(place).of(accepted, "main") == ""
