"""A client of HTTP/2 that does what no library would."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from door_stage import NAME, Inside

type Headers = list[tuple[bytes, bytes]]


class Client:
    """Speaks HTTP/2 as badly as a test likes."""

    def __init__(self, door: Inside, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.door, self.reader, self.writer = door, reader, writer
        # Nothing is checked on the way out.
        self.http = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                header_encoding=None,
            )
        )
        self.http.initiate_connection()

    def head(self, method: str = "GET", path: str = "/", *more: tuple[bytes, bytes]) -> Headers:
        authority = f"{NAME}:{self.door.host.port}".encode()
        return [
            *((b":method", method.encode()), (b":path", path.encode()), (b":scheme", b"https")),
            *((b":authority", authority), *more),
        ]

    def request(self, headers: Headers, body: bytes | None = None) -> int:
        number = self.http.get_next_available_stream_id()
        self.http.send_headers(number, headers, end_stream=body is None)
        if body is not None:
            self.http.send_data(number, body, end_stream=True)
        return number

    async def flush(self) -> None:
        self.writer.write(self.http.data_to_send())
        await self.writer.drain()

    async def events(self) -> AsyncIterator[Any]:
        await self.flush()
        while data := await self.reader.read(65_536):
            for event in self.http.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
                yield event
            await self.flush()

    async def answers(self, *numbers: int) -> dict[int, tuple[int, bytes]]:
        """Status and body of some streams; 0 where it was reset, -1 where the connection was ended."""
        found: dict[int, tuple[int, bytes]] = dict.fromkeys(numbers, (-1, b""))
        over: set[int] = set()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError, h2.exceptions.ProtocolError):
                async for event in self.events():
                    number = getattr(event, "stream_id", 0)
                    if isinstance(event, h2.events.ResponseReceived):
                        found[number] = (int(dict(event.headers or ())[b":status"]), b"")
                    elif isinstance(event, h2.events.DataReceived):
                        found[number] = (found[number][0], found[number][1] + bytes(event.data or b""))
                    elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                        if isinstance(event, h2.events.StreamReset) and number not in over:
                            found[number] = (0, b"")
                        over.add(number)
                    elif isinstance(event, h2.events.ConnectionTerminated):
                        return found
                    if over >= set(numbers):
                        return found
        return found


@asynccontextmanager
async def client(door: Inside) -> AsyncIterator[Client]:
    reader, writer = await door.open_tls(context=await door.trust("h2"))
    yield Client(door, reader, writer)
    writer.close()
