"""How long is the daemon's event loop held up? Asked from outside, a hundred times a second.

Each round asks the daemon a trivial question on its control socket and waits for the answer. What the answer took,
less the time for which the daemon's main thread (or this one) was ready to run and had no processor
(``/proc/PID/schedstat``), is time for which the loop did something else. Beside it the same question goes to an echo
server that does nothing else: its worst time is what this machine adds to any answer.

usage: loop_watch.py PID — until standard input ends; then prints {"rounds", "worst", "echo", "raw"} in seconds.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path

CONTROL = "/run/nanoclawd/control.sock"
QUESTION = b'{"method":"org.varlink.service.GetInfo"}\0'
EVERY_SECONDS = 0.01
_PR_SET_PDEATHSIG = 1


def waited_for_processor(pid: int, thread: int) -> float:
    """Return the seconds for which a thread was ready and did not run."""
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[1]) / 1e9


class Asked:
    """Somebody who answers at once, or should."""

    def __init__(self, path: str, pid: int, thread: int) -> None:
        self.pid, self.thread = pid, thread
        self.worst = self.raw = 0.0
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(path)

    def ask(self) -> None:
        mine, its = threading.get_native_id(), waited_for_processor(self.pid, self.thread)
        own = waited_for_processor(os.getpid(), mine)
        began = time.monotonic()
        self.connection.sendall(QUESTION)
        while b"\0" not in self.connection.recv(65536):
            pass
        took = time.monotonic() - began
        starved = waited_for_processor(self.pid, self.thread) - its + waited_for_processor(os.getpid(), mine) - own
        self.raw = max(self.raw, took)
        self.worst = max(self.worst, took - starved)


def echo_server(path: str) -> int:
    """Serve in a process of its own; its id."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    pid = os.fork()
    if pid:
        return pid
    # Ends with its parent, however that ends.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                writer.write(await reader.readuntil(b"\0"))

    async def serve() -> None:
        server = await asyncio.start_unix_server(answer, sock=listening)
        await server.serve_forever()

    asyncio.run(serve())
    os._exit(0)


def main() -> None:
    path = f"/tmp/echo-{os.getpid()}.sock"
    echo_pid = echo_server(path)
    try:
        daemon_pid = int(sys.argv[1])
        daemon, echo = Asked(CONTROL, daemon_pid, daemon_pid), Asked(path, echo_pid, echo_pid)
        rounds = 0
        print("watching", flush=True)
        while not select.select([sys.stdin], [], [], EVERY_SECONDS)[0]:
            daemon.ask()
            echo.ask()
            rounds += 1
        print(json.dumps({"rounds": rounds, "worst": daemon.worst, "raw": daemon.raw, "echo": echo.worst}), flush=True)
    finally:
        os.kill(echo_pid, 9)
        Path(path).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
