"""The way to Telegram's servers: python-telegram-bot's requests, bounded, and files in pieces.

Addresses have the bot's token in them, so no error of the HTTP client goes further than here, and it logs nothing.
"""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx
from telegram.error import NetworkError, TimedOut
from telegram.request import BaseRequest, RequestData

from nanoclawd.errors import NotFound, Unavailable

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""Of one answer; a hundred updates are far below it."""

_CONNECT_SECONDS: Final = 10.0
_READ_SECONDS: Final = 20.0
UPLOAD_SECONDS: Final = 50.0
_PIECE_BYTES: Final = 64 * 1024

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # below that they log addresses


class Requests(BaseRequest):
    """python-telegram-bot's way to send requests, over a pool of connections of its own."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._client: httpx.AsyncClient | None = None

    @property
    def read_timeout(self) -> float | None:
        """How long an answer may take, in seconds."""
        return _READ_SECONDS

    async def initialize(self) -> None:
        """Make the pool; no connection yet. Again is a fresh one."""
        await self.shutdown()
        limits = httpx.Limits(max_connections=self._connections, max_keepalive_connections=self._connections)
        self._client = httpx.AsyncClient(limits=limits, timeout=_READ_SECONDS, http2=False)

    async def shutdown(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Send a request and return the answer's status and content.

        Raises:
            TimedOut: it took too long.
            NetworkError: it failed, or the answer is too large.
        """
        del connect_timeout, pool_timeout
        files = request_data.multipart_data if request_data else None
        timeout = httpx.Timeout(
            connect=_CONNECT_SECONDS,
            pool=_READ_SECONDS,
            read=_given(read_timeout, UPLOAD_SECONDS if files else _READ_SECONDS),
            write=_given(write_timeout, UPLOAD_SECONDS if files else _READ_SECONDS),
        )
        data = request_data.json_parameters if request_data else None
        content = bytearray()
        try:
            async with self._open().stream(method, url, data=data, files=files, timeout=timeout) as answer:
                async for piece in answer.aiter_bytes(_PIECE_BYTES):
                    content += piece
                    if len(content) > MAX_ANSWER_BYTES:
                        raise NetworkError("an answer of Telegram is too large")
                return answer.status_code, bytes(content)
        except httpx.TimeoutException:
            raise TimedOut("Telegram did not answer in time") from None
        except httpx.HTTPError as error:
            raise NetworkError(f"Telegram can't be reached: {type(error).__name__}") from None

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Return what an answer says. The library's own way logs all of one that is no JSON, with a stack each time.

        Raises:
            NetworkError: it is none of Telegram's: what stands before it says that it is away.
        """
        try:
            found = json.loads(payload)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NetworkError("what answers for Telegram is something else: it may be away")
        return found

    async def download(self, url: str) -> AsyncIterator[bytes]:
        """Give the content behind an address, in pieces.

        Raises:
            NotFound: there is none any more.
            Unavailable: not now.
        """
        try:
            async with self._open().stream("GET", url) as answer:
                if answer.status_code in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
                    raise NotFound("Telegram has this file no more")
                if answer.status_code != httpx.codes.OK:
                    raise Unavailable(f"Telegram does not give the file: {answer.status_code}")
                async for piece in answer.aiter_bytes(_PIECE_BYTES):
                    yield piece
        except httpx.HTTPError as error:
            raise Unavailable(f"Telegram does not give the file: {type(error).__name__}") from None

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            raise NetworkError("the channel is not set up")
        return self._client


def _given(timeout: Any, otherwise: float) -> float:
    """Return a timeout that a caller has given; the library marks its own defaults by a type of theirs."""
    return float(timeout) if isinstance(timeout, int | float) else otherwise
