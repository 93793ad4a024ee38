"""A bare relay in a process of its own: the way of a request through the gateway, with nothing that the gateway is for.

``python3 egress_relay.py SOCKET`` listens there and prints a line. It reads where the first line wants to, connects,
and passes bytes on, by asyncio's transports: no rule, no check, no bound, no record.
"""

import asyncio
import socket
import sys

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_SCHEME = b"http://"


class _Passing(asyncio.Protocol):
    """One end; what comes here goes out at the other one."""

    def __init__(self, other: asyncio.Transport) -> None:
        self._other = other

    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    def pause_writing(self) -> None:
        self._other.pause_reading()

    def resume_writing(self) -> None:
        self._other.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        self._other.close()


class _Asking(asyncio.Protocol):
    """An end that has not said yet where it wants to."""

    def __init__(self) -> None:
        self._begun = b""
        self._transport: asyncio.Transport
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's

    def data_received(self, data: bytes) -> None:
        self._begun += data
        if self._task is None and b"\r\n\r\n" in self._begun:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        method, where, _ = self._begun.split(b" ", 2)
        authority = where.removeprefix(_SCHEME).partition(b"/")[0].decode()
        host, _, port = authority.rpartition(":")
        connection = socket.socket()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, (host, int(port)))
        far, _ = await loop.create_connection(lambda: _Passing(self._transport), sock=connection)
        self._transport.set_protocol(_Passing(far))
        if method == b"CONNECT":
            self._transport.write(_ESTABLISHED)
        else:
            far.write(self._begun)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    await loop.create_unix_server(_Asking, sys.argv[1], backlog=512)
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
