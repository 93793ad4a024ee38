"""Plain http: a request goes on with a head that was written anew, and its answer comes back, piece by piece."""

import asyncio
import contextlib
from typing import Final, Protocol

import h11

from nanoclawd.gateway.caller import Caller
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.limits import check_received, check_sent
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.wire import Wire

MAX_ANSWER_HEAD_BYTES: Final = 64 * 1024
MAX_ANSWER_HEADERS: Final = 250

# Those of one connection (RFC 9110, 7.6.1), and what is written anew.
_OF_ONE_HOP: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"http2-settings"),
        b"host",
    }
)
_CONTINUE: Final = 100
_SWITCHING: Final = 101
_NOT_MODIFIED: Final = 304


class Counted(Protocol):
    """Whoever counts what goes through."""

    sent: int
    received: int
    status: int
    outcome: str


class Forwarding:
    """One request and its answer. Redirects are the client's to follow."""

    def __init__(self, caller: Caller, permit: Permit, wire: Wire, counted: Counted, idle: float) -> None:
        """Prepare.

        Args:
            caller: whose request's head was read.
            permit: allows it.
            wire: connected to the host.
            counted: is told what goes through.
            idle: seconds after which a side that says nothing, or takes nothing, is given up.
        """
        self._caller = caller
        self._permit = permit
        self._wire = wire
        self._counted = counted
        self._idle = idle
        self._host = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER_HEAD_BYTES)
        self._failure: Denial | None = None

    async def run(self, request: h11.Request) -> None:
        """Carry both.

        Raises:
            Denial: the host does not answer as one does.
            ConnectionError: either side has gone in the middle of an answer.
            TimeoutError: the caller does not read.
        """
        asked = self._permit.asked
        headers = [(b"Host", asked.target.authority.encode()), *cleaned(request), (b"Connection", b"close")]
        chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        if chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
        await self._tell(h11.Request(method=request.method, target=(asked.path or "/").encode(), headers=headers))
        if not chunked and not any(name == b"content-length" for name, _ in request.headers):
            await self._caller.body(self._idle)  # says that there is none
            await self._tell(h11.EndOfMessage())
            await self._answer()
            return
        uploading = asyncio.create_task(self._upload())
        try:
            await self._answer()
        except (ConnectionError, Denial):
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            uploading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await uploading

    async def _tell(self, event: h11.Event) -> None:
        if data := self._host.send(event):
            await self._wire.write(data, self._idle)

    async def _upload(self) -> None:
        """Carry the request's body; what goes wrong with it is remembered, and ends the connection."""
        try:
            while piece := await self._caller.body(self._idle):
                if not self._permit.holds():
                    raise _withdrawn()
                self._counted.sent += len(piece)
                check_sent(self._permit, self._counted.sent)
                await self._tell(h11.Data(data=piece))
            await self._tell(h11.EndOfMessage())
        except ConnectionError:
            # A host that has heard enough may have answered before it closed: the answer's reader finds out.
            return
        except TimeoutError:
            self._failure = Denial(408, "request_timeout", "the body stopped coming, or the host takes no more of it")
            self._wire.abort()
        except Denial as denial:
            self._failure = denial
            self._wire.abort()

    async def _answer(self) -> None:
        while True:
            event = await self._heard()
            if not self._permit.holds():
                raise _withdrawn()
            if isinstance(event, h11.InformationalResponse):
                await self._pass_informational(event)
            elif isinstance(event, h11.Response):
                await self._pass_head(event)
            elif isinstance(event, h11.Data):
                self._counted.received += len(event.data)
                check_received(self._permit, self._counted.received)
                await self._caller.send(h11.Data(data=event.data), self._idle)
            else:
                await self._caller.send(h11.EndOfMessage(), self._idle)
                self._counted.outcome = "answered"
                return

    async def _heard(self) -> object:
        """Return what the host has said next."""
        try:
            while (event := self._host.next_event()) is h11.NEED_DATA:
                self._host.receive_data(await self._wire.read(self._idle))
        except TimeoutError:
            raise Denial(504, "timeout", "the host does not answer", outcome="timeout") from None
        except h11.RemoteProtocolError:
            words = "the host closed the connection, or its answer is not HTTP"
            raise Denial(502, "broke_off", words, outcome="broken") from None
        return event

    async def _pass_informational(self, event: h11.InformationalResponse) -> None:
        if event.status_code == _SWITCHING:
            raise Denial(502, "broke_off", "the host changes to another protocol unasked", outcome="broken")
        if event.status_code == _CONTINUE and self._caller.http.they_are_waiting_for_100_continue:
            await self._caller.send(h11.InformationalResponse(status_code=_CONTINUE, headers=[]), self._idle)

    async def _pass_head(self, event: h11.Response) -> None:
        if len(event.headers) > MAX_ANSWER_HEADERS:
            raise Denial(502, "broke_off", "the host's answer has too many headers", outcome="broken")
        if sum(len(name) + len(value) for name, value in event.headers) > MAX_ANSWER_HEAD_BYTES:
            raise Denial(502, "broke_off", "the host's answer has too large a head", outcome="broken")
        self._counted.status = event.status_code
        chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
        if not chunked and self._permit.asked.method != "HEAD" and event.status_code != _NOT_MODIFIED:
            check_received(self._permit, announced(event))
        headers = [pair for pair in cleaned(event) if not (chunked and pair[0].lower() == b"content-length")]
        head = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        await self._caller.send(head, self._idle)


def announced(event: h11.Request | h11.Response) -> int:
    """Return the length that a head announces for its body; 0 where it has none."""
    return next((int(value) for name, value in event.headers if name == b"content-length"), 0)


def cleaned(event: h11.Request | h11.Response) -> list[tuple[bytes, bytes]]:
    """Return the headers that are for the other side, as they were written."""
    named = {
        word.strip().lower() for name, value in event.headers if name == b"connection" for word in value.split(b",")
    }
    # A request's length is what its body is counted by, whatever a Connection header says of it.
    left_out = _OF_ONE_HOP | (named - {b"content-length"})
    pairs = ((bytes(name), bytes(value)) for name, value in event.headers.raw_items())
    # A host's Proxy-Status would be taken for ours.
    return [
        (name, value)
        for name, value in pairs
        if name.lower() not in left_out and not name.lower().startswith(b"proxy-")
    ]


def _withdrawn() -> Denial:
    return Denial(403, "egress_denied", "the permission has ended meanwhile", outcome="withdrawn")
