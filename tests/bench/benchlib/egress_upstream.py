"""A web server on loopback for the measurements of the way out, in a process of its own.

``python3 egress_upstream.py PEM`` prints the ports of http and https; ``/N`` is answered with N bytes.
"""

import asyncio
import ssl
import sys

_PIECE = bytes(64 * 1024)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = left = int(head.split()[1].rpartition(b"/")[2])
            close = b"connection: close" in head.lower()
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            while left:
                writer.write(_PIECE[: min(left, len(_PIECE))])
                left -= min(left, len(_PIECE))
                await writer.drain()
            if close:
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def _main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    plain = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=512)
    secure = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=512, ssl=context)
    print(plain.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
