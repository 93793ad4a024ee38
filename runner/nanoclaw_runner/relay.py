"""The agent's way to the host's control interface: a socket in the container, Varlink frames, each call a row.

``ncl`` and whatever else in the container may connect; all have the agent's rights, which the host judges. Everything
is bounded, because what connects is as hostile as the agent: the length of a frame, the connections, the calls at once,
the time for each. The host answers by a row too, and by then the caller may be gone: such an answer is dropped.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Final

import apsw

from nanoclaw_runner.desk import CALL_SECONDS, MAX_FRAME_BYTES, Desk

_log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 32
_MAX_PASSED_OVER: Final = 64
"""Pieces of a frame's length; who writes still more is hung up on."""

_END: Final = b"\0"
_FLAGS: Final = ("more", "oneway", "upgrade")


class Relay:
    """Takes calls from the container's processes and answers each with what the host says."""

    def __init__(self, path: Path, *, call_seconds: float = CALL_SECONDS) -> None:
        self._path = path
        self._call_seconds = call_seconds
        self._connections: set[asyncio.Task[None]] = set()
        self._desk: Desk | None = None
        self._server: asyncio.Server | None = None

    async def open(self, desk: Desk) -> None:
        """Begin to listen. That it cannot be is logged: the agent answers people all the same."""
        self._desk = desk
        try:
            self._path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
            self._server = await asyncio.start_unix_server(self._connected, self._path, limit=MAX_FRAME_BYTES)
        except OSError as error:
            _log.warning("the agent has no ncl: %s", error)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except OSError as error:
            _log.debug("a caller is gone: %s", error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                frame = await reader.readuntil(_END)
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await _pass_over(reader)
                writer.write(_error("TooLarge", f"a call has at most {MAX_FRAME_BYTES} bytes"))
                return
            writer.write(await self._answer(frame.removesuffix(_END)))
            async with asyncio.timeout(self._call_seconds):
                await writer.drain()

    async def _answer(self, frame: bytes) -> bytes:
        problem = _problem(frame)
        if problem:
            return _error("Refused", problem)
        try:
            async with asyncio.timeout(self._call_seconds):
                return await self._ask(frame.decode())
        except TimeoutError:
            return _error("Unavailable", f"nanoclawd did not answer within {self._call_seconds:g} seconds")
        except apsw.Error as error:
            return _error("Unavailable", f"the call could not be handed on: {error}")

    async def _ask(self, frame: str) -> bytes:
        if self._desk is None:
            return _error("Unavailable", "the session is not ready")
        reply = await self._desk.exchange(frame)
        return reply.encode() + _END if reply else _error("Unavailable", "nanoclawd's answer cannot be read")


async def _pass_over(reader: asyncio.StreamReader) -> None:
    """Read the rest of a call that is too long: who is still writing would not see its answer."""
    for _ in range(_MAX_PASSED_OVER):
        piece = await reader.read(MAX_FRAME_BYTES)
        if not piece or piece.endswith(_END):
            return


def _problem(frame: bytes) -> str:
    """Return why a frame is no call that can be handed on, or an empty text."""
    try:
        call = json.loads(frame.decode())
    except (ValueError, RecursionError):
        return "the call is no JSON"
    if not isinstance(call, dict) or not isinstance(call.get("method"), str):
        return "the call names no method"
    if any(call.get(flag) for flag in _FLAGS):
        return "from inside a session each call has one reply: more, oneway and upgrade are not for it"
    return ""


def _error(name: str, message: str) -> bytes:
    reply = {"error": f"io.nanoclaw.{name}", "parameters": {"message": message}}
    return json.dumps(reply).encode() + _END
