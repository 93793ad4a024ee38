"""Goes over a host's answer to a request that may have a secret in it: status line, headers and body."""

from collections.abc import Iterator, Sequence
from typing import Final

import h11

from nanoclawd.gateway.door.decoding import Decoding, Plain, decoding_of
from nanoclawd.gateway.door.redaction import Redactor, redacted

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_NOT_MODIFIED: Final = 304
_NO_CONTENT: Final = 204


class Searching:
    """One answer's."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._needles = needles
        self._redactor = Redactor(needles)
        self._decoding: Decoding = Plain()

    def head(
        self, method: bytes, event: h11.Response, headers: list[tuple[bytes, bytes]]
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Return reason phrase and headers as they may go on.

        Args:
            method: the request's.
            event: the answer's head.
            headers: those of it that go on.

        Raises:
            Undecodable: its body is packed in a way that can't be searched.
        """
        if method != b"HEAD" and event.status_code not in (_NO_CONTENT, _NOT_MODIFIED):
            codings = [value for name, value in event.headers if name == b"content-encoding"]
            self._decoding = decoding_of(codings)
        if not isinstance(self._decoding, Plain):
            gone = (b"content-encoding", b"content-length")
            headers = [pair for pair in headers if pair[0].lower() not in gone]
        return redacted(bytes(event.reason), self._needles), self.headers(headers)

    def headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return headers without secrets."""
        return [
            (name, value)
            if name.lower() in _FRAMING
            else (redacted(name, self._needles), redacted(value, self._needles))
            for name, value in headers
        ]

    def body(self, data: bytes) -> Iterator[bytes]:
        """Yield what can go on.

        Raises:
            Undecodable: it is not packed as it says, or becomes too large.
        """
        for piece in self._decoding.feed(data):
            if found := self._redactor.feed(piece):
                yield found

    def end(self) -> bytes:
        """Return the rest.

        Raises:
            Undecodable: there should be more.
        """
        self._decoding.end()
        return self._redactor.end()
