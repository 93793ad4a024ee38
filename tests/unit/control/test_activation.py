"""The listening socket comes from systemd's hands, by the real libsystemd."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from memory_backend.process import Daemon

_PROGRAM = """
import os, sys
if int(sys.argv[1]):
    os.dup2(int(sys.argv[1]), 3)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
from nanoclawd.control.activation import socket_from_systemd
try:
    print(socket_from_systemd("control", "nanoclawd.socket").getsockname(), os.environ.get("LISTEN_FDS"))
except Exception as error:
    print(type(error).__name__, error.hint)
"""


def _run(descriptor: int, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(descriptor)],
        env=Daemon(directory).environment,
        pass_fds=[descriptor] if descriptor else [],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_passed_socket_is_taken_and_not_handed_on(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        high = os.dup2(listener.fileno(), 50)
        try:
            assert _run(high, tmp_path) == f"{tmp_path}/control.sock None"
        finally:
            os.close(high)


def test_no_socket_or_one_of_another_kind_is_unavailable(tmp_path: Path):
    expected = "Unavailable systemctl start nanoclawd.socket"
    assert _run(0, tmp_path) == expected
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert _run(os.dup2(other.fileno(), 50), tmp_path) == expected
    os.close(50)
