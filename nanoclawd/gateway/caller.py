"""An agent's connection to the way out, read by h11: one request at a time, each with a bound on everything."""

import asyncio
import contextlib
import re
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import h11

from nanoclawd.gateway.denials import Denial, malformed
from nanoclawd.gateway.secure import Line

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
HEAD_SECONDS: Final = 30.0
"""A request's head that has begun has to be there after this."""

KEEP_ALIVE_SECONDS: Final = 15.0
LINGERING_SECONDS: Final = 1.0
_MAX_LINGERING_BYTES: Final = 1024 * 1024
_MAX_LINGERING_SECONDS: Final = 10.0
# A line that ends in LF alone, or a CR within one, is read in different ways by different programs.
_ODD_LINE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_FOLDED_LINE: Final = re.compile(rb"\n[ \t]")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_LENGTH_DIGITS: Final = 18
_VERSIONS: Final = frozenset({b"1.0", b"1.1"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
# One form of CONNECT, in which most programs write it: nothing in it can be read in two ways, and no more than this.
_PLAIN_CONNECT: Final = re.compile(
    rb"CONNECT ([!-~]{1,300}) HTTP/1\.1\r\n((?:[A-Za-z][A-Za-z-]{0,63}: [!-~](?:[ -~]{0,998}[!-~])?\r\n){1,20})\r\n"
)
_PLAIN_HEADER: Final = re.compile(rb"([A-Za-z-]+): ([ -~]+)\r\n")

type Event = type[h11.NEED_DATA | h11.PAUSED] | h11.Event


@dataclass(frozen=True, slots=True)
class Connect:
    """The head of a CONNECT, as h11 would tell it."""

    target: bytes
    headers: list[tuple[bytes, bytes]]
    method: bytes = b"CONNECT"


def plain_connect(data: bytes) -> tuple[Connect, int] | None:
    """Read a CONNECT that is written in the usual form; h11 reads all others, and says what is wrong with them.

    A new connection to a host begins with this, and nothing of HTTP comes behind it: a state machine of requests,
    bodies and answers would take longer than all else that is done before the tunnel is open.

    Args:
        data: what a connection begins with.

    Returns:
        The head and its length, None where it is not in that form or not there as a whole.
    """
    found = _PLAIN_CONNECT.match(data)
    if found is None:
        return None
    headers = [(name.lower(), value) for name, value in _PLAIN_HEADER.findall(found[2])]
    names = [name for name, _ in headers]
    if names.count(b"host") != 1 or not _FRAMING.isdisjoint(names):
        return None
    return Connect(found[1], headers), found.end()


class Caller:
    """The agent's side.

    Attributes:
        wire: carries it.
        may_upgrade: whether a request may become a WebSocket.
    """

    def __init__(self, wire: Line, *, may_upgrade: bool = False) -> None:
        self.wire = wire
        self.may_upgrade = may_upgrade
        self._ahead: deque[bytes] = deque()
        self._connect = self._early = b""
        self._is_new = True
        self._held = b""
        self._is_tunnel = False

    @cached_property
    def http(self) -> h11.Connection:
        """What was said on the connection, as h11 sees it."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        if self._connect:
            http.receive_data(self._connect)
            http.next_event()
        return http

    async def request(self) -> h11.Request | Connect | None:
        """Return the next request's head, None where there is none any more.

        Raises:
            Denial: it can't be read, or not in one way only.
            TimeoutError: it does not come.
        """
        if not self._is_new:
            return await self._request(self.http.trailing_data[0])
        self._is_new = False
        data = await self.wire.read(KEEP_ALIVE_SECONDS)
        found = plain_connect(data)
        if found is None:
            self.http.receive_data(data)
            return await self._request(data)
        connect, length = found
        self._connect, self._early = data[:length], data[length:]
        return connect

    async def _request(self, begun: bytes) -> h11.Request | None:
        head = bytearray(begun)
        if not head:
            head += await self._read(KEEP_ALIVE_SECONDS)
        async with asyncio.timeout(HEAD_SECONDS):
            while (event := self._next()) is h11.NEED_DATA:
                head += await self._read()
        if not isinstance(event, h11.Request):
            return None
        _check(event, bytes(head))
        return event

    async def _read(self, seconds: float | None = None) -> bytes:
        data = await self.wire.read(seconds)
        self.http.receive_data(data)
        return data

    @property
    def expects_continue(self) -> bool:
        """Whether a body comes only when the host has said that it wants it."""
        return self.http.they_are_waiting_for_100_continue

    async def body(self, seconds: float) -> bytes:
        """Return the next piece of the request's body, nothing at its end.

        Raises:
            Denial: it can't be read.
            TimeoutError: it stopped coming.
            ConnectionResetError: the caller has gone in the middle of it.
        """
        if self._ahead:
            return self._ahead.popleft()
        return await self._piece(seconds)

    async def preview(self, most: int, seconds: float) -> bytes:
        """Return the beginning of the request's body, which :meth:`body` returns all the same.

        A body that waits to be told to come is not told so, and of one that does not come soon there is none.

        Args:
            most: bytes; one piece more than these may be kept.
            seconds: for all of it.

        Raises:
            Denial: it can't be read.
            ConnectionResetError: the caller has gone in the middle of it.
        """
        if self.expects_continue:
            return b""
        begun = b"".join(self._ahead)
        is_over = bool(self._ahead) and not self._ahead[-1]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(begun) < most and not is_over:
                    piece = await self._piece(None)
                    self._ahead.append(piece)
                    is_over = not piece
                    begun += piece
        return begun[:most]

    async def _piece(self, seconds: float | None) -> bytes:
        while True:
            event = self._next()
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
                continue
            if event is not h11.NEED_DATA:
                return b""
            data = await self.wire.read(seconds)
            if not data:
                raise ConnectionResetError("the caller has gone")
            self.http.receive_data(data)

    async def send(self, event: h11.Event, seconds: float | None = None, *, more: bool = False) -> None:
        """Send a part of the answer.

        Args:
            event: the part.
            seconds: within which the caller has to take it.
            more: the next part takes this one along, unless :meth:`flush` comes before: who is woken once is
                served sooner.

        Raises:
            ConnectionResetError: the caller is gone.
            TimeoutError: the caller does not read.
        """
        self._held += self.http.send(event) or b""
        if not more:
            await self.flush(seconds)

    async def flush(self, seconds: float | None = None) -> None:
        """Send what waits for the next part; the errors are those of :meth:`send`."""
        if self._held:
            data, self._held = self._held, b""
            await self.wire.write(data, seconds)

    async def open_tunnel(self) -> bytes:
        """Answer that the tunnel is open, and return what the caller has sent into it already.

        Nothing of HTTP is read from the connection, or sent on it, any more.

        Raises:
            ConnectionResetError: the caller is gone.
        """
        self._is_tunnel = True
        await self.wire.write(_ESTABLISHED)
        return self._early if self._connect else bytes(self.http.trailing_data[0])

    async def deny(self, denial: Denial, accept: bytes) -> None:
        """Answer with a refusal, where no answer has begun, and be done with the connection."""
        if self._is_tunnel or self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.wire.abort()
            return
        headers, reason, body = denial.head_and_body(accept)
        await self.send(h11.Response(status_code=denial.status, headers=headers, reason=reason), LINGERING_SECONDS)
        await self.send(h11.Data(data=body), LINGERING_SECONDS)
        await self.send(h11.EndOfMessage(), LINGERING_SECONDS)

    def next_cycle(self) -> bool:
        """Be ready for another request; False where there can't be one."""
        if self.http.our_state is h11.DONE and self.http.their_state is h11.DONE:
            self.http.start_next_cycle()
            return True
        return False

    @property
    def is_unheard(self) -> bool:
        """Whether more of a request is on its way than was read."""
        if self._is_tunnel:
            return False
        if self.http.their_state is h11.SEND_BODY:
            with contextlib.suppress(h11.RemoteProtocolError):
                self.http.next_event()  # of a request without a body: its end
        return not self.wire.ended and self.http.their_state in (h11.SEND_BODY, h11.ERROR)

    async def linger(self) -> None:
        """Read away what still comes, for a moment: closing at once could take the answer back."""
        read = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MAX_LINGERING_SECONDS):
                while read < _MAX_LINGERING_BYTES and (data := await self.wire.read(LINGERING_SECONDS)):
                    read += len(data)

    def _next(self) -> Event:
        try:
            return self.http.next_event()
        except h11.RemoteProtocolError as error:
            raise malformed(f"the request cannot be read: {error}", error.error_status_hint) from None


def _check(request: h11.Request, head: bytes) -> None:
    """Refuse what h11 takes, and others would take for something else.

    Raises:
        Denial: it is such a request.
    """
    end = _END_OF_HEAD.search(head)
    length = end.end() if end else len(head)
    if length > MAX_HEAD_BYTES:  # h11 bounds only what comes in several pieces
        raise malformed("the request's head is too large", 431)
    if _ODD_LINE.search(head[:length]):
        raise malformed("a line of the request's head does not end in CR LF")
    if _FOLDED_LINE.search(head[:length]):
        raise malformed("a header goes over several lines")
    check_headers(request)


def check_headers(request: h11.Request) -> None:
    """Refuse headers that others would take for something else than h11 does.

    Raises:
        Denial: there are some.
    """
    if any(_CONTROL.search(value) for _, value in request.headers):
        raise malformed("a header has a control character in it")
    if request.http_version not in _VERSIONS:
        raise malformed("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if len(request.headers) > MAX_HEADERS:
        raise malformed(f"more than {MAX_HEADERS} headers", 431)
    _check_framing(request)


def _check_framing(request: h11.Request) -> None:
    """Refuse a request of which others might not see where its body ends.

    Raises:
        Denial: it is such a request.
    """
    names = [name for name, _ in request.headers]
    if any(name.replace(b"_", b"-") in _FRAMING for name in names if b"_" in name):
        # Behind CGI, and in what learned from it, an underscore is a dash.
        raise malformed("a header's name looks like that of one that says where the body ends")
    if any(len(value) > _MAX_LENGTH_DIGITS for name, value in request.headers if name == b"content-length"):
        raise malformed("nothing is as long as this Content-Length")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise malformed("Content-Length and Transfer-Encoding contradict each other")
    if b"transfer-encoding" in names and request.http_version < b"1.1":
        raise malformed("HTTP/1.0 knows no Transfer-Encoding")
