"""Run in a container (``python3 bad_input.py ATTACK JSON``): gives the gateway what no program should.

``steady`` is no attack: a neighbour who asks for a page over and over, until a file says that it is enough.
"""

import contextlib
import json
import os
import random
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

GATEWAY = "/run/nanoclaw-gateway/gateway.sock"
GIVEN: dict[str, Any] = {}
ENOUGH = Path("/workspace/enough")
WORKING = Path("/workspace/working")
SECONDS = 4.0


def knock(seconds: float = SECONDS) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    # Without a time of its own: the kernel turns others away where the queue is full, and this one waits.
    one.connect(GATEWAY)
    one.settimeout(seconds)
    return one


def said(one: socket.socket) -> str:
    """Return the status of an answer, or how the connection ended."""
    try:
        answer = b""
        while len(answer) < 12 and (piece := one.recv(4096)):
            answer += piece
    except TimeoutError:
        return "silence"
    except OSError:
        return "closed"
    return answer[9:12].decode("ascii", "replace") or "closed"


def ask(data: bytes) -> str:
    with knock() as one:
        with contextlib.suppress(OSError):
            one.sendall(data)
            one.shutdown(socket.SHUT_WR) if GIVEN.get("half") else None
        return said(one)


def site(path: str = "/hello") -> str:
    return f"http://127.0.0.1:{GIVEN['port']}{path}"


def steady() -> object:
    """Ask until it is enough."""
    count: Counter[str] = Counter()
    slowest = 0.0
    left = 10
    while left:
        began = time.monotonic()
        count[ask(f"GET {site()} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())] += 1
        slowest = max(slowest, time.monotonic() - began)
        if sum(count.values()) == 10:
            WORKING.touch()
        left -= ENOUGH.exists()
        time.sleep(0.02)  # a neighbour's calm pace
    return {"statuses": count, "slowest": round(slowest, 3)}


def ten_thousand() -> object:
    """Connections that say nothing, ten thousand of them, as many at once as this container can have."""
    held: list[socket.socket] = []
    turned: Counter[str] = Counter()
    for _ in range(10_000):
        held.append(knock())
        if len(held) >= 2000:
            for one in held[:1000]:
                one.settimeout(0.01)
                turned[said(one)] += 1
                one.close()
            del held[:1000]
    return {"turned": turned, "held": len(held)}


def endless_heads() -> object:
    """Heads that do not end: of every kind, before and behind the line of the request."""
    found: Counter[str] = Counter()
    beginnings = (
        f"GET {site()} HTTP/1.1\r\nHost: x\r\n", f"CONNECT 127.0.0.1:{GIVEN['port']} HTTP/1.1\r\n", "X" * 100,
        "GET /embedded/models HTTP/1.1\r\nHost: x\r\n", "GET /embedded/models HTTP/1.1\r\nX: ", "GET " + "a" * 9000,
        f"POST {site('/post')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "\r\n" * 9000,
        f"POST {site('/post')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x=",
    )  # fmt: skip
    for begun in beginnings:
        with knock() as one:
            sent = 0
            with contextlib.suppress(OSError):
                one.sendall(begun.encode())
                while sent < 20_000_000:
                    sent += one.send(b"X-More: and more of it\r\n" * 400)
            found["endless" if sent >= 20_000_000 else said(one)] += 1
    return found


def garbage() -> object:
    """Bytes of any kind; the same ones in each run."""
    chance = random.Random(6)
    found: Counter[str] = Counter()
    pieces = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(200),
        b"\x05\x01\x00", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"\0" * 4000, b"\xff\xfe" * 2000, b"\r\n\r\n" * 100,
        b"SSH-2.0-x\r\n", b"GET\thttp://x/\tHTTP/1.1\r\n\r\n", b"CONNECT \xc3\x28.example:80 HTTP/1.1\r\n\r\n",
        "GET http://\u2488.example/ HTTP/1.1\r\n\r\n".encode(), b"GET http://\xff\xff.example/ HTTP/1.1\r\n\r\n",
        b"CONNECT a\0b:80 HTTP/1.1\r\n\r\n", b"GET  http://a/ HTTP/1.1\r\n\r\n", b"get http://a/ http/1.1\r\n\r\n",
        *(chance.randbytes(chance.randrange(1, 3000)) for _ in range(200)),
    ]  # fmt: skip
    GIVEN["half"] = True
    for piece in pieces:
        found[ask(piece)] += 1
    return found


def smuggled() -> object:
    """One request to one reader and two to another: the second one must never come to the site."""
    second = f"GET {site('/smuggled')} HTTP/1.1\r\nHost: x\r\n\r\n"
    inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    heads = (
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked", "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "X: y\nTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked", "Content-Length: 0\r\nContent-Length: 60", "Content-Length: 0, 60",
        "Content-Length: +0", "Content-Length: 0_0", "Content-Length: \u0660",
        "Content-Length: 0\r\n Content-Length: 60", "Connection: Content-Length\r\nContent-Length: 60",
    )  # fmt: skip
    found: Counter[str] = Counter()
    for head in heads:
        for rest in (f"0\r\n\r\n{inner}", f"0\r\n\r\n{second}"):
            text = f"POST {site('/post')} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{rest}"
            found[ask(text.encode("utf-8"))] += 1
    return found


def stalled() -> object:
    """As many tunnels and requests as it gets, to a host that never stops talking, and nobody reads."""
    held = []
    found: Counter[str] = Counter()
    for number in range(400):
        one = knock()
        where = f"127.0.0.1:{GIVEN['endless']}"
        what = f"CONNECT {where}" if number % 2 else f"GET http://{where}/"
        with contextlib.suppress(OSError):  # turned away before it has said anything
            one.sendall(f"{what} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        held.append(one)
    time.sleep(3)  # for the host to fill all that it can fill
    for one in held:
        found[said(one)] += 1
    return found


def unread() -> object:
    """As many uploads as it gets to a host that never reads, and pipelined requests whose answers nobody reads."""
    held = []
    found: Counter[str] = Counter()
    piece = bytes(65_536)
    refused = b"GET http://nobody.example/ HTTP/1.1\r\nHost: x\r\n\r\n" * 300
    for number in range(200):
        one = knock()
        where = f"127.0.0.1:{GIVEN['deaf']}"
        head = f"POST http://{where}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"
        if number % 3 == 0:
            head = f"CONNECT {where} HTTP/1.1\r\nHost: x\r\n\r\n"
        one.settimeout(0.02)
        with contextlib.suppress(OSError):
            one.sendall(refused if number % 3 == 1 else head.encode())
            for _ in range(200):
                one.sendall(piece if number % 3 != 1 else refused)
        held.append(one)
    for one in held:
        found[said(one)] += 1
    return found


def tunnel() -> socket.socket | None:
    """A tunnel to a host that the gateway looks into, None where there is no place for one."""
    one = knock()
    with contextlib.suppress(OSError):
        one.sendall(f"CONNECT 127.0.0.1:{GIVEN['inner']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if one.recv(4096).startswith(b"HTTP/1.1 200"):
            return one
    one.close()
    return None


def handshakes() -> object:
    """TLS that does not come, comes in part, or is none, on as many tunnels as it gets; and whole ones, one by one."""
    held: list[socket.socket] = []
    found: Counter[str] = Counter()
    beginnings = (
        b"", b"\x16\x03\x01", b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(9000),
        b"\x16\x03\x01\x00\x00" * 900, b"\xff" * 9000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    )  # fmt: skip
    for number in range(300):
        one = tunnel()
        if one is None:
            found["429"] += 1
            continue
        with contextlib.suppress(OSError):
            one.sendall(beginnings[number % len(beginnings)])
        held.append(one)
    found["held"] = len(held)
    for one in held:
        one.close()
    for _ in range(200):
        with contextlib.suppress(OSError):
            if secure("http/1.1") is not None:
                found["whole"] += 1
    return found


def secure(protocol: str) -> ssl.SSLSocket | None:
    """TLS in a tunnel; whose certificate it is does not matter here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    one = tunnel()
    return context.wrap_socket(one, server_hostname=None) if one is not None else None


def frames() -> object:
    """Floods of HTTP/2: each until the other side has had enough."""
    authority = f"127.0.0.1:{GIVEN['inner']}".encode()
    block = b"\x82\x84\x87\x41" + bytes([len(authority)]) + authority

    def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
        return len(data).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + data

    def requests(last: int) -> bytes:
        return b"".join(frame(1, 5, number, block) for number in range(1, last, 2))

    floods = {
        "pings": frame(6, 0, 0, bytes(8)) * 400,
        "settings": frame(4, 0, 0, b"\0\4\0\0\0\0") * 400,
        "windows": frame(8, 0, 0, b"\0\0\0\1") * 400,
        "empty data": requests(3) + frame(0, 0, 1) * 400,
        "heads without an end": frame(1, 1, 1, block) + frame(9, 0, 1, bytes(16_000)) * 20,
        "resets": b"".join(frame(1, 5, n, block) + frame(3, 0, n, bytes(4)) for n in range(1, 801, 2)),
        "streams": requests(2001),
        "large": b"\xff\xff\xff\0\0\0\0\0\1" + bytes(50_000),
    }
    found = {}
    for name, flood in floods.items():
        one = secure("h2")
        if one is None:
            found[name] = "429"
            continue
        one.settimeout(SECONDS)
        sent = 0
        try:
            one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            while sent < 20_000_000:
                one.sendall(flood)
                sent += len(flood)
            found[name] = "endless"
        except OSError:
            found[name] = "cut off"
        one.close()
    return found


def hosts() -> object:
    """The machine, the own network and clouds' metadata in every spelling, where every name and port is allowed."""
    port = GIVEN["port"]
    names = (
        "127.0.0.1", "localhost", "LOCALHOST.", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "0x7f000001",
        "0x7f.1", "0177.0.0.1", "017700000001", "0177.1", "00000177.0.0.1", "127.0.0.1.", "127.000.000.001",
        "127。0。0。1", "①②⑦.0.0.1",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]",
        "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
        "[2002:7f00:1::1]", "[2001:0:7f00:1::]", "[fe80::1]", "[fe80::1%lo]", "[fe80::1%25lo]", "[fc00::1]",
        "[fd00:ec2::254]", "[ff02::1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "169.254.169.254",
        "169.254.170.2", "168.63.129.16", "2852039166", "100.100.100.200", "0xA9FEA9FE", "0251.0376.0251.0376",
        "10.0.0.1", "172.16.0.1", "192.168.0.1", "255.255.255.255", "224.0.0.1", "198.18.0.1", "192.0.2.1",
        "inner.egress.test", "site.egress.test", "rebound.egress.test", "a@127.0.0.1", "127.0.0.1\\@example.org",
        "example.org#@127.0.0.1", "127.0.0.1%00.example.org", "[::1].example.org", "127.0.0.1:80", "gateway",
        "/run/nanoclaw-gateway/gateway.sock", "unix:/run/nanoclaw-gateway/gateway.sock", "", "%31%32%37.0.0.1",
    )  # fmt: skip
    got = {}
    for name in names:
        for form in (f"CONNECT {name}:{port} HTTP/1.1", f"GET http://{name}:{port}/hello HTTP/1.1"):
            for host in ("x", f"127.0.0.1:{port}", "example.org"):
                status = ask(f"{form}\r\nHost: {host}\r\n\r\n".encode())
                if status not in ("400", "403", "502", "504"):
                    got[f"{form} ({host})"] = status
    return {"tried": len(names) * 6, "got": got}


def room() -> object:
    """Ask until there is room for it: what an attack has held is let go in a bounded time."""
    began = time.monotonic()
    while ask(b"GET http://nobody.example/x HTTP/1.1\r\nHost: x\r\n\r\n") == "429":
        time.sleep(0.1)  # a pace below every bound: what is asked for is room
    return time.monotonic() - began


def requests_in_numbers() -> object:
    """A refused request, three thousand times."""
    return Counter(ask(b"GET http://nobody.example/x HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3000))


ATTACKS: dict[str, Callable[[], object]] = {
    one.__name__: one
    for one in (
        *(steady, ten_thousand, endless_heads, garbage, smuggled, stalled, unread, room),
        *(handshakes, frames, hosts, requests_in_numbers),
    )
}

if __name__ == "__main__":
    GIVEN.update(json.loads(sys.argv[2]))
    Path("/workspace/found.json").write_text(json.dumps(ATTACKS[sys.argv[1]]()))
    os._exit(0)  # and all that is held is closed at once
