"""Runs in a container: asks an echoing host in many ways, keeps all that it hears, and waits to be looked at.

Arguments: the host's address, styles and forms with commas between them, and the number of requests at least. Prints
what came of it as JSON.
"""

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

URL, STYLES, FORMS, LEAST = sys.argv[1], sys.argv[2].split(","), sys.argv[3].split(","), int(sys.argv[4])
MARK = "nanoclaw-secret-mark"
PROXY = urlsplit(os.environ["HTTPS_PROXY"])
HOST = urlsplit(URL)
heard: list[bytes] = []
counts: dict[str, int] = {}
odd: list[str] = []


def sent_with(style: str, number: int) -> tuple[str, dict[str, str]]:
    """Return query and headers: what a client sends that thinks it has a key, and placeholders where they belong."""
    query, headers = f"n={number}", {"Authorization": "Bearer mine"} if number % 2 else {}
    if style == "mark":
        if number % 3 == 0:
            query += f"&key={MARK}"
        elif number % 3 == 1:
            headers = {"X-Token": f"token {MARK} end"}
        else:
            headers = {"Authorization": "Basic " + base64.b64encode(f"me:{MARK}".encode()).decode()}
    return query, headers


def by_library(style: str, form: str, number: int) -> None:
    query, headers = sent_with(style, number)
    body = b"x" * (number % 5 * 1000) if number % 4 == 0 else None
    request = urllib.request.Request(f"{URL}/{style}/{form}?{query}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            heard.append(str(answer.headers).encode() + answer.read())
    except urllib.error.HTTPError as error:
        heard.append(str(error.headers).encode() + error.reason.encode() + error.read())


class Kept:
    """One connection for many requests."""

    def __init__(self) -> None:
        self.connection = self.opened()

    def opened(self) -> http.client.HTTPSConnection:
        made = http.client.HTTPSConnection(PROXY.hostname, PROXY.port, context=ssl.create_default_context(), timeout=30)
        made.set_tunnel(HOST.hostname, HOST.port)
        return made

    def ask(self, style: str, form: str, number: int) -> None:
        query, headers = sent_with(style, number)
        try:
            self.connection.request("GET", f"/{style}/{form}?{query}", headers=headers)
            answer = self.connection.getresponse()
        except (http.client.HTTPException, OSError):
            self.connection.close()
            self.connection = self.opened()
            self.connection.request("GET", f"/{style}/{form}?{query}", headers=headers)
            answer = self.connection.getresponse()
        heard.append(f"{answer.status} {answer.reason}\n{answer.headers}".encode() + answer.read())


def by_curl(style: str, form: str, number: int, *more: str) -> None:
    query, headers = sent_with(style, number)
    given = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    command = ["curl", "-sSi", "-L", "--max-redirs", "2", "-m", "30", *more, *given, f"{URL}/{style}/{form}?{query}"]
    done = subprocess.run(command, capture_output=True, check=False)
    heard.append(done.stdout + done.stderr)
    if done.returncode:
        odd.append(f"curl {form}: {done.returncode} {done.stderr[:200]!r}")


def by_socket(style: str, number: int) -> None:
    """A WebSocket's client, as far as it takes to hear something."""
    query, headers = sent_with(style, number)
    kept = Kept().connection
    kept.connect()
    lines = [
        f"GET /{style}/socket?{query} HTTP/1.1",
        f"Host: {HOST.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
    ]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    kept.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    said = b""
    kept.sock.settimeout(10)
    while not said.endswith(b"\x88\x02\x03\xe8") and (piece := kept.sock.recv(65536)):
        said += piece
    kept.sock.close()
    heard.append(said)
    if b" 101 " not in said.partition(b"\r\n")[0]:
        odd.append(f"websocket: {said[:200]!r}")


def main() -> None:
    kept, number = Kept(), 0
    ways = {
        "library": by_library,
        "kept": kept.ask,
        "h2": lambda *asked: by_curl(*asked, "--http2"),
        "compressed": lambda *asked: by_curl(*asked, "--http1.1", "--compressed"),
    }
    while sum(counts.values()) < LEAST:
        for style in STYLES:
            for form in FORMS:
                number += 1
                way = list(ways)[number % len(ways)]
                try:
                    ways[way](style, form, number)
                except (OSError, http.client.HTTPException) as error:
                    odd.append(f"{way} {form}: {type(error).__name__} {error}")
                counts[way] = counts.get(way, 0) + 1
            number += 1
            by_socket(style, number)
            counts["websocket"] = counts.get("websocket", 0) + 1
    Path("/tmp/mark").write_text(MARK)
    Path("answers.bin").write_bytes(b"\n".join(heard))
    Path("asked").write_text(json.dumps({"counts": counts, "odd": odd, "bytes": sum(map(len, heard))}))
    while not Path("go").exists():
        time.sleep(0.1)  # what the host does in here tells nobody
    print(Path("asked").read_text())


main()
