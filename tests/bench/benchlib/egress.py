"""The way out beside the same requests made directly, by well-known proxies and by a bare relay, on loopback, in turns.

The clients speak to the gateway's own socket, as an agent's uid: what the forwarder in a container adds is not in it.
They speak to the relay's in the same way: what the gateway takes beyond that is for what it looks at and writes down.
"""

import contextlib
import json
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from benchlib.appliance import CONFIG_FILE, GROUP
from benchlib.egress_proxies import relay, squid, tcp, tinyproxy
from benchlib.machine import GATEWAY, Memory, acting_as, systemctl, unit_number
from benchlib.progress import step
from benchlib.results import Of, Result, Target
from benchlib.varlink import Link
from eventually import wait_until

REQUESTS: Final = 400
STREAMS: Final = 200
STREAM_BYTES: Final = 1_000_000_000
STREAM_ROUNDS: Final = 3
MOST_RATIO: Final = 1.5
_MORE: Final = f"gateway:\n  max_egress: {STREAMS + 50}\n"
_SOCKET: Final = "/run/nanoclaw-gateway/gateway.sock"
_TRUST: Final = Path("/run/nanoclaw-gateway/trust")
_CONSTRAINTS: Final = ("openssl", "x509", "-in", str(_TRUST / "ca.pem"), "-noout", "-ext", "nameConstraints")
_OWN: Final = Path("/usr/local/share/ca-certificates/nanoclaw-bench.crt")
_SMALL: Final = 100
_MIB: Final = 1024 * 1024
_FILLED_SECONDS: Final = 2.0
"""In which everything that can be filled is full: nothing tells when it is."""

_order = random.Random(1)

type Reach = Callable[[], socket.socket]
"""Connects: to the host itself, or to a proxy."""


@dataclass(frozen=True, slots=True)
class _Ways:
    """How a host is reached.

    Attributes:
        proxies: by name; direct is none of them.
        plain: port of the host's http.
        secure: of its https.
        host_uid: an agent's, as the kernel knows it.
    """

    proxies: dict[str, Reach]
    plain: int
    secure: int
    trusting: ssl.SSLContext
    host_uid: int


def measure() -> list[Result]:
    """Measure latency, throughput and memory; the daemon runs, with the group of the other measurements."""
    step("the way out, beside squid, tinyproxy and a bare relay")
    with contextlib.ExitStack() as running:
        plain, secure, trusting = running.enter_context(_host())
        by_squid, by_tinyproxy = running.enter_context(squid()), running.enter_context(tinyproxy())
        bare = running.enter_context(relay())
        running.enter_context(_configured())
        for port in (plain, secure):
            Link().call("io.nanoclaw.Egress.Allow", group=GROUP, host=f"127.0.0.1:{port}")
        uid = _host_uid()
        proxies = {
            "gateway": lambda: _as_agent(uid, _SOCKET),
            "bare": lambda: _as_agent(uid, str(bare)),
            "squid": lambda: tcp(by_squid),
            "tinyproxy": lambda: tcp(by_tinyproxy),
        }
        ways = _Ways(proxies, plain, secure, trusting, uid)
        return [*_latency(ways), *_on_open_tunnels(ways), *_stream(ways), *_memory(ways), *_injection(ways)]


def _latency(ways: _Ways) -> list[Result]:
    results = []
    kinds = {
        "egress.tunnel": (ways.secure, _by_tunnel, "a tunnel, a TLS handshake and one small answer"),
        "egress.bare": (ways.plain, _by_tunnel, "a tunnel and one small answer without TLS"),
        "egress.plain": (ways.plain, _by_proxy, "one small answer by plain http"),
    }
    for name, (port, by_proxy, what) in kinds.items():
        took: dict[str, list[float]] = {name: [] for name in ("direct", *ways.proxies)}
        # Tinyproxy for itself: its long waits would leave the machine dozing before whoever comes next.
        for proxies in (took.keys() - {"tinyproxy"}, {"tinyproxy"}):
            for number in range(REQUESTS + 10):
                for proxy in _shuffled(proxies):
                    _directly(ways, port)  # so that all begin after the same
                    reach = ways.proxies.get(proxy)
                    work = partial(by_proxy, ways, reach, port) if reach else partial(_directly, ways, port)
                    one = _timed(work)
                    if number >= 10:  # the first ones warm up
                        took[proxy].append(one)
        base = median(took["direct"])
        added = {proxy: tuple(one - base for one in took[proxy]) for proxy in ways.proxies}
        note = f"{what}: what it takes longer than directly ({base:.2f} ms)"
        # Plain http is no passthrough: its heads are read and written anew on both sides, by h11.
        target = None if name == "egress.plain" else Target(Of.RATIO, MOST_RATIO)
        results += _beside(name, "ms", added, note, target)
    return results


def _beside(
    name: str, unit: str, took: dict[str, tuple[float, ...]], note: str, target: Target | None = None
) -> list[Result]:
    """Hold the gateway against both proxies, and the bare relay.

    Squid does what the gateway does (a rule and a record for each request), tinyproxy less: the target is squid's. The
    relay goes the same way by asyncio's transports and does nothing else, so it has the target, too.
    """
    others = {proxy: Result(proxy, unit, times) for proxy, times in took.items() if proxy != "gateway"}
    told = "; ".join(f"{proxy}'s p50 {other.p50:.3g}, p99 {other.p99:.3g}" for proxy, other in others.items())
    gateway = took["gateway"]
    return [
        Result(name, unit, gateway, others["squid"].p50, target, f"{note}; the baseline is squid's; {told}"),
        Result(f"{name}.tinyproxy", unit, gateway, others["tinyproxy"].p50),
        Result(f"{name}.of-bare", unit, gateway, others["bare"].p50, target),
    ]


def _on_open_tunnels(ways: _Ways) -> list[Result]:
    """Ask again and again on connections that stay open: what a client with a pool, or a stream, pays."""
    with contextlib.ExitStack() as open_ones:
        connections = {"direct": open_ones.enter_context(tcp(ways.plain))}
        for proxy, reach in ways.proxies.items():
            connections[proxy] = open_ones.enter_context(_tunnel(reach(), ways.plain))
        took: dict[str, list[float]] = {name: [] for name in connections}
        for number in range(REQUESTS + 10):
            for name in _shuffled(connections):
                connection = connections[name]
                _get(connections["direct"], f"/{_SMALL}", keep=True)  # so that all begin after the same
                one = _timed(lambda: _get(connection, f"/{_SMALL}", keep=True))  # noqa: B023  # called at once
                if number >= 10:  # the first ones warm up
                    took[name].append(one)
    base = median(took["direct"])
    added = {proxy: tuple(one - base for one in took[proxy]) for proxy in ways.proxies}
    note = f"a request on a tunnel that is open: what it takes longer than directly ({base:.2f} ms)"
    return _beside("egress.open", "ms", added, note, Target(Of.RATIO, MOST_RATIO))


def _stream(ways: _Ways) -> list[Result]:
    rates: dict[str, list[float]] = {proxy: [] for proxy in ways.proxies}
    for _ in range(STREAM_ROUNDS):
        for proxy, reach in ways.proxies.items():
            with _tunnel(reach(), ways.plain) as connection:
                begun = time.perf_counter()
                _get(connection, f"/{STREAM_BYTES}")
                rates[proxy].append(time.perf_counter() - begun)
    note = f"seconds of {STREAM_BYTES // 10**6} MB by a tunnel"
    return _beside("egress.stream", "s", {proxy: tuple(times) for proxy, times in rates.items()}, note)


def _memory(ways: _Ways) -> list[Result]:
    systemctl("restart", GATEWAY)
    _get_through(ways)
    pid = unit_number(GATEWAY, "MainPID")
    idle = Memory.of(pid).resident
    with contextlib.ExitStack() as open_ones:
        streams = [open_ones.enter_context(_tunnel(ways.proxies["gateway"](), ways.plain)) for _ in range(STREAMS)]
        for one in streams:
            # Nobody reads: each holds as much as it ever will.
            one.sendall(f"GET /{64 * _MIB} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        time.sleep(_FILLED_SECONDS)
        loaded = Memory.of(pid).resident
    return [
        Result("egress.memory.idle", "MiB", (idle,), note="resident memory of the gateway after its first tunnel"),
        Result("egress.memory.200", "MiB", (loaded,), idle, note=f"with {STREAMS} streams that nobody reads"),
    ]


def _injection(ways: _Ways) -> list[Result]:
    """Measure what a look into TLS takes, with a secret put in and the answer searched for it."""
    with _bound(ways) as inside:
        results = [_injected(ways, inside), _injected_again(ways, inside)]
        took = []
        for _ in range(STREAM_ROUNDS):
            with _inside(inside, ways.proxies["gateway"]()) as connection:
                begun = time.perf_counter()
                _get(connection, f"/{STREAM_BYTES}", host=f"127.0.0.1:{ways.secure}")
                took.append(time.perf_counter() - begun)
        with tcp(ways.secure) as plain, _secured(ways, plain) as connection:
            begun = time.perf_counter()
            _get(connection, f"/{STREAM_BYTES}")
            directly = time.perf_counter() - begun
        note = f"seconds of {STREAM_BYTES // 10**6} MB through the door; the baseline is directly, by TLS"
        results.append(Result("egress.injection.stream", "s", tuple(took), directly, note=note))
        return [*results, _injected_memory(ways, inside)]


def _injected(ways: _Ways, inside: _Ways) -> Result:
    direct, added = [], []
    for number in range(REQUESTS + 10):
        base = _timed(lambda: _directly(ways, ways.secure))
        took = _timed(lambda: _by_tunnel(inside, ways.proxies["gateway"], ways.secure))
        if number >= 10:  # the first ones warm up
            direct.append(base)
            added.append(took)
    base = median(direct)
    note = f"a tunnel that is looked into, both handshakes and one small answer: longer than directly ({base:.2f} ms)"
    return Result("egress.injection", "ms", tuple(took - base for took in added), note=note)


def _injected_again(ways: _Ways, inside: _Ways) -> Result:
    took = []
    with _inside(inside, ways.proxies["gateway"]()) as connection:
        for number in range(REQUESTS + 10):
            one = _timed(lambda: _get(connection, f"/{_SMALL}", host=f"127.0.0.1:{ways.secure}", keep=True))
            if number >= 10:  # the same
                took.append(one)
    note = "one more request on such a connection, whole: the host is connected to anew"
    return Result("egress.injection.again", "ms", tuple(took), note=note)


def _injected_memory(ways: _Ways, inside: _Ways) -> Result:
    systemctl("restart", GATEWAY)
    with _inside(inside, ways.proxies["gateway"]()) as connection:
        _get(connection, f"/{_SMALL}", host=f"127.0.0.1:{ways.secure}")
    pid = unit_number(GATEWAY, "MainPID")
    idle = Memory.of(pid).resident
    with contextlib.ExitStack() as open_ones:
        for _ in range(STREAMS):
            one = open_ones.enter_context(_inside(inside, ways.proxies["gateway"]()))
            one.sendall(f"GET /{64 * _MIB} HTTP/1.1\r\nHost: 127.0.0.1:{ways.secure}\r\n\r\n".encode())
        time.sleep(_FILLED_SECONDS)
        loaded = Memory.of(pid).resident
    note = f"resident memory with {STREAMS} looked-into streams that nobody reads; the baseline is idle after one"
    return Result("egress.injection.memory.200", "MiB", (loaded,), idle, note=note)


def _vouches() -> bool:
    return b"127.0.0.1" in subprocess.run(_CONSTRAINTS, check=True, capture_output=True).stdout


@contextlib.contextmanager
def _bound(ways: _Ways) -> Iterator[_Ways]:
    """Bind a secret to the host, and have the machine trust the host's certificate, as an operator does."""
    name, place = "bench", f"127.0.0.1:{ways.secure}"
    try:
        _OWN.write_text(ssl.DER_cert_to_PEM_cert(ways.trusting.get_ca_certs(binary_form=True)[0]))
        subprocess.run(["update-ca-certificates"], check=True, capture_output=True)
        command = ["ncl", "secret", "set", name, "--host", place, "--group", GROUP]
        subprocess.run(command, input=b"a-secret-of-the-bench", check=True, capture_output=True)
        wait_until(_vouches, "the gateway's authority vouches for the host")
        trusting = ssl.create_default_context(cafile=str(_TRUST / "bundle.pem"))
        yield replace(ways, trusting=trusting)
    finally:
        subprocess.run(["ncl", "secret", "remove", name], check=False, capture_output=True)
        _OWN.unlink(missing_ok=True)
        subprocess.run(["update-ca-certificates", "--fresh"], check=False, capture_output=True)


def _inside(ways: _Ways, connection: socket.socket) -> ssl.SSLSocket:
    return _secured(ways, _tunnel(connection, ways.secure))


def _secured(ways: _Ways, connection: socket.socket) -> ssl.SSLSocket:
    return ways.trusting.wrap_socket(connection, server_hostname="127.0.0.1")


def _get_through(ways: _Ways) -> None:
    with _tunnel(ways.proxies["gateway"](), ways.plain) as connection:
        _get(connection, f"/{_SMALL}")


def _shuffled(names: Iterable[str]) -> list[str]:
    """Return them in another order each time: who comes behind whom is a part of what each takes."""
    found = sorted(names)
    _order.shuffle(found)
    return found


def _timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1e3


def _directly(ways: _Ways, port: int) -> None:
    with tcp(port) as connection:
        _ask(ways, connection, port)


def _by_tunnel(ways: _Ways, reach: Reach, port: int) -> None:
    with _tunnel(reach(), port) as connection:
        _ask(ways, connection, port)


def _by_proxy(_ways: _Ways, reach: Reach, port: int) -> None:
    with reach() as connection:
        _get(connection, f"http://127.0.0.1:{port}/{_SMALL}")


def _ask(ways: _Ways, connection: socket.socket, port: int) -> None:
    if port == ways.plain:
        _get(connection, f"/{_SMALL}")
        return
    with _secured(ways, connection) as secure:
        _get(secure, f"/{_SMALL}", host=f"127.0.0.1:{port}")


def _tunnel(connection: socket.socket, port: int) -> socket.socket:
    where = f"127.0.0.1:{port}"
    connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
    _head(connection)
    return connection


def _get(connection: socket.socket, target: str, *, host: str = "127.0.0.1", keep: bool = False) -> None:
    close = "" if keep else "Connection: close\r\n"
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{close}\r\n".encode())
    head, rest = _head(connection)
    (length,) = (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    left, piece = length - len(rest), bytearray(256 * 1024)
    while left:
        count = connection.recv_into(piece)
        if not count:
            raise ConnectionError("an answer broke off")
        left -= count


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionError(f"no answer: {found!r}")
        found += piece
    head, _, rest = found.partition(b"\r\n\r\n")
    if head.split()[1] != b"200":
        raise ConnectionError(head.decode(errors="replace"))
    return head, rest


def _as_agent(uid: int, path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    with acting_as(uid):
        connection.connect(path)
    return connection


def _host_uid() -> int:
    agents = json.loads(Path("/run/nanoclaw-agents/agents.json").read_text())["agents"]
    inside = next(int(agent["uid"]) for agent in agents if agent["group"] == GROUP)
    line = next(line for line in Path("/etc/subuid").read_text().splitlines() if line.startswith("nanoclaw:"))
    return int(line.split(":")[1]) + inside - 1


@contextlib.contextmanager
def _configured() -> Iterator[None]:
    before = CONFIG_FILE.read_text()
    mode = Path(_SOCKET).stat().st_mode
    try:
        CONFIG_FILE.write_text(before + _MORE)
        systemctl("restart", GATEWAY)
        # Effective uids come without the agents' gid here; SO_PEERCRED tells the uid all the same.
        Path(_SOCKET).chmod(0o666)
        yield
    finally:
        CONFIG_FILE.write_text(before)
        Path(_SOCKET).chmod(mode & 0o777)
        systemctl("restart", GATEWAY)


@contextlib.contextmanager
def _host() -> Iterator[tuple[int, int, ssl.SSLContext]]:
    with tempfile.TemporaryDirectory() as directory:
        pem = Path(directory) / "host.pem"
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=bench"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run(
            ["openssl", "req", "-x509", *new, *names, "-keyout", f"{pem}.key", "-out", pem],
            check=True,
            capture_output=True,
        )
        certificate = pem.read_text()
        pem.write_text(certificate + Path(f"{pem}.key").read_text())
        command = [sys.executable, str(Path(__file__).with_name("egress_upstream.py")), str(pem)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                if process.stdout is None:
                    raise RuntimeError("Popen made no pipe")
                plain, secure = map(int, process.stdout.readline().split())
                trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                trusting.load_verify_locations(cadata=certificate)
                yield plain, secure, trusting
            finally:
                process.kill()
