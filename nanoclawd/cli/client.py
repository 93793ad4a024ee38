"""Calls over the control socket: Varlink on a plain blocking socket, standard library only."""

import json
import os
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from nanoclawd.cli import outcome
from nanoclawd.cli.outcome import CommandError

DEFAULT_SOCKET = "/run/nanoclawd/control.sock"
SOCKET_VARIABLE = "NANOCLAW_CONTROL_SOCKET"
CALL_SECONDS = 60.0

_CODES = {
    "Refused": outcome.REFUSED,
    "InvalidName": outcome.REFUSED,
    "TooLarge": outcome.REFUSED,
    "InvalidParameter": outcome.REFUSED,
    "ApprovalPending": outcome.PENDING,
}


class Client:
    """One connection to the daemon. Calls are made one after the other."""

    def __init__(self, path: str, seconds: float = CALL_SECONDS) -> None:
        """Connect; a reply may take so many seconds.

        Raises:
            CommandError: nobody listens there, or we may not connect.
        """
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._seconds = seconds
        self._socket.settimeout(seconds)
        self._rest = b""
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise unreachable(path, error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, method: str, /, **parameters: object) -> dict[str, Any]:
        """Call a method of ``io.nanoclaw`` (``Groups.List``) and return its reply.

        Raises:
            CommandError: the daemon answered with an error, too late or not at all.
        """
        self._post(method, parameters)
        return read_reply(self._receive())[0]

    def stream(self, method: str, **parameters: object) -> Iterator[dict[str, Any]]:
        """Call a streaming method and return its replies as they come; silence between them is no fault.

        Raises:
            CommandError: as for :meth:`call`.
        """
        self._post(method, parameters, more=True)
        self._socket.settimeout(None)
        continues = True
        while continues:
            reply, continues = read_reply(self._receive())
            yield reply
        self._socket.settimeout(self._seconds)

    def _post(self, method: str, parameters: dict[str, object], *, more: bool = False) -> None:
        try:
            self._socket.sendall(encode_call(method, parameters, more=more))
        except OSError as error:
            raise unreachable(self._path, error) from None

    def _receive(self) -> bytes:
        pieces = [self._rest]
        while b"\0" not in pieces[-1]:
            try:
                piece = self._socket.recv(256 * 1024)
            except TimeoutError:
                raise CommandError(
                    outcome.TIMEOUT,
                    f"nanoclawd did not answer within {self._seconds:g} seconds",
                    "systemctl status nanoclawd",
                ) from None
            except OSError as error:
                raise unreachable(self._path, error) from None
            if not piece:
                raise hung_up()
            pieces.append(piece)
        frame, _, self._rest = b"".join(pieces).partition(b"\0")
        return frame


def socket_path(option: str | None) -> str:
    """Return where the control socket is: the option, the environment, or the usual place."""
    return option or os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET


def encode_call(method: str, parameters: dict[str, object], *, more: bool = False) -> bytes:
    """Return a call's frame; parameters that are None are left out.

    Raises:
        CommandError: a parameter is not UTF-8 (a command line can hold any bytes).
    """
    given = {name: value for name, value in parameters.items() if value is not None}
    call: dict[str, object] = {"method": f"io.nanoclaw.{method}", "parameters": given}
    if more:
        call["more"] = True
    try:
        return json.dumps(call, ensure_ascii=False).encode() + b"\0"
    except UnicodeEncodeError:
        raise CommandError(outcome.REFUSED, "what was given is not UTF-8") from None


def read_reply(frame: bytes) -> tuple[dict[str, Any], bool]:
    """Return a reply's parameters, and whether more replies follow.

    Raises:
        CommandError: it is an error.
    """
    try:
        reply = json.loads(frame)
        parameters: dict[str, Any] = reply.get("parameters") or {}
    except (ValueError, AttributeError):
        raise CommandError(outcome.ERROR, "what answers at the control socket is not nanoclawd") from None
    error = reply.get("error")
    if error is None:
        return parameters, bool(reply.get("continues"))
    name = str(error).rpartition(".")[2]
    message = parameters.get("message")
    if name == "InvalidParameter":
        message = f"nanoclawd does not take this {parameters.get('parameter')}: out of its bounds, or of the wrong kind"
    elif message is None:
        message = f"nanoclawd answered {error}: is it of another version than ncl?"
    raise CommandError(_CODES.get(name, outcome.ERROR), str(message), parameters.get("hint"))


def unreachable(path: str, error: OSError) -> CommandError:
    """Say why the daemon cannot be reached, and what helps."""
    if isinstance(error, PermissionError):
        return CommandError(
            outcome.REFUSED,
            f"you may not use {path}: that takes the group nanoclaw-admin (after this, log in again)",
            "sudo usermod -aG nanoclaw-admin $USER",
        )
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return CommandError(outcome.UNREACHABLE, "nanoclawd is not running", "sudo systemctl start nanoclawd")
    if isinstance(error, (ConnectionError, BrokenPipeError)):
        return hung_up()
    return CommandError(outcome.UNREACHABLE, f"{path}: {error.strerror or error}", "systemctl status nanoclawd")


def hung_up() -> CommandError:
    """Say that the daemon closed the connection."""
    return CommandError(outcome.UNREACHABLE, "nanoclawd closed the connection", "systemctl status nanoclawd")
