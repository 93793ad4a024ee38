"""What the way out is held against: Debian's squid and tinyproxy, each on loopback, and a bare relay on a socket."""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from eventually import wait_until

# As Debian sets it up, so with a rule for each request and with its log, but for where that is: nothing is kept in a
# cache, in memory or on the disk, since the gateway keeps nothing either.
_SQUID: Final = """\
http_port 127.0.0.1:{port}
acl here src 127.0.0.1
http_access allow here
http_access deny all
cache deny all
cache_mem 8 MB
access_log daemon:{directory}/access.log squid
cache_log {directory}/cache.log
pid_filename {directory}/squid.pid
coredump_dir {directory}
netdb_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 4096
"""
_SQUID_USER: Final = "proxy"
_TINYPROXY: Final = """\
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 400
Allow 127.0.0.1
LogLevel Error
"""


def tcp(port: int) -> socket.socket:
    """Connect to a port of loopback."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@contextlib.contextmanager
def squid() -> Iterator[int]:
    """Run squid; yield its port."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.chown(directory, _SQUID_USER)
        settings = directory / "squid.conf"
        settings.write_text(_SQUID.format(port=port, directory=directory))
        with _running(["squid", "-N", "-f", str(settings)], port):
            yield port


@contextlib.contextmanager
def tinyproxy() -> Iterator[int]:
    """Run tinyproxy; yield its port."""
    port = _free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(_TINYPROXY.format(port=port))
        file.flush()
        with _running(["tinyproxy", "-d", "-c", file.name], port):
            yield port


@contextlib.contextmanager
def relay() -> Iterator[Path]:
    """Run the bare relay; yield its socket, which anybody may connect to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(name) / "relay.sock"
        command = [sys.executable, str(Path(__file__).with_name("egress_relay.py")), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                if process.stdout is None:
                    raise RuntimeError("Popen made no pipe")
                process.stdout.readline()
                path.chmod(0o666)
                yield path
            finally:
                process.kill()


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port), "the proxy listens", despite=ConnectionRefusedError)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    tcp(port).close()
    return True
