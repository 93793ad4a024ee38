"""Heads of HTTP/2's streams as HTTP/1.1 would have them: they are judged, and go on, as such."""

from typing import Final

import h11

from nanoclawd.gateway.caller import check_headers
from nanoclawd.gateway.denials import malformed

OF_ONE_HOP: Final = frozenset({b"connection", b"transfer-encoding", b"keep-alive", b"proxy-connection", b"upgrade"})
"""Headers that HTTP/2 does not have (RFC 9113, 8.2.2)."""


def request_of(headers: list[tuple[bytes, bytes]], *, has_body: bool) -> h11.Request:
    """Return a stream's head as HTTP/1.1 would have it.

    Raises:
        Denial: it has no such form, or one that could be read in two ways.
    """
    pseudo = {name: value for name, value in headers if name.startswith(b":")}
    rest = [pair for pair in headers if not pair[0].startswith(b":") and pair[0] not in (b"te", b"expect")]
    authority = pseudo.get(b":authority", b"")
    hosts = [value for name, value in rest if name == b"host"]
    if pseudo.get(b":scheme") != b"https":
        raise malformed("the scheme is https here")
    if not authority or any(host != authority for host in hosts):
        raise malformed("Host and :authority contradict each other, or there is none")
    if any(name in OF_ONE_HOP for name, _ in rest):
        raise malformed("a header of HTTP/1.1's connections has no place in HTTP/2")
    cookies = [value for name, value in rest if name == b"cookie"]
    rest = [pair for pair in rest if pair[0] not in (b"cookie", b"host")]
    if cookies:
        rest.append((b"cookie", b"; ".join(cookies)))
    lengths = [value for name, value in rest if name == b"content-length"]
    if not has_body and any(value.strip(b"0") for value in lengths):
        raise malformed("the request has a Content-Length, and no body")
    if has_body and not lengths:
        rest.append((b"transfer-encoding", b"chunked"))
    try:
        request = h11.Request(
            method=pseudo.get(b":method", b""), target=pseudo.get(b":path", b""), headers=[(b"host", authority), *rest]
        )
    except h11.LocalProtocolError:
        raise malformed("the request cannot be read") from None
    check_headers(request)
    return request
