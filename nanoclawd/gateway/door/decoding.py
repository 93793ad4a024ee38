"""Unpacks a compressed answer as it comes: what is not unpacked can't be searched for secrets. Bounded in its ratio."""

import zlib
from collections.abc import Iterator
from typing import Final, Protocol

PIECE_BYTES: Final = 64 * 1024
MAX_RATIO: Final = 250
"""How much larger an answer may become; beyond the first pieces, more than text is ever packed."""

_FREE_BYTES: Final = 4 * 1024 * 1024
_MAX_MEMBERS: Final = 10_000
_GZIP: Final = 31
_ZLIB: Final = 15
_BARE: Final = -15
_METHOD: Final = 8
_HEAD_BYTES: Final = 2


class Undecodable(Exception):  # noqa: N818  # what it is, not an error of ours
    """An answer that can't be unpacked, or becomes too large; the message says why."""


class Decoding(Protocol):
    """Whatever gives back what was packed."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what is in a piece."""
        ...

    def end(self) -> None:
        """There is no more."""
        ...


class Plain:
    """Nothing was packed."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield a piece as it is."""
        yield data

    def end(self) -> None:
        """There is no more."""


class Inflating:
    """Unpacks gzip, or deflate in either of the forms that servers send under its name."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._unpacking = zlib.decompressobj(_GZIP) if is_gzip else None
        self._taken = self._given = self._members = 0
        self._first = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what is in a piece, in bounded pieces.

        Raises:
            Undecodable: it is not what it says, or too much.
        """
        self._taken += len(data)
        if self._unpacking is None:
            # Two bytes tell the two forms of deflate apart, and may come one by one.
            data = self._first = self._first + data
            if len(data) < _HEAD_BYTES:
                return
            self._unpacking = _deflating(data)
        while data:
            unpacking = self._unpacking
            try:
                found = unpacking.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise Undecodable("the host's answer is not packed as it says") from None
            self._given += len(found)
            if self._given > _FREE_BYTES + MAX_RATIO * self._taken:
                raise Undecodable("the host's answer becomes far larger than it is")
            if found:
                yield found
            data = unpacking.unconsumed_tail
            if unpacking.eof:
                data = self._next_member(unpacking.unused_data)
            elif not data and len(found) == PIECE_BYTES:
                yield from self._rest(unpacking)

    def _rest(self, unpacking: "zlib._Decompress") -> Iterator[bytes]:
        """Yield what zlib still holds of what it has taken."""
        while found := unpacking.decompress(b"", PIECE_BYTES):
            self._given += len(found)
            yield found

    def _next_member(self, data: bytes) -> bytes:
        if not data.strip(b"\0"):
            return b""
        self._members += 1
        if not self._is_gzip or self._members > _MAX_MEMBERS:
            raise Undecodable("there is more behind the host's packed answer")
        self._unpacking = zlib.decompressobj(_GZIP)
        return data

    def end(self) -> None:
        """There is no more.

        Raises:
            Undecodable: but there should be.
        """
        if self._taken and (self._unpacking is None or not self._unpacking.eof):
            raise Undecodable("the host's packed answer ends too early")


def decoding_of(codings: list[bytes]) -> Decoding:
    """Return what unpacks an answer.

    Args:
        codings: the values of its Content-Encoding headers.

    Raises:
        Undecodable: nothing here does.
    """
    named = [word.strip().lower() for value in codings for word in value.split(b",")]
    named = [word for word in named if word not in (b"", b"identity")]
    if not named:
        return Plain()
    if len(named) > 1 or named[0] not in (b"gzip", b"x-gzip", b"deflate"):
        words = b", ".join(named)[:40].decode("ascii", "replace")
        raise Undecodable(f"the host packs its answer ({words}) although it was asked not to, and this can't unpack it")
    return Inflating(is_gzip=named[0] != b"deflate")


def _deflating(data: bytes) -> "zlib._Decompress":
    has_head = data[0] & 0x0F == _METHOD and (data[0] * 256 + data[1]) % 31 == 0
    return zlib.decompressobj(_ZLIB if has_head else _BARE)
