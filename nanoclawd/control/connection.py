"""One connection: calls in, in their order; replies out."""

import asyncio
import contextlib
import logging
from typing import Any

from nanoclawd.control.api import ClientGone
from nanoclawd.control.calls import (
    Call,
    InvalidParameterError,
    decode_call,
    decode_parameters,
    encode_error,
    encode_reply,
)
from nanoclawd.control.faults import told
from nanoclawd.control.introspection import Introspection
from nanoclawd.control.methods import Methods, Streaming, Unary
from nanoclawd.control.values import Peer
from nanoclawd.control.wire import FrameError, Wire

_INVALID_PARAMETER = "org.varlink.service.InvalidParameter"
_EXPECTED_MORE = "org.varlink.service.ExpectedMore"

log = logging.getLogger(__name__)


class _Replies:
    """Replies of one streaming call (methods.Replies)."""

    def __init__(self, wire: Wire, *, oneway: bool) -> None:
        self._wire = wire
        self._silent = oneway

    async def send(self, parameters: object, *, last: bool = False) -> None:
        if not self._silent:
            await self._wire.send(encode_reply(parameters, continues=not last))

    def send_now(self, parameters: object) -> bool:
        return self._silent or self._wire.send_now(encode_reply(parameters, continues=True))


class Connection:
    """Serves one client until it leaves or breaks a bound."""

    def __init__(self, wire: Wire, peer: Peer, methods: Methods, introspection: Introspection) -> None:
        self._wire = wire
        self._peer = peer
        self._methods = methods
        self._introspection = introspection

    async def serve(self) -> None:
        """Answer calls one after the other. Pipelined ones wait in the socket, so replies keep their order."""
        try:
            while (frame := await self._wire.next_frame()) is not None:
                await self._answer(frame)
        except FrameError as error:
            log.info("control client uid %d pid %d: %s", self._peer.uid, self._peer.pid, error)
            with contextlib.suppress(ClientGone):
                await self._wire.send(
                    encode_error(f"{self._introspection.home}.Malformed", message=str(error), hint=None)
                )
        except (ClientGone, TimeoutError):
            pass
        finally:
            await self._wire.close()

    async def _answer(self, frame: bytes) -> None:
        call = decode_call(frame)
        method = self._methods.get(call.method)
        try:
            if method is None:
                decode_parameters(call, dict[str, Any])  # the library does not expect anything else
                replies = self._introspection.answer(frame)
            elif call.upgrade:
                raise InvalidParameterError("upgrade")
            else:
                replies = await self._run(call, method)
        except ClientGone:
            raise
        except InvalidParameterError as error:
            replies = [encode_error(_INVALID_PARAMETER, parameter=str(error))]
        except Exception as error:
            replies = [told(self._introspection, call, error)]
        if not call.oneway:
            for reply in replies:
                await self._wire.send(reply)

    async def _run(self, call: Call, method: Unary | Streaming) -> list[bytes]:
        parameters = decode_parameters(call, method.parameters)
        if isinstance(method, Unary):
            return [encode_reply(await method.run(self._peer, parameters))]
        if not call.more and not call.oneway:
            return [encode_error(_EXPECTED_MORE)]
        run = asyncio.ensure_future(method.run(self._peer, parameters, _Replies(self._wire, oneway=bool(call.oneway))))
        left = asyncio.ensure_future(self._wire.gone.wait())
        try:
            await asyncio.wait((run, left), return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                raise ClientGone("the client left")
            run.result()
        finally:
            for task in (run, left):
                task.cancel()
            await asyncio.gather(run, left, return_exceptions=True)
        return []
