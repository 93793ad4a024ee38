"""HTTP/2 on the agent's side: each stream becomes one request as HTTP/1.1 would have it, judged and carried alike.

The host is spoken to in HTTP/1.1. What a flood of frames could cost is bounded: streams at once, of a connection and of
a group; bytes that wait for a host; frames that carry nothing.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import h11

from nanoclawd.gateway.caller import KEEP_ALIVE_SECONDS, MAX_HEAD_BYTES
from nanoclawd.gateway.denials import Denial, malformed
from nanoclawd.gateway.door.http2_heads import OF_ONE_HOP, request_of
from nanoclawd.gateway.secure import SecureWire

MAX_STREAMS: Final = 64
MAX_OF_THE_UNTOLD: Final = 1000
MAX_STREAMS_OF_GROUP: Final = 256
STREAM_WINDOW_BYTES: Final = 64 * 1024
CONNECTION_WINDOW_BYTES: Final = 256 * 1024
"""What agents may send before a host has taken it, of all streams of a connection together."""

FRAME_BYTES: Final = 16_384
TABLE_BYTES: Final = 4096
"""Of heads that were sent, to compress the next ones by."""

FRAMES_AT_ONCE: Final = 2000
FRAMES_PER_SECOND: Final = 200.0
"""Of frames that carry nothing: pings, settings, resets, priorities, empty data."""

_WRITE_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 8192
_LENGTH_BYTES: Final = 3
_CODES: Final = h2.errors.ErrorCodes
_KNOWN_SETTINGS: Final = frozenset(map(int, h2.settings.SettingCodes))

log = logging.getLogger(__name__)


class Resting(Protocol):
    """Told whether a connection has requests."""

    def __call__(self, *, idle: bool) -> None:
        """Take note."""


class GroupStreams:
    """Counts the streams of each group."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def of(self, group: str) -> "GroupCount":
        """Return a group's count."""
        return GroupCount(self._open, group)


class GroupCount:
    """One group's streams."""

    def __init__(self, counts: Counter[str], group: str) -> None:
        self._counts = counts
        self._group = group

    def enter(self) -> bool:
        """Count one in; False where there are too many."""
        if self._counts[self._group] >= MAX_STREAMS_OF_GROUP:
            return False
        self._counts[self._group] += 1
        return True

    def leave(self) -> None:
        """Count one out."""
        self._counts[self._group] -= 1
        if not self._counts[self._group]:
            del self._counts[self._group]


class StreamCaller:
    """One stream, used like a connection of HTTP/1.1 with one request."""

    def __init__(self, streams: "Streams", number: int, *, ended: bool) -> None:
        self.ended = ended
        self.news = asyncio.Event()
        # One piece, however many frames it came in: a frame for each byte would cost a hundred times its window.
        self._arrived = bytearray()
        self._counted = 0
        self._taken = 0
        self._announced: int | None = None
        self._streams = streams
        self._number = number
        self._has_begun = False
        self._is_over = False

    @property
    def expects_continue(self) -> bool:
        """In HTTP/2 a body comes when there is a window for it."""
        return False

    async def body(self, seconds: float) -> bytes:
        """Return the next piece of the request's body, nothing at its end.

        Raises:
            Denial: it is shorter than was announced.
            TimeoutError: it stopped coming.
        """
        async with asyncio.timeout(seconds):
            while not self._arrived and not self.ended:
                self.news.clear()
                await self.news.wait()
        if not self._arrived:
            if self._announced not in (None, self._taken):
                raise malformed("the request's body is not as long as its Content-Length says")
            return b""
        data, counted = bytes(self._arrived), self._counted
        self._arrived.clear()
        self._counted, self._taken = 0, self._taken + len(data)
        self._streams.http.acknowledge_received_data(counted, self._number)
        await self._streams.flush(seconds)
        return data

    def arrive(self, data: bytes, counted: int) -> None:
        """Keep a piece of the request's body, for which the caller's window has shrunk by so many bytes."""
        self._arrived += data
        self._counted += counted
        self.news.set()

    def announce(self, request: h11.Request) -> None:
        """Take note of how long the request's body is to be."""
        self._announced = next((int(value) for name, value in request.headers if name == b"content-length"), None)

    async def preview(self, most: int, seconds: float) -> bytes:
        """Return the beginning of the request's body, which :meth:`body` returns all the same.

        Args:
            most: bytes.
            seconds: for all of it.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.ended and len(self._arrived) < most:
                    self.news.clear()
                    await self.news.wait()
        return bytes(self._arrived[:most])

    async def send(self, event: h11.Event, seconds: float | None = None, *, more: bool = False) -> None:
        """Send a part of the answer.

        Args:
            event: the part.
            seconds: within which the caller has to take it.
            more: the next part takes this one along, unless :meth:`flush` comes before.

        Raises:
            ConnectionResetError: the caller is gone.
            TimeoutError: the caller does not read.
        """
        http = self._streams.http
        with _reset_if_gone():
            if isinstance(event, h11.Response):
                head = [(b":status", str(event.status_code).encode())]
                head += [(bytes(name), bytes(value)) for name, value in event.headers if name not in OF_ONE_HOP]
                self._has_begun = True
                http.send_headers(self._number, head)
            elif isinstance(event, h11.Data):
                await self._send_data(bytes(event.data), seconds)
            elif isinstance(event, h11.EndOfMessage):
                self._is_over = True
                http.end_stream(self._number)
        if not more:
            await self.flush(seconds)

    async def flush(self, seconds: float | None = None) -> None:
        """Send what waits for the next part; the errors are those of :meth:`send`."""
        await self._streams.flush(seconds)

    async def deny(self, denial: Denial, accept: bytes) -> None:
        """Answer with a refusal, or end the stream where an answer has begun."""
        if self._has_begun:
            self.reset(_CODES.INTERNAL_ERROR)
            await self._streams.flush(_WRITE_SECONDS)
            return
        headers, _, body = denial.head_and_body(accept)
        await self.send(h11.Response(status_code=denial.status, headers=headers), _WRITE_SECONDS)
        await self.send(h11.Data(data=body), _WRITE_SECONDS)
        await self.send(h11.EndOfMessage(), _WRITE_SECONDS)

    def reset(self, code: h2.errors.ErrorCodes) -> None:
        """End the stream, where it has not ended."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._streams.http.reset_stream(self._number, code)

    def finish(self) -> None:
        """Be done with it: what was not read is given back, and what was not answered is ended."""
        if self._counted:
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self._streams.http.acknowledge_received_data(self._counted, self._number)
        self._arrived.clear()
        self._counted = 0
        if not self._is_over:
            self.reset(_CODES.INTERNAL_ERROR)
        elif not self.ended:
            self.reset(_CODES.NO_ERROR)  # the rest of the body is not wanted (RFC 9113, 8.1)

    async def _send_data(self, data: bytes, seconds: float | None) -> None:
        http = self._streams.http
        view = memoryview(data)
        while view:
            room = min(http.local_flow_control_window(self._number), http.max_outbound_frame_size)
            if room <= 0:
                async with asyncio.timeout(seconds):
                    self.news.clear()
                    await self.news.wait()
                continue
            http.send_data(self._number, bytes(view[:room]))
            view = view[room:]
            self._streams.earn()
            await self._streams.flush(seconds)


class _Connection(h2.connection.H2Connection):
    """What the library keeps for a connection is bounded by us, and not by the other side."""

    DEFAULT_MAX_HEADER_LIST_SIZE = MAX_HEAD_BYTES
    MAX_CLOSED_STREAMS = 16 * MAX_STREAMS
    """Of those that ended last the library knows how, for the frames that cross."""

    def __init__(self, config: h2.config.H2Configuration) -> None:
        super().__init__(config)
        # Letters as they are: to pack those of a large head takes the library a second, and time by the square of them.
        self.encoder.encode = partial(self.encoder.encode, huffman=False)
        self.silent = 0

    def forget_offers(self, changed: Iterable[int]) -> None:
        """Keep little of what the other side's settings offer.

        That is a table of 4 GiB to compress our heads by, and 65,536 settings of which nobody knows what they mean.
        """
        self.encoder.header_table_size = min(self.encoder.header_table_size, TABLE_BYTES)
        sizes = self.encoder.table_size_changes
        sizes[:] = [min(sizes), sizes[-1]] if len(sizes) > 1 else sizes  # all that has to be said (RFC 7541, 4.2)
        for code in changed:
            if code not in _KNOWN_SETTINGS and code in self.remote_settings:
                del self.remote_settings[code]

    def _receive_frame(self, frame: Any) -> list[h2.events.Event]:
        events = super()._receive_frame(frame)
        self.silent += not events  # such as a reset of what has ended: it is a frame like others
        return events


type Handling = Callable[[StreamCaller, h11.Request], Awaitable[None]]
type Refusing = Callable[[StreamCaller, Denial], Awaitable[None]]


class Streams:
    """One connection."""

    def __init__(
        self, secure: SecureWire, count: GroupCount, handle: Handling, refuse: Refusing, resting: Resting
    ) -> None:
        """Prepare.

        Args:
            secure: both sides have agreed to speak HTTP/2 on it.
            count: of the group's streams.
            handle: answers a request.
            refuse: answers what can't be read as one.
            resting: is told whether the connection has requests.
        """
        self.http = _Connection(h2.config.H2Configuration(client_side=False, header_encoding=None, logger=None))
        self._secure = secure
        self._count = count
        self._handle = handle
        self._refuse = refuse
        self._resting = resting
        self._callers: dict[int, StreamCaller] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._frames = float(FRAMES_AT_ONCE)
        self._at = asyncio.get_running_loop().time()

    async def serve(self) -> None:
        """Serve until the end of the connection.

        Raises:
            ConnectionError: it ended early.
            TimeoutError: the other side does not read.
        """
        self.http.local_settings = _settings(MAX_STREAMS)
        self.http.initiate_connection()
        # Who has not heard yet how many there may be has some refused, and not the whole connection.
        self.http.local_settings = _settings(MAX_OF_THE_UNTOLD)
        self.http.increment_flow_control_window(CONNECTION_WINDOW_BYTES - 65_535)
        try:
            await self.flush(_WRITE_SECONDS)
            await self._read()
        except h2.exceptions.ProtocolError:
            await self.flush(_WRITE_SECONDS)  # says so
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def flush(self, seconds: float | None = None) -> None:
        """Send what is to be sent."""
        if data := self.http.data_to_send():
            await self._secure.write(data, seconds)

    def earn(self) -> None:
        """Allow the caller some more frames: data was sent, which windows are given for."""
        self._frames = min(FRAMES_AT_ONCE, self._frames + 2)

    async def _read(self) -> None:
        while True:
            self._resting(idle=not self._tasks)
            try:
                data = await self._secure.read(KEEP_ALIVE_SECONDS)
            except TimeoutError:
                if self._tasks:
                    continue
                self.http.close_connection()
                await self.flush(_WRITE_SECONDS)
                return
            if not data:
                return
            # In small pieces: seven thousand frames fit into what can come at once, and others want to be served.
            for at in range(0, len(data), _PIECE_BYTES):
                if not self._heard(data[at : at + _PIECE_BYTES]):
                    await self.flush(_WRITE_SECONDS)
                    return
                await self.flush(_WRITE_SECONDS)
                await asyncio.sleep(0)

    def _heard(self, data: bytes) -> bool:
        """Do what frames ask for; False where the connection ends with them."""
        events = self.http.receive_data(data)
        silent, self.http.silent = self.http.silent, 0
        if not all(map(self._take, events)) or (silent and not self._spend(silent)):
            self.http.close_connection(_CODES.ENHANCE_YOUR_CALM)
            return False
        if self._waits_for_too_much():
            self.http.close_connection(_CODES.FRAME_SIZE_ERROR)
            return False
        return True

    def _waits_for_too_much(self) -> bool:
        """Tell whether a frame is too large; the library would first wait for all of it, up to 16 MiB."""
        begun = self.http.incoming_buffer.data
        return len(begun) >= _LENGTH_BYTES and int.from_bytes(begun[:_LENGTH_BYTES]) > FRAME_BYTES

    def _take(self, event: h2.events.Event) -> bool:
        """Do what a frame asks for; False where there are too many of its kind."""
        if isinstance(event, h2.events.RequestReceived):
            self._begin(event)
            return self._spend()
        if isinstance(event, h2.events.DataReceived):
            return self._take_data(event)
        if isinstance(event, h2.events.StreamEnded):
            if (caller := self._callers.get(_number(event))) is not None:
                caller.ended = True
                caller.news.set()
            return True
        if isinstance(event, h2.events.StreamReset):
            if (task := self._tasks.get(_number(event))) is not None:
                task.cancel()
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self._let_go_on(event)
        elif isinstance(event, h2.events.ConnectionTerminated):
            return True
        return self._spend()

    def _let_go_on(self, event: h2.events.WindowUpdated | h2.events.RemoteSettingsChanged) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.http.forget_offers(event.changed_settings)
        for caller in self._callers.values():
            caller.news.set()

    def _spend(self, count: int = 1) -> bool:
        now = asyncio.get_running_loop().time()
        self._frames = min(FRAMES_AT_ONCE, self._frames + (now - self._at) * FRAMES_PER_SECOND) - count
        self._at = now
        return self._frames > 0

    def _take_data(self, event: h2.events.DataReceived) -> bool:
        number, counted = _number(event), event.flow_controlled_length or 0
        caller = self._callers.get(number)
        if caller is None:
            # Nobody listens any more; the connection's window is others', too.
            with contextlib.suppress(h2.exceptions.ProtocolError):
                self.http.acknowledge_received_data(counted, number)
        elif event.data:
            caller.arrive(event.data, counted)
            return True
        elif counted:
            self.http.acknowledge_received_data(counted, number)
        return self._spend()

    def _begin(self, event: h2.events.RequestReceived) -> None:
        number = _number(event)
        if len(self._callers) >= MAX_STREAMS or not self._count.enter():
            self.http.reset_stream(number, _CODES.REFUSED_STREAM)
            return
        ended = event.stream_ended is not None
        caller = self._callers[number] = StreamCaller(self, number, ended=ended)
        task = asyncio.create_task(self._serve_one(caller, list(event.headers or ()), ended=ended))
        self._tasks[number] = task
        # Not at the end of what it does: a task that is cancelled before it begins does nothing at all.
        task.add_done_callback(lambda _task: self._over(number))

    def _over(self, number: int) -> None:
        del self._callers[number], self._tasks[number]
        self._count.leave()
        self._resting(idle=not self._tasks)

    async def _serve_one(self, caller: StreamCaller, headers: list[Any], *, ended: bool) -> None:
        try:
            try:
                request = request_of(headers, has_body=not ended)
                caller.announce(request)
            except Denial as denial:
                await self._refuse(caller, denial)
            else:
                await self._handle(caller, request)
        except (ConnectionError, TimeoutError, h2.exceptions.ProtocolError):
            log.debug("a stream ended early")
        finally:
            caller.finish()
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self.flush(_WRITE_SECONDS)


def _settings(streams: int) -> h2.settings.Settings:
    codes = h2.settings.SettingCodes
    return h2.settings.Settings(
        client=False,
        initial_values={
            codes.MAX_CONCURRENT_STREAMS: streams,
            codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
            codes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES,
            codes.MAX_FRAME_SIZE: FRAME_BYTES,
            codes.ENABLE_CONNECT_PROTOCOL: 0,
        },
    )


def _number(event: Any) -> int:
    """Return the stream that an event is about."""
    return int(event.stream_id)


def _reset_if_gone() -> "_ResetIfGone":
    return _ResetIfGone()


class _ResetIfGone(contextlib.AbstractContextManager[None]):
    """Has a stream that is closed look like a connection that is."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, h2.exceptions.StreamClosedError | h2.exceptions.ProtocolError):
            raise ConnectionResetError("the caller is gone") from error
