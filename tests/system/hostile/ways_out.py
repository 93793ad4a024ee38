"""Run in a container: tries to get out in every way but the one that is meant. Prints what came of each as JSON.

What fails says why; what gets somewhere says ``out``.
"""

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

GIVEN = json.loads(sys.argv[1])
PORT = GIVEN["port"]
GATEWAY = "/run/nanoclaw-gateway/gateway.sock"
SECONDS = 3
found: dict[str, str] = {}


def attempt(name: str, work: Callable[[], object]) -> None:
    try:
        words = work()
    except BaseException as error:  # whatever it is, it is what came of it
        found[name] = f"{type(error).__name__}: {error}"[:200]
        return
    found[name] = words if isinstance(words, str) and words.startswith("in:") else f"out: {str(words)[:200]}"


def stream(family: int, address: Any) -> Callable[[], object]:
    def work() -> object:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.settimeout(SECONDS)
            one.connect(address)
            return "connected"

    return work


def made(*kind: int) -> Callable[[], object]:
    return lambda: socket.socket(*kind).fileno()


def datagram(address: tuple[str, int]) -> Callable[[], object]:
    def work() -> object:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(SECONDS)
            one.sendto(
                b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03org\x00\x00\x01\x00\x01", address
            )
            return one.recv(512)

    return work


def netlink() -> object:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as one:
        one.bind((0, 0))
        # RTM_NEWADDR for lo, with an address of its own choice.
        body = struct.pack("BBBBI", socket.AF_INET, 8, 0, 0, 1) + struct.pack("HH4s", 8, 2, bytes([10, 0, 0, 1]))
        one.send(struct.pack("IHHII", 16 + len(body), 20, 0x405, 1, 0) + body)
        answer = one.recv(4096)
        (error,) = struct.unpack_from("i", answer, 16)
        if error:
            raise OSError(-error, os.strerror(-error))
        return "address added"


def connect_by_gateway(target: str) -> Callable[[], object]:
    def work() -> object:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(15)
            one.connect(GATEWAY)
            one.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            answer = one.recv(2000)
            if answer.startswith(b"HTTP/1.1 200"):
                return answer
            raise PermissionError(answer.split(b"\r\n", 1)[0].decode())

    return work


def plain_by_gateway(target: str, host: str = "x") -> Callable[[], object]:
    def work() -> object:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(15)
            one.connect(GATEWAY)
            one.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := one.recv(65536):
                answer += piece
            if int(answer.split()[1]) < 400:
                return answer
            raise PermissionError(answer[:120].decode(errors="replace"))

    return work


def in_namespaces(flags: int, work: Callable[[], object]) -> Callable[[], object]:
    """Try from within namespaces of its own, in a child: the other attempts must not run in them."""

    def apart() -> object:
        reader, writer = os.pipe()
        if not (child := os.fork()):
            words = ""
            try:
                if ctypes.CDLL(None, use_errno=True).unshare(flags):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                words = f"out: {work()}"
            except BaseException as error:  # the same
                words = f"{type(error).__name__}: {error}"
            os.write(writer, words.encode()[:300])
            os._exit(0)
        os.waitpid(child, 0)
        words = os.read(reader, 300).decode()
        if not words.startswith("out"):
            raise OSError(words)
        return words

    return apart


def program(*words: str) -> Callable[[], object]:
    def work() -> object:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise OSError(f"{done.returncode}: {done.stderr[-150:]}")
        return done.stdout

    return work


def url(address: str) -> Callable[[], object]:
    def work() -> object:
        # No proxy: the way that is meant is not the one that is tried.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(address, timeout=SECONDS).read()

    return work


def sockets_of_others() -> object:
    reached = []
    for path in map(str, (*Path("/run").rglob("*.sock"), *Path("/tmp").rglob("*.sock"))):
        # The gateway, systemd's notifications by podman, and the runner's own door for ncl.
        if path in (GATEWAY, "/run/notify/notify.sock", "/run/nanoclaw/control.sock"):
            continue
        with socket.socket(socket.AF_UNIX) as one:
            try:
                one.connect(path)
                reached.append(path)
            except OSError:
                continue
    if reached:
        return reached
    raise OSError("none")


def interfaces() -> object:
    names = sorted(name for _, name in socket.if_nameindex())
    if names != ["lo"]:
        return names
    raise OSError("the loopback only")


attempt("tcp to the machine's loopback", stream(socket.AF_INET, ("127.0.0.1", PORT)))
attempt("tcp6 to the machine's loopback", stream(socket.AF_INET6, ("::1", PORT)))
for address in ("169.254.169.254", "8.8.8.8", "10.0.0.1", "10.88.0.1", "192.168.1.1", "100.100.100.200"):
    attempt(f"tcp to {address}", stream(socket.AF_INET, (address, 80)))
attempt("tcp6 to the internet", stream(socket.AF_INET6, ("2001:4860:4860::8888", 443)))
attempt("tcp6 to a link-local address", stream(socket.AF_INET6, ("fe80::1", 80, 0, 1)))
for address in ("127.0.0.53", "8.8.8.8", "10.0.2.3", "169.254.1.1"):
    attempt(f"dns by udp to {address}", datagram((address, 53)))
attempt("dns by the system", lambda: socket.getaddrinfo("example.org", 443))
attempt("dns by a library", lambda: socket.gethostbyname("nobody.example.org"))
attempt("multicast dns", datagram(("224.0.0.251", 5353)))
attempt("broadcast", datagram(("255.255.255.255", 67)))
attempt("raw ip socket", made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("raw ip6 socket", made(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
attempt("packet socket", made(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
attempt("packet datagram socket", made(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
attempt("vsock to the host", stream(socket.AF_VSOCK, (2, 1024)))
attempt("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW, 1).bind((0,)))
attempt("tipc", lambda: socket.socket(30, socket.SOCK_STREAM).connect((1, 2, 3, 4)))
attempt("netlink: an address for lo", netlink)
attempt("tun device", lambda: os.open("/dev/net/tun", os.O_RDWR))
attempt("kvm", lambda: os.open("/dev/kvm", os.O_RDWR))
attempt("interfaces", interfaces)
USER, NETWORK = 0x10000000, 0x40000000
RAW = made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
attempt("raw socket in a user namespace", in_namespaces(USER, RAW))
attempt("packet socket in a user namespace", in_namespaces(USER, made(socket.AF_PACKET, socket.SOCK_RAW, 768)))
attempt("netlink in a user namespace", in_namespaces(USER, netlink))
attempt("network namespace", in_namespaces(NETWORK, stream(socket.AF_INET, ("127.0.0.1", PORT))))
for address in ("127.0.0.1", "8.8.8.8"):
    work = stream(socket.AF_INET, (address, PORT))
    attempt(f"tcp to {address} in namespaces of its own", in_namespaces(USER | NETWORK, work))
for path in (
    *("/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/journal/socket", "/run/podman/podman.sock"),
    *("/run/nanoclawd/control.sock", "/run/user/999/bus", "/run/user/999/podman/podman.sock"),
    *(f"/run/user/999/nanoclaw/{GIVEN['neighbour']}", "/run/nanoclaw-model/model.sock", "/var/run/docker.sock"),
):
    attempt(f"socket {path}", stream(socket.AF_UNIX, path))
for name in ("/tmp/.X11-unix/X0", "/org/freedesktop/systemd1/private", "/run/dbus/system_bus_socket", "/tmp/dbus-1"):
    attempt(f"abstract socket {name}", stream(socket.AF_UNIX, "\0" + name))
attempt("sockets of others", sockets_of_others)
attempt("replace the gateway's socket", lambda: Path(GATEWAY).rename(GATEWAY + ".old"))
attempt("another socket beside it", lambda: socket.socket(socket.AF_UNIX).bind("/run/nanoclaw-gateway/x.sock"))
attempt("network of process 1", lambda: list(Path("/proc/1/root/run/user").iterdir()))
for target in (
    *(f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"[::1]:{PORT}", f"[::ffff:127.0.0.1]:{PORT}", f"0.0.0.0:{PORT}"),
    *(f"127.1:{PORT}", f"2130706433:{PORT}", f"0x7f.1:{PORT}", f"site.egress.test:{PORT}", f"SITE.egress.test.:{PORT}"),
    *("127.0.0.1:22", "169.254.169.254:80", "gateway:80", "/run/nanoclaw-gateway/gateway.sock:80", "example.org:443"),
):
    attempt(f"tunnel to {target}", connect_by_gateway(target))
for target in (
    *(f"http://127.0.0.1:{PORT}/ways-out", f"http://site.egress.test:{PORT}/ways-out", "http://169.254.169.254/"),
    *(f"http://allowed.example@127.0.0.1:{PORT}/ways-out", "/other/v1/models", "/../x", "//example.org/"),
):
    attempt(f"request for {target}", plain_by_gateway(target))
attempt("request with a lying host", plain_by_gateway("http://example.org/ways-out", f"127.0.0.1:{PORT}"))
attempt("curl around the proxy", program("curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{PORT}/ways-out"))
attempt("curl to a host by its address", program("curl", "-sS", "-m", "5", "--noproxy", "*", "https://1.1.1.1/"))
attempt("git's own protocol", program("git", "ls-remote", "git://127.0.0.1/x"))
attempt("urllib around the proxy", url(f"http://127.0.0.1:{PORT}/ways-out"))
attempt("ping", program("ping", "-c", "1", "-W", "2", "127.0.0.1"))
print(json.dumps(found))
