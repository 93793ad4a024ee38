"""The loopback channel's socket: its connections, their frames in and events out."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from nanoclawd.channels.loopback.frames import MAX_FRAME_BYTES, Ack, BadFrame, Frame, Message, Watch, parse
from nanoclawd.errors import NanoclawError

log = logging.getLogger(__name__)

_MAX_UNANSWERED: Final = 1000
_MAX_UNREAD_BYTES: Final = 64 * 1024 * 1024


class Connection:
    """One client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self.room = asyncio.Semaphore(_MAX_UNANSWERED)

    def send(self, frame: dict[str, Any]) -> None:
        """Write a frame; a client that reads nothing for long is hung up on."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        # ASCII, so that halves of characters can be spelled.
        self._writer.write(json.dumps(frame).encode() + b"\n")
        if transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            transport.abort()

    def abort(self) -> None:
        """Hang up, whatever the client has not read yet."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Hang up after the client has read what was written."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


class LoopbackServer:
    """Listens while the channel is set up."""

    def __init__(
        self, path: Path, handle: Callable[[Frame], Awaitable[dict[str, Any]]], watched: Callable[[], None]
    ) -> None:
        """Prepare.

        Args:
            path: of the socket.
            handle: carries a frame out and returns what the reply says.
            watched: called when a client has begun to watch.
        """
        self._path = path
        self._handle = handle
        self._watched = watched
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._watchers: set[Connection] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._number = 0
        self._unconfirmed: dict[int, asyncio.Future[Ack | None]] = {}
        self._turns: WeakValueDictionary[tuple[str, str | None], asyncio.Lock] = WeakValueDictionary()

    @property
    def is_watched(self) -> bool:
        """Tell whether a client is there that takes deliveries."""
        return bool(self._watchers)

    async def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_FRAME_BYTES)
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Hang up on all, and listen no more."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._path.unlink(missing_ok=True)
        for connection in self._connections:
            connection.abort()
        self._give_up_if_alone()

    def tell(self, event: dict[str, Any]) -> None:
        """Send an event to whoever watches, without waiting."""
        for watcher in self._watchers:
            watcher.send(event)

    async def ask(self, event: dict[str, Any]) -> Ack | None:
        """Send an event and wait until one client has answered it; None where none is left to do so."""
        if not self._watchers:
            return None
        self._number += 1
        number = self._number
        answer: asyncio.Future[Ack | None] = asyncio.get_running_loop().create_future()
        self._unconfirmed[number] = answer
        try:
            self.tell({**event, "number": number})
            return await answer
        finally:
            del self._unconfirmed[number]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._connections.add(connection)
        try:
            await self._read(connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(connection)
            self._watchers.discard(connection)
            self._give_up_if_alone()
            await connection.close()

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                line = await connection.reader.readuntil(b"\n")
            except asyncio.LimitOverrunError:
                connection.send(_failed(None, "TooLarge", f"a frame has {MAX_FRAME_BYTES} bytes at most"))
                return
            try:
                frame = parse(line)
            except BadFrame as error:
                connection.send(_failed(error.number, "BadFrame", str(error)))
                continue
            if isinstance(frame, Ack):
                self._confirm(frame)
                continue
            if isinstance(frame, Watch):
                self._watchers.add(connection)
                connection.send({"re": frame.id, "ok": True})
                self._watched()
                continue
            await connection.room.acquire()
            task = asyncio.create_task(self._answer(connection, frame))
            self._handlers.add(task)
            task.add_done_callback(self._handlers.discard)

    async def _answer(self, connection: Connection, frame: Frame) -> None:
        try:
            if isinstance(frame, Message):
                # Side by side, but in their order within a chat, as a platform hands its updates in.
                async with self._turns.setdefault((frame.chat, frame.thread), asyncio.Lock()):
                    reply = await self._handle(frame)
            else:
                reply = await self._handle(frame)
            connection.send({"re": frame.id, "ok": True, **reply})
        except NanoclawError as error:
            connection.send(_failed(frame.id, error.code, error.message))
        except Exception as error:
            log.exception("a frame of the loopback channel failed")
            connection.send(_failed(frame.id, "Internal", type(error).__name__))
        finally:
            connection.room.release()

    def _confirm(self, ack: Ack) -> None:
        answer = self._unconfirmed.get(ack.id)
        if answer is not None and not answer.done():
            answer.set_result(ack)

    def _give_up_if_alone(self) -> None:
        """Nobody is left who could confirm: what was told may or may not have been seen."""
        if not self._watchers:
            for answer in self._unconfirmed.values():
                if not answer.done():
                    answer.set_result(None)


def _failed(number: int | None, code: str, message: str) -> dict[str, Any]:
    return {"re": number, "error": {"code": code, "message": message}}
