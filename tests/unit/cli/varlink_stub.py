"""A daemon that knows the interface files only: it checks every call against them and replies with the worst texts."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from varlink.scanner import Interface, _Array, _CustomType, _Enum, _Maybe, _Method, _Struct

from memory_backend import NASTY

DIRECTORY = Path(__file__).resolve().parents[3] / "nanoclawd" / "control" / "interfaces"
BY_THEMSELVES = {
    *("egress log", "egress summary"),
    *("chat", "fetch", "setup", "sessions logs", "channels logs", "channels add", "channels test", "channels login"),
    *("channels keys", "credentials put", "hooks test", "secret set", "secret rotate"),
}
"""Commands that need more than replies: an agent, a terminal, a file's bytes, the journal, a listener, a secret."""

INTERFACES = {path.stem.rpartition(".")[2]: Interface(path.read_text()) for path in DIRECTORY.glob("*.varlink")}
del INTERFACES["Requests"]  # the gateway's alone
METHODS: dict[str, _Method] = {
    f"{name}.{member.name}": member
    for name, interface in INTERFACES.items()
    for member in interface.members.values()
    if isinstance(member, _Method)
}


def resolved(interface: str, kind: Any) -> Any:
    """Follow a name to its type."""
    return INTERFACES[interface].members[kind.name].type if isinstance(kind, _CustomType) else kind


def an_example(interface: str, kind: Any) -> Any:
    """Return a value of a type: nothing is null, and every text is meant for the terminal."""
    kind = resolved(interface, kind)
    if isinstance(kind, _Maybe):
        return an_example(interface, kind.element_type)
    if isinstance(kind, _Array):
        return [an_example(interface, kind.element_type)] * 2
    if isinstance(kind, _Struct):
        return {name: an_example(interface, found) for name, found in kind.fields.items()}
    if isinstance(kind, _Enum):
        return next(iter(kind.fields))
    return {bool: True, int: 3, float: 1.5, str: NASTY}[type(kind)]


def faults(interface: str, method: _Method, given: dict[str, Any]) -> list[str]:
    """Return what of a call's parameters is not as the interface says."""
    wanted = method.in_type.fields
    found = [f"unknown: {name}" for name in given if name not in wanted]
    for name, declared in wanted.items():
        optional = isinstance(declared, _Maybe)
        if name not in given:
            found += [] if optional else [f"missing: {name}"]
            continue
        example = an_example(interface, declared)
        if type(given[name]) is not type(example):
            found.append(f"{name}: {given[name]!r}")
    return found


class Stub:
    """What was called, and what was wrong with it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: list[str] = []
        self.replies: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, tuple[str, dict[str, Any]]] = {}

    def answer(self, frame: bytes) -> dict[str, Any]:
        call = json.loads(frame)
        name = call["method"].removeprefix("io.nanoclaw.")
        parameters = call.get("parameters", {})
        self.calls.append((name, parameters))
        if name in self.errors:
            error, said = self.errors[name]
            return {"error": f"io.nanoclaw.{error}", "parameters": said}
        interface = name.partition(".")[0]
        self.faults += faults(interface, METHODS[name], parameters)
        return {"parameters": self.replies.get(name) or an_example(interface, METHODS[name].out_type)}

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                rest = b""
                while piece := client.recv(65536):
                    *frames, rest = (rest + piece).split(b"\0")
                    for frame in frames:
                        client.sendall(json.dumps(self.answer(frame)).encode() + b"\0")


@contextmanager
def serving(directory: Path) -> Iterator[Stub]:
    stub = Stub(str(directory / "stub.sock"))
    # Beside it, the one that stores secrets.
    (directory / "credentials.sock").symlink_to("stub.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(stub.path)
        listener.listen()
        thread = threading.Thread(target=stub.serve, args=(listener,), daemon=True)
        thread.start()
        yield stub
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
