"""Asks the homeserver, and says in words what it refuses."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp

from nanoclawd.channels.guard import presentable
from nanoclawd.errors import NanoclawError, NotFound, Refused, TooLarge, Unavailable

CLIENT: Final = "/_matrix/client/v3"
_MAX_ANSWER: Final = 64 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_MAX_RETRY_AFTER: Final = 3600.0


class RateLimited(Unavailable):
    """The homeserver asks to wait.

    Attributes:
        retry_after: so many seconds.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the homeserver asks to wait {retry_after:g} s")
        self.retry_after = retry_after


class TokenRefused(Refused):
    """The access token is not known (any more)."""


class Requests:
    """The homeserver's HTTP interface, with one session of connections. Used in one loop."""

    def __init__(self, address: str, token: str = "", *, seconds: float = 30.0) -> None:
        """Prepare; a request may take ``seconds`` unless it says otherwise."""
        self.address = address
        self.token = token
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> dict[str, Any]:
        """Return what a request is answered, which is always an object.

        Args:
            method: GET, PUT, POST.
            path: with its parts quoted already (:func:`place`).
            body: goes as JSON.
            query: what follows the question mark.
            seconds: for all of it; None: as long as any request.

        Raises:
            RateLimited: later.
            TokenRefused: the token is not known.
            NotFound, TooLarge, Refused: not at all.
            Unavailable: the server can't be reached, or fails.
        """
        data = None if body is None else json.dumps(body).encode()
        try:
            async with (
                asyncio.timeout(seconds or self._seconds),
                self._open(method, path, data, query, "application/json") as answer,
            ):
                return _answer(answer.status, await _read(answer, _MAX_ANSWER))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(_trouble(error)) from error

    async def upload(
        self, content: bytes | AsyncIterator[bytes], size: int, media_type: str, name: str | None, seconds: float
    ) -> str:
        """Store a file of so many bytes; return its ``mxc://`` address. Raises as :meth:`ask`."""
        query = {} if name is None else {"filename": name}
        try:
            async with (
                asyncio.timeout(seconds),
                self._open("POST", "/_matrix/media/v3/upload", content, query, media_type, size) as answer,
            ):
                found = _answer(answer.status, await _read(answer, _MAX_ANSWER)).get("content_uri")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(_trouble(error)) from error
        if not isinstance(found, str):
            raise Unavailable("the homeserver does not say where it has stored a file")
        return found

    async def download(self, server: str, media: str, limit: int) -> AsyncGenerator[bytes]:
        """Give a file's content in pieces; raises as :meth:`ask`, and TooLarge where it has more bytes than ``limit``."""
        tail = f"download/{quote(server, safe='', errors='replace')}/{quote(media, safe='', errors='replace')}"
        try:
            async for piece in self._download(f"/_matrix/client/v1/media/{tail}", limit):
                yield piece
        except (NotFound, Refused):
            # Servers before 1.11 of the specification have them without a token, and elsewhere.
            async for piece in self._download(f"/_matrix/media/v3/{tail}", limit):
                yield piece

    async def _download(self, path: str, limit: int) -> AsyncGenerator[bytes]:
        try:
            async with self._open("GET", path, None, None, None) as answer:
                if answer.status != HTTPStatus.OK:
                    _answer(answer.status, await _read(answer, _MAX_ANSWER))
                    raise Unavailable(f"the homeserver answered {answer.status}")
                async for piece in _pieces(answer, limit):
                    yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(_trouble(error)) from error

    def _open(
        self,
        method: str,
        path: str,
        data: bytes | AsyncIterator[bytes] | None,
        query: Mapping[str, str] | None,
        media_type: str | None,
        size: int | None = None,
    ) -> Any:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=20.0, sock_read=120.0)
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = {} if media_type is None else {"Content-Type": media_type}
        if size is not None:
            headers["Content-Length"] = str(size)  # homeservers do not take what has none
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        address = f"{self.address}{path}" + (f"?{urlencode(query, errors='replace')}" if query else "")
        from yarl import URL  # aiohttp's own; it would quote again what is quoted

        return self._session.request(method, URL(address, encoded=True), data=data, headers=headers)


def place(*parts: str) -> str:
    """Return a path of the client interface, of parts that may be anything."""
    return "/".join([CLIENT, *(quote(part, safe="", errors="replace") for part in parts)])


async def _pieces(answer: aiohttp.ClientResponse, limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in answer.content.iter_chunked(_CHUNK):
        size += len(piece)
        if size > limit:
            raise TooLarge(f"it has more than {limit / 1024**2:.0f} MiB")
        yield piece


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    return b"".join([piece async for piece in _pieces(answer, limit)])


def _answer(status: int, content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        if status < HTTPStatus.BAD_REQUEST:
            raise Unavailable("the homeserver's answer is no JSON object")
        found = {}
    if status >= HTTPStatus.BAD_REQUEST:
        raise refusal(status, found)
    return found


def refusal(status: int, answer: Mapping[str, Any]) -> NanoclawError:
    """Return the exception for an answer that is an error."""
    code = answer.get("errcode")
    code = code if isinstance(code, str) else ""
    words = presentable(answer.get("error")) or code or f"status {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS or code == "M_LIMIT_EXCEEDED":
        return RateLimited(_retry_after(answer))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unavailable(f"the homeserver fails: {words}")
    if code == "M_UNKNOWN_TOKEN":
        return TokenRefused(f"the homeserver does not know the account's token any more: {words}")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or code == "M_TOO_LARGE":
        return TooLarge(f"the homeserver finds it too large: {words}")
    if status == HTTPStatus.NOT_FOUND or code == "M_NOT_FOUND":
        return NotFound(f"the homeserver knows no such thing: {words}")
    return Refused(f"the homeserver refuses: {words}")


def _retry_after(answer: Mapping[str, Any]) -> float:
    told = answer.get("retry_after_ms")
    if not isinstance(told, int | float):
        return 5.0
    return min(max(float(told) / 1000, 0.05), _MAX_RETRY_AFTER)


def _trouble(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the homeserver does not answer in time"
    return f"the homeserver can't be reached: {presentable(str(error)) or type(error).__name__}"
