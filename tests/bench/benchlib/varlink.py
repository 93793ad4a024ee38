"""Calls of the control socket: NUL-terminated JSON over a unix socket, blocking and with nothing in between."""

import json
import socket
from collections.abc import Mapping
from typing import Any

CONTROL_SOCKET = "/run/nanoclawd/control.sock"
PATIENCE_SECONDS = 120.0


class CallError(Exception):
    """The daemon answered with an error."""


class Link:
    """One connection to the control socket."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_SECONDS)
        self._socket.connect(CONTROL_SOCKET)
        self._buffer = b""

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._socket.fileno()

    def begin(self, method: str, parameters: Mapping[str, object], *, more: bool = False) -> None:
        """Send a call; its replies are read by :meth:`reply`."""
        call: dict[str, object] = {"method": method, "parameters": dict(parameters)}
        if more:
            call["more"] = True
        self._socket.sendall(json.dumps(call).encode() + b"\0")

    def reply(self) -> dict[str, Any]:
        """Wait for the next reply and return its parameters.

        Raises:
            CallError: it is an error.
            ConnectionError: the daemon hung up.
        """
        while b"\0" not in self._buffer:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the daemon hung up")
            self._buffer += data
        return self._next()

    def replies_at_hand(self) -> list[dict[str, Any]]:
        """Read once, and return the replies that are complete."""
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the daemon hung up")
        self._buffer += data
        found = []
        while b"\0" in self._buffer:
            found.append(self._next())
        return found

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method and return its reply's parameters. Raises as :meth:`reply`."""
        self.begin(method, parameters)
        return self.reply()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _next(self) -> dict[str, Any]:
        frame, self._buffer = self._buffer.split(b"\0", 1)
        found: dict[str, Any] = json.loads(frame)
        if "error" in found:
            raise CallError(f"{found['error']}: {found.get('parameters')}")
        parameters: dict[str, Any] = found.get("parameters", {})
        return parameters
