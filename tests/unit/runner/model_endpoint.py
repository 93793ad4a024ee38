"""An OpenAI-compatible endpoint behind a unix socket, which does what the test says and remembers what it was asked."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

HURRIED = "from nanoclaw_runner.providers import retrying; retrying.FIRST_PAUSE_SECONDS = 0.01"
"""BEFORE_RUNNER of one that waits for next to nothing where an endpoint gives no hint."""

type Behaviour = Callable[["Handler"], None]


class Endpoint(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path, *behaviours: Behaviour) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path), Handler)
        self.behaviours = list(behaviours)
        self.routes: dict[str, Behaviour] = {}
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def said(self, index: int = -1) -> list[tuple[str, str]]:
        return [(message["role"], message["content"]) for message in self.requests[index]["messages"]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        self.body = body = self.rfile.read(int(self.headers["Content-Length"]))
        behaviour = self.server.routes.get(self.path)
        if behaviour is not None:
            behaviour(self)
            return
        self.server.requests.append(json.loads(body))
        self.server.paths.append(self.path)
        self.server.headers.append(dict(self.headers))
        behaviour = self.server.behaviours.pop(0) if self.server.behaviours else says("ok")
        behaviour(self)

    def do_GET(self) -> None:
        refuses(405, "nothing is pushed here")(self)

    def do_DELETE(self) -> None:
        refuses(405, "nothing is kept here")(self)

    def begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, data: object) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def piece(self, text: str | None, ended: str = "stop") -> None:
        delta, reason = ({}, ended) if text is None else ({"content": text}, None)
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        self.chunk(choices=choices)

    def usage(self, read: int, written: int) -> None:
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        self.chunk(choices=[], usage=usage)

    def chunk(self, **fields: object) -> None:
        self.event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields})


def says(*pieces: str, pause: float = 0.0, usage: tuple[int, int] | None = None, ended: str = "stop") -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.begin_stream()
        for piece in pieces:
            handler.piece(piece)
            time.sleep(pause)  # as slow as a test wants it
        handler.piece(None, ended)
        if usage is not None:
            handler.usage(*usage)
        handler.event("[DONE]")

    return behave


def wants(*calls: tuple[str, str], text: str = "", usage: tuple[int, int] | None = None) -> Behaviour:
    """Call tools, by name and arguments; the arguments come in pieces, and the calls one between the other."""

    def behave(handler: Handler) -> None:
        handler.begin_stream()
        if text:
            handler.piece(text)
        for index, (name, _) in enumerate(calls):
            delta(handler, index, id=f"call-{index}", type="function", function={"name": name, "arguments": ""})
        for index, (_, arguments) in enumerate(calls):
            delta(handler, index, function={"arguments": arguments[:3]})
        for index, (_, arguments) in enumerate(calls):
            delta(handler, index, function={"arguments": arguments[3:]})
        handler.piece(None, "tool_calls")
        if usage is not None:
            handler.usage(*usage)
        handler.event("[DONE]")

    def delta(handler: Handler, index: int, **fields: object) -> None:
        calls = [{"index": index, **fields}]
        handler.chunk(choices=[{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}])

    return behave


def sends(body: bytes, content_type: str = "text/event-stream", status: int = 200, **headers: str) -> Behaviour:
    """Answer with these bytes."""

    def behave(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Connection", "close")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.close_connection = True
        with suppress(OSError):
            handler.wfile.write(body)

    return behave


def never_ends(piece: str) -> Behaviour:
    """Say the same again and again, until nobody listens."""

    def behave(handler: Handler) -> None:
        handler.begin_stream()
        with suppress(OSError):
            while True:
                handler.piece(piece)

    return behave


def refuses(status: int, message: str, **headers: str) -> Behaviour:
    def behave(handler: Handler) -> None:
        body = json.dumps({"error": {"message": message, "type": "refused"}}).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def breaks_off(*pieces: str, error: str | None = None) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.begin_stream()
        for piece in pieces:
            handler.piece(piece)
        if error is not None:
            handler.event({"error": {"message": error, "type": "upstream"}})
            return
        handler.connection.close()

    return behave


def is_silent(seconds: float) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.begin_stream()
        time.sleep(seconds)  # as slow as a test wants it

    return behave
