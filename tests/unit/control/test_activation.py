"""The listening socket comes from systemd's hands, by the real libsystemd."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from memory_backend.process import Daemon

_PROGRAM = """
import os, sys
names = sys.argv[2:]
for number, descriptor in enumerate(sys.argv[1].split(",") if sys.argv[1] else []):
    os.dup2(int(descriptor), 3 + number)
    os.environ.update(LISTEN_FDS=str(number + 1), LISTEN_PID=str(os.getpid()))
if names:
    os.environ["LISTEN_FDNAMES"] = ":".join(names)
from nanoclawd.control.activation import sockets_from_systemd
try:
    passed = sockets_from_systemd("control", "nanoclawd.socket")
    more = [one.getsockname() for one in (*passed.http, *passed.requests)]
    print(passed.main.getsockname(), *more, os.environ.get("LISTEN_FDS"))
except Exception as error:
    print(type(error).__name__, error.hint)
"""


def _run(directory: Path, *descriptors: int, names: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, ",".join(map(str, descriptors)), *names],
        env=Daemon(directory).environment,
        pass_fds=descriptors,
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
            assert _run(tmp_path, high) == f"{tmp_path}/control.sock None"
        finally:
            os.close(high)


def test_no_socket_or_one_of_another_kind_is_unavailable(tmp_path: Path):
    expected = "Unavailable sudo systemctl start nanoclawd.socket"
    assert _run(tmp_path) == expected
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        assert _run(tmp_path, os.dup2(other.fileno(), 50)) == expected
    os.close(50)


def test_sockets_are_told_apart_by_their_names_and_never_taken_for_one_another(tmp_path: Path):
    """The one is for operators, the other for anybody who has a hook's secret."""
    with socket.socket(socket.AF_UNIX) as control, socket.socket(socket.AF_UNIX) as http:
        for one, name in ((control, "control.sock"), (http, "http.sock")):
            one.bind(str(tmp_path / name))
            one.listen()
        first, second = os.dup2(control.fileno(), 50), os.dup2(http.fileno(), 51)
        try:
            both = f"{tmp_path}/control.sock {tmp_path}/http.sock None"
            assert _run(tmp_path, first, second, names=("nanoclawd.socket", "http")) == both
            assert _run(tmp_path, second, first, names=("http", "control")) == both
            assert _run(tmp_path, second, names=("http",)) == "Unavailable sudo systemctl start nanoclawd.socket"
        finally:
            os.close(first)
            os.close(second)


def test_the_gateways_socket_is_nobody_elses(tmp_path: Path):
    """Whoever comes there is answered as the gateway, never as an operator, and the other way round."""
    with socket.socket(socket.AF_UNIX) as control, socket.socket(socket.AF_UNIX) as requests:
        for one, name in ((control, "control.sock"), (requests, "requests.sock")):
            one.bind(str(tmp_path / name))
            one.listen()
        first, second = os.dup2(control.fileno(), 50), os.dup2(requests.fileno(), 51)
        try:
            both = f"{tmp_path}/control.sock {tmp_path}/requests.sock None"
            assert _run(tmp_path, second, first, names=("requests", "control")) == both
            assert _run(tmp_path, second, names=("requests",)) == "Unavailable sudo systemctl start nanoclawd.socket"
        finally:
            for one in (first, second):
                os.close(one)
