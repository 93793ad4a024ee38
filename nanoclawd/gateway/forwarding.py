"""A request goes on with a head that was written anew, and its answer comes back, piece by piece."""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

import h11

from nanoclawd.gateway.caller import Caller, Connect
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door import websocket
from nanoclawd.gateway.door.decoding import Undecodable
from nanoclawd.gateway.door.injection import Charged
from nanoclawd.gateway.door.searching import Searching
from nanoclawd.gateway.limits import check_received, check_sent
from nanoclawd.gateway.permit import Permit
from nanoclawd.gateway.secure import Line

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
_UNAUTHORIZED: Final = 401
_HARMLESS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_PROXY_UNAUTHORIZED: Final = 407


class Counted(Protocol):
    """Whoever counts what goes through."""

    sent: int
    received: int
    status: int
    outcome: str


class Asking(Protocol):
    """Whoever asks, by either version of HTTP."""

    @property
    def expects_continue(self) -> bool:
        """Whether a body comes only when the host has said that it wants it."""
        ...

    async def body(self, seconds: float) -> bytes:
        """Return the next piece of the request's body, nothing at its end."""
        ...

    async def send(self, event: h11.Event, seconds: float | None = None, *, more: bool = False) -> None:
        """Send a part of the answer; with the next part where there is more."""
        ...

    async def flush(self, seconds: float | None = None) -> None:
        """Send what waits for the next part."""
        ...


@dataclass(frozen=True, slots=True)
class Onward:
    """Whereto a request goes.

    Attributes:
        wire: connected to the host.
        authority: as the Host header says it.
        permit: allows it.
        idle: seconds after which a side that says nothing, or takes nothing, is given up.
        authorization: of us at a proxy that the wire is connected to; the request says whereto it goes from there.
        may_keep: whether the connection may be used for another request afterwards.
        was_kept: whether it was used for one before.
    """

    wire: Line
    authority: str
    permit: Permit
    idle: float
    authorization: bytes = b""
    may_keep: bool = False
    was_kept: bool = False


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """The host does not take the access token, nothing of its answer went on, and there may be another token."""


class Stale(Exception):  # noqa: N818  # the same
    """The host has closed a kept connection before it heard the request, which can be asked again without harm."""


class ProxyRefused(Exception):  # noqa: N818  # an answer, not a fault
    """The proxy on the way does not take our authorization; nothing of its answer went on."""


class Forwarding:
    """One request and its answer. Redirects are the client's to follow."""

    def __init__(self, caller: Asking, onward: Onward, charged: Charged, counted: Counted) -> None:
        """Prepare.

        Args:
            caller: whose request's head was read.
            onward: whereto it goes.
            charged: the request as it goes on.
            counted: is told what goes through.
        """
        self._caller = caller
        self._permit = onward.permit
        self._wire = onward.wire
        self._authority = onward.authority.encode()
        self._charged = charged
        self._authorization = onward.authorization
        self._counted = counted
        self._idle = onward.idle
        self._onward = onward
        self._has_heard = False
        self._host = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER_HEAD_BYTES)
        self._searching = Searching(charged.needles) if charged.needles else None
        self._method = b""
        self._has_body = False
        self._upgrading: tuple[Caller, bytes] | None = None
        self._failure: Denial | None = None

    async def run(self, request: h11.Request) -> None:
        """Carry both.

        Raises:
            Denial: the host does not answer as one does.
            Refused: ask again, with another token.
            Stale: ask again, by another connection.
            ProxyRefused: the proxy on the way did not take it.
            ConnectionError: either side has gone in the middle of an answer.
            TimeoutError: the caller does not read.
        """
        chunked = any(name == b"transfer-encoding" for name, _ in request.headers)
        self._method = request.method
        self._has_body = chunked or any(name == b"content-length" for name, _ in request.headers)
        headers = [(b"Host", self._authority), *self._charged.headers]
        key = websocket.asked_key(request)
        if isinstance(self._caller, Caller) and self._caller.may_upgrade and key is not None:
            self._upgrading = self._caller, key
            headers = websocket.headers_of_request(headers)
        elif not self._onward.may_keep:
            headers.append((b"Connection", b"close"))
        if chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
        target = self._charged.path.encode()
        if self._authorization:
            headers.append((b"Proxy-Authorization", self._authorization))
            target = b"http://" + self._authority + target
        head = h11.Request(method=request.method, target=target, headers=headers)
        if not self._has_body:
            try:
                await self._tell(head)
                await self._tell(h11.EndOfMessage())
            except ConnectionError:
                self._raise_if_stale()
                raise
            await self._answer()
            return
        await self._tell(head)
        uploading = asyncio.create_task(self._upload())
        try:
            await self._answer()
        except (ConnectionError, Denial):
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            uploading.cancel()
            await asyncio.wait({uploading})  # not itself: its end by this is no cancellation of ours

    @property
    def can_go_on(self) -> bool:
        """Whether the connection to the host can be used for another request."""
        states = self._host.states
        is_over = states[h11.CLIENT] is h11.DONE and states[h11.SERVER] is h11.DONE
        return self._onward.may_keep and is_over and not self._host.trailing_data[0]

    def _raise_if_stale(self) -> None:
        if self._onward.was_kept and not self._has_heard and not self._has_body and self._method in _HARMLESS:
            raise Stale

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
                if event.status_code == _SWITCHING:
                    await self._switch(event)
                    return
                await self._pass_informational(event)
            elif isinstance(event, h11.Response):
                await self._pass_head(event)
            elif isinstance(event, h11.Data):
                self._counted.received += len(event.data)
                check_received(self._permit, self._counted.received)
                await self._pass_body(bytes(event.data))
            else:
                await self._pass_end()
                return

    async def _heard(self) -> object:
        """Return what the host has said next; what the caller can have by then does not wait for it."""
        while (event := self._next()) is h11.NEED_DATA:
            await self._caller.flush(self._idle)
            await self._read()
        return event

    def _next(self) -> object:
        try:
            return self._host.next_event()
        except h11.RemoteProtocolError:
            raise self._broken_off() from None

    async def _read(self) -> None:
        try:
            data = await self._wire.read(self._idle)
            self._has_heard = self._has_heard or bool(data)
            self._host.receive_data(data)
        except TimeoutError:
            raise Denial(504, "timeout", "the host does not answer", outcome="timeout") from None
        except (h11.RemoteProtocolError, ConnectionError):
            raise self._broken_off() from None

    def _broken_off(self) -> Denial:
        self._raise_if_stale()
        words = "the host closed the connection, or its answer is not HTTP"
        return Denial(502, "broke_off", words, outcome="broken")

    async def _pass_informational(self, event: h11.InformationalResponse) -> None:
        if event.status_code == _CONTINUE and self._caller.expects_continue:
            await self._caller.send(h11.InformationalResponse(status_code=_CONTINUE, headers=[]), self._idle)

    async def _switch(self, event: h11.InformationalResponse) -> None:
        if self._upgrading is None or not websocket.is_agreed(event, self._upgrading[1]):
            raise Denial(502, "broke_off", "the host changes to another protocol unasked", outcome="broken")
        caller, _ = self._upgrading
        headers = [*self._seen(event), (b"Connection", b"Upgrade"), (b"Upgrade", websocket.WEBSOCKET)]
        if self._searching is not None:
            headers = self._searching.headers(headers)
        self._counted.status = event.status_code
        await caller.send(h11.InformationalResponse(status_code=event.status_code, headers=headers), self._idle)
        upgraded = websocket.Upgraded(self._permit, self._charged.needles, self._idle)
        early = (caller.http.trailing_data[0], self._host.trailing_data[0])
        try:
            await upgraded.run(caller.wire, self._wire, early)
        finally:
            self._counted.sent, self._counted.received = upgraded.carried.sent, upgraded.carried.received
        self._counted.outcome = upgraded.carried.outcome
        if upgraded.carried.outcome in ("withdrawn", "too_large"):
            caller.wire.abort()

    def _seen(self, event: h11.Response | h11.InformationalResponse) -> list[tuple[bytes, bytes]]:
        """Return a head's headers that go on.

        Raises:
            Denial: there are too many.
        """
        if len(event.headers) > MAX_ANSWER_HEADERS:
            raise Denial(502, "broke_off", "the host's answer has too many headers", outcome="broken")
        if sum(len(name) + len(value) for name, value in event.headers) > MAX_ANSWER_HEAD_BYTES:
            raise Denial(502, "broke_off", "the host's answer has too large a head", outcome="broken")
        chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
        return [pair for pair in cleaned(event) if not (chunked and pair[0].lower() == b"content-length")]

    async def _pass_head(self, event: h11.Response) -> None:
        headers, reason = self._seen(event), bytes(event.reason)
        if self._authorization and event.status_code == _PROXY_UNAUTHORIZED:
            # What is between us and the proxy is none of the agent's business.
            raise ProxyRefused
        renew = self._charged.renew if event.status_code == _UNAUTHORIZED else None
        if renew is not None and renew() and not self._has_body:
            raise Refused
        chunked = any(name == b"transfer-encoding" for name, _ in event.headers)
        if not chunked and self._method != b"HEAD" and event.status_code != _NOT_MODIFIED:
            check_received(self._permit, announced(event))
        self._counted.status = event.status_code
        if self._searching is not None:
            try:
                reason, headers = self._searching.head(self._method, event, headers)
            except Undecodable as error:
                raise Denial(502, "encoded_answer", str(error), outcome="broken") from None
        head = h11.Response(status_code=event.status_code, headers=headers, reason=reason)
        await self._caller.send(head, self._idle, more=True)

    async def _pass_body(self, data: bytes) -> None:
        if self._searching is None:
            await self._caller.send(h11.Data(data=data), self._idle, more=True)
            return
        try:
            for piece in self._searching.body(data):
                await self._caller.send(h11.Data(data=piece), self._idle)
                await asyncio.sleep(0)  # a small piece may unpack to a large one, and others want to be served
        except Undecodable as error:
            raise Denial(502, "encoded_answer", str(error), outcome="broken") from None

    async def _pass_end(self) -> None:
        if self._searching is not None:
            try:
                rest = self._searching.end()
            except Undecodable as error:
                raise Denial(502, "encoded_answer", str(error), outcome="broken") from None
            if rest:
                await self._caller.send(h11.Data(data=rest), self._idle)
        await self._caller.send(h11.EndOfMessage(), self._idle)  # what a host says behind its body ends here
        self._counted.outcome = "answered"


def announced(event: h11.Request | Connect | h11.Response) -> int:
    """Return the length that a head announces for its body; 0 where it has none."""
    return next((int(value) for name, value in event.headers if name == b"content-length"), 0)


def cleaned(event: h11.Request | h11.Response | h11.InformationalResponse) -> list[tuple[bytes, bytes]]:
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
