"""An http client's transport whose answers have a bound: what reads them collects until a line's end."""

from collections.abc import AsyncIterator
from typing import Any, Final

MAX_LINE_BYTES: Final = 4 * 1024 * 1024
"""Of one line of an answer: an event of a stream is one, and so is most JSON."""

MAX_BODY_BYTES: Final = 512 * 1024 * 1024
"""Of a whole answer; in a stream each word comes with a few hundred bytes around it."""


class TooMuchError(Exception):
    """More bytes came than any answer has."""


def bounded_transport(library: Any, socket: str) -> Any:
    """Return a transport of httpx, or of the library that has its place, which connects to a unix socket."""

    class Body(library.AsyncByteStream):  # type: ignore[misc]  # which library it is shows when it runs
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            line = whole = 0
            async for chunk in self._inner:
                whole += len(chunk)
                newline = chunk.rfind(b"\n")
                line = line + len(chunk) if newline < 0 else len(chunk) - newline - 1
                if line > MAX_LINE_BYTES or whole > MAX_BODY_BYTES:
                    raise TooMuchError("its answer is larger than any answer may be")
                yield chunk

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Transport(library.AsyncHTTPTransport):  # type: ignore[misc]  # the same
        async def handle_async_request(self, request: Any) -> Any:
            response = await super().handle_async_request(request)
            response.stream = Body(response.stream)
            return response

    return Transport(uds=socket)
