"""SOCKS 5 (RFC 1928) for clients that speak no proxy's HTTP: one request, translated into a CONNECT for the gateway.

The greeting is a few bytes, and the libraries for it (python-socks, socksio) are clients. The gateway's answer is HTTP,
and read by h11, which is imported with the first such client. Names go to the gateway as they are: it looks them up.
"""

import asyncio
import ipaddress
import re
from typing import Any, Final

VERSION: Final = b"\x05"
SECONDS: Final = 60.0
"""For all that comes before the bytes of the connection itself: the gateway gives up connecting before that."""

_NO_PASSWORD: Final = 0
_NONE_FITS: Final = b"\x05\xff"
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_FAILED, _NOT_ALLOWED, _UNREACHABLE, _NO_SUCH_COMMAND, _NO_SUCH_ADDRESS = 1, 2, 4, 7, 8
_NO_ADDRESS: Final = b"\x00\x01\x00\x00\x00\x00\x00\x00"
_REPLIES: Final = {403: _NOT_ALLOWED, 502: _UNREACHABLE, 504: _UNREACHABLE}
_OK: Final = 200
_PLAIN: Final = re.compile(rb"[A-Za-z0-9._-]+")
_MAX_ANSWER_BYTES: Final = 64 * 1024


async def negotiate(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: asyncio.StreamReader, back: asyncio.StreamWriter
) -> bool:
    """Read greeting and request behind the version's byte, and connect; tell whether there is a connection.

    Args:
        reader: the client.
        writer: the same.
        there: the gateway.
        back: the same.

    Raises:
        TimeoutError: it takes too long.
        ConnectionError: either side has gone.
        IncompleteReadError: the client has gone.
    """
    async with asyncio.timeout(SECONDS):
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if _NO_PASSWORD not in methods:
            writer.write(_NONE_FITS)
            return False
        writer.write(VERSION + bytes([_NO_PASSWORD]))
        version, command, _, kind = await reader.readexactly(4)
        host = await _host(reader, kind)
        port = int.from_bytes(await reader.readexactly(2))
        if bytes([version]) != VERSION or command != _CONNECT:
            return _reply(writer, _NO_SUCH_COMMAND)
        if not host:
            return _reply(writer, _NO_SUCH_ADDRESS)
        status, early = await _connect(f"{host}:{port}", there, back)
    if status != _OK:
        return _reply(writer, _REPLIES.get(status, _FAILED))
    _reply(writer, 0)
    writer.write(early)
    return True


def _reply(writer: asyncio.StreamWriter, code: int) -> bool:
    writer.write(VERSION + bytes([code]) + _NO_ADDRESS)
    return False


async def _host(reader: asyncio.StreamReader, kind: int) -> str:
    """Return the host as CONNECT names it; empty where there is none that it could name."""
    if kind == _IPV4:
        return str(ipaddress.IPv4Address(await reader.readexactly(4)))
    if kind == _IPV6:
        return f"[{ipaddress.IPv6Address(await reader.readexactly(16))}]"
    if kind != _NAME:
        return ""
    name = await reader.readexactly((await reader.readexactly(1))[0])
    return name.decode("ascii") if _PLAIN.fullmatch(name) else ""


async def _connect(where: str, there: asyncio.StreamReader, back: asyncio.StreamWriter) -> tuple[int, bytes]:
    """Ask the gateway; return its answer's status, and what has come behind a good one."""
    import h11  # few sessions have a client of SOCKS

    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_ANSWER_BYTES)
    request: Any = http.send(h11.Request(method="CONNECT", target=where, headers=[("Host", where)]))
    back.write(request)
    http.send(h11.EndOfMessage())
    try:
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(await there.read(_MAX_ANSWER_BYTES))
    except h11.RemoteProtocolError:
        return 0, b""
    if not isinstance(event, h11.Response):
        return 0, b""
    return event.status_code, http.trailing_data[0]
