"""Asks a token server, by the same checked connecting as everything else, with bounds on all of it."""

import asyncio
from typing import Final

import h11

from nanoclawd.egress.targets import HTTPS_PORT, parse_url
from nanoclawd.gateway.denials import Denial
from nanoclawd.gateway.door.inside import secured
from nanoclawd.gateway.door.trust import Trust
from nanoclawd.gateway.reaching import Reaching, Unreachable
from nanoclawd.gateway.secure import SecureWire
from nanoclawd.gateway.wire import Wire

ASKING_SECONDS: Final = 30.0
MAX_ANSWER_BYTES: Final = 64 * 1024
_GROUP: Final = ""
"""No agent group's: its look-ups are counted apart."""


class Asker:
    """Posts forms."""

    def __init__(self, reaching: Reaching, trust: Trust) -> None:
        self._reaching = reaching
        self._trust = trust

    async def ask(self, url: str, form: bytes) -> tuple[int, bytes]:
        """Post a form; return status and body of the answer.

        Raises:
            Denial: there is no answer; the words name the host, and nothing that was sent.
        """
        target, path = parse_url(url, "https")
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                # The address is the operator's own word, as an endpoint's is.
                connection = await self._reaching.connect(_GROUP, target, may_be_private=True)
                _, wire = await asyncio.get_running_loop().create_connection(Wire, sock=connection)
                try:
                    secure = await secured(wire, await self._trust.client(), target)
                    head = [
                        *(("Host", target.authority_by(HTTPS_PORT)), ("Connection", "close")),
                        *(("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")),
                        *(("Accept-Encoding", "identity"), ("Content-Length", str(len(form)))),
                    ]
                    return await _exchanged(secure, h11.Request(method="POST", target=path, headers=head), form)
                finally:
                    wire.close()
        except Unreachable as error:
            raise Denial(502, error.kind, error.message) from None
        except TimeoutError:
            raise Denial(504, "timeout", f"{target} does not answer") from None
        except (ConnectionError, h11.RemoteProtocolError):
            raise Denial(502, "broke_off", f"{target} closed the connection, or its answer is not HTTP") from None


async def _exchanged(secure: SecureWire, request: h11.Request, form: bytes) -> tuple[int, bytes]:
    http = h11.Connection(h11.CLIENT)
    told = [http.send(part) or b"" for part in (request, h11.Data(data=form), h11.EndOfMessage())]
    await secure.write(b"".join(told))
    status, body = 0, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await secure.read())
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_ANSWER_BYTES:
                raise ConnectionResetError("the answer is too long")
        elif isinstance(event, h11.EndOfMessage):
            return status, body
