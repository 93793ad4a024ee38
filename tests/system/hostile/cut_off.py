"""Run in a container: has a tunnel and an answer under way, says so, and tells what became of them and what came next.

``python3 cut_off.py PORT_OF_AN_ECHO PORT_OF_A_SITE``. The gateway is killed when /workspace/under-way is there.
"""

import json
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

ECHO, SITE = int(sys.argv[1]), int(sys.argv[2])
PROXY = urlsplit(os.environ["HTTP_PROXY"])
GATEWAY = "/run/nanoclaw-gateway/gateway.sock"


def tunnel() -> socket.socket:
    one = socket.create_connection((PROXY.hostname, PROXY.port), 30)
    one.sendall(f"CONNECT 127.0.0.1:{ECHO} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert one.recv(1000).startswith(b"HTTP/1.1 200")
    one.sendall(b"words")
    assert one.recv(5) == b"words"
    return one


held = [tunnel() for _ in range(5)]
silent = socket.socket(socket.AF_UNIX)
silent.connect(GATEWAY)
Path("/workspace/under-way").touch()
ends = []
for one in held:
    try:
        ends.append(one.recv(10).decode())
    except ConnectionError:
        ends.append("")
began = time.monotonic()
answers = []
for _ in range(5):
    with urllib.request.urlopen(f"http://site.egress.test:{SITE}/hello", timeout=60) as answer:
        answers.append(answer.read().decode())
with tunnel():
    pass
first = round(time.monotonic() - began, 3)
Path("/workspace/cut-off.json").write_text(json.dumps({"ends": ends, "answers": answers, "seconds": first}))
