"""Goes over a host's answer to a request that may have a secret in it: status line, headers and body."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import h11

from nanoclawd.gateway.door.decoding import Decoding, Plain, Undecodable, decoding_of
from nanoclawd.gateway.door.redaction import Redactor, redacted

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_NOT_MODIFIED: Final = 304
_NO_CONTENT: Final = 204
_CHARSET: Final = re.compile(rb"""charset\s*=\s*["']?\s*([^\s"';,]+)""", re.IGNORECASE)
_LIKE_ASCII: Final = re.compile(
    rb"utf[-_]?8(?:mb[34])?|(?:us-)?ascii|binary|x-user-defined|(?:iso-)?latin-?[0-9]+|iso[-_]?8859-?[0-9]+(?:-[ei])?"
    rb"|(?:windows|x?-?cp)-?(?:125[0-9]|31j|874|932|936|949|950)|macintosh|x-mac-[a-z]+|koi8-[ru]+|tis-620"
    rb"|gb2312|(?:x-)?gbk|gb18030|big5(?:-hkscs)?|(?:x-)?s(?:hift[-_]?)?jis|(?:x-)?euc[-_](?:jp|kr|tw|cn)"
    rb"|ks_c_5601-1987|iso-2022-jp",
    re.IGNORECASE,
)


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
            self.unpack([value for name, value in event.headers if name == b"content-encoding"])
            _check_charset([value for name, value in event.headers if name == b"content-type"])
        if not isinstance(self._decoding, Plain):
            gone = (b"content-encoding", b"content-length")
            headers = [pair for pair in headers if pair[0].lower() not in gone]
        return redacted(bytes(event.reason), self._needles), self.headers(headers)

    def unpack(self, codings: list[bytes]) -> bool:
        """Unpack the body from here on; tell whether it is packed at all.

        Args:
            codings: the values of its Content-Encoding headers.

        Raises:
            Undecodable: it is in a way that can't be searched.
        """
        self._decoding = decoding_of(codings)
        return not isinstance(self._decoding, Plain)

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


def _check_charset(types: list[bytes]) -> None:
    """See to it that letters are written as the secret's are.

    Some servers answer in whatever the request's Accept or Accept-Charset asks for: UTF-16, or that of a mainframe.

    Raises:
        Undecodable: they are not, or nobody knows how they are.
    """
    for found in (one for value in types for one in _CHARSET.findall(value)):
        if not _LIKE_ASCII.fullmatch(found):
            words = found[:40].decode("ascii", "replace")
            raise Undecodable(f"the host answers in a charset ({words}) that is not searched")
