"""The library's client, told where the service is, with a loop of our own that keeps it connected.

discord.py keeps the heart beating, resumes sessions, unpacks what comes and waits for rate limits. Its own loop waits
up to 17 minutes for a network that has come back, and ends at the first payload that it can't read; hence this one.
"""

import asyncio
import logging
import random
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp
import discord
import yarl
from discord.gateway import DiscordClientWebSocketResponse, DiscordWebSocket, ReconnectWebSocket
from discord.http import HTTPClient, Route

from nanoclawd.channels.discord.gate import Gate

log = logging.getLogger(__name__)

MAX_FRAME_BYTES: Final = 32 * 1024 * 1024
MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
"""Unpacked; a server with its channels has a few megabytes at most."""

LONGEST_RATE_LIMIT: Final = 30.0
"""Seconds; a request that would have to wait longer fails, and says how long."""

WRONG_TOKEN: Final = 4004
DISALLOWED_INTENTS: Final = 4014

_FAILURES_ELSEWHERE: Final = 2
"""After so many, where the session was to be resumed may be no more: it is tried where sessions begin."""

_SILENT_BEATS: Final = 1.5
"""Heartbeats (the gateway says how often it wants one) in whose time it must have said something."""

_FLUSHED: Final = b"\x00\x00\xff\xff"


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds in time, in seconds.

    Attributes:
        connect: until the gateway has said Hello.
        silence: so long the gateway may say nothing at most (it answers a heartbeat every 41 s).
        request: so long the answer to a request may let wait for its next bytes; then the connection counts as lost.
        identify: between two new sessions.
        first_retry: before the second attempt; then twice as long each time.
        longest_retry: most that is waited between two attempts.
        settled: a connection that lasted so long was a good one.
    """

    connect: float = 30.0
    silence: float = 60.0
    request: float = 20.0
    identify: float = 5.0
    first_retry: float = 1.0
    longest_retry: float = 60.0
    settled: float = 30.0


class GatewayRefusal(Exception):  # noqa: N818  # named for what the gateway does
    """The gateway will not have us, however often we come: the code says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the gateway closes with {code}")
        self.code = code


class _FloodError(Exception):
    """A payload unpacks to more than anything has."""


class _Unpacker:
    """Unpacks ``zlib-stream``, with a bound. The library would take zstd, without one, where that is installed."""

    COMPRESSION_TYPE = "zlib-stream"

    def __init__(self) -> None:
        self._context = zlib.decompressobj()
        self._buffer = bytearray()

    def decompress(self, data: bytes, /) -> str | None:
        """Return a payload, None while more of it is to come."""
        self._buffer.extend(data)
        if len(self._buffer) > MAX_FRAME_BYTES:
            raise _FloodError
        if not data.endswith(_FLUSHED):
            return None
        found = self._context.decompress(bytes(self._buffer), MAX_PAYLOAD_BYTES)
        if self._context.unconsumed_tail:
            raise _FloodError
        self._buffer.clear()
        return found.decode("utf-8")


class _Response(DiscordClientWebSocketResponse):
    """A websocket that knows who uses it: also one whose greeting failed has to be ended."""

    user: "_Socket | None" = None


class _Socket(DiscordWebSocket):
    """A gateway's connection on which a payload that can't be read is skipped."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(socket, loop=loop)
        if isinstance(socket, _Response):
            socket.user = self
        self._decompressor = _Unpacker()

    async def received_message(self, msg: Any, /) -> None:
        """Take a payload.

        Raises:
            ReconnectWebSocket: the gateway asks for it, or what comes can't be unpacked any more.
        """
        try:
            await super().received_message(msg)
            self._note_interval()
        except (zlib.error, _FloodError) as error:
            log.warning("what Discord's gateway sends can't be unpacked (%s); connecting again", type(error).__name__)
            raise ReconnectWebSocket(self.shard_id) from error
        except (ReconnectWebSocket, discord.ConnectionClosed, ConnectionError):
            raise
        except Exception as error:
            log.warning("a payload of Discord's gateway was skipped, after number %s: %s", self.sequence, _kind(error))

    def _note_interval(self) -> None:
        """Bound the silence by how often the gateway wants to hear: what answers no heartbeat is not there."""
        keeper = self._keep_alive
        if keeper is not None and keeper.interval is not None:
            keeper.heartbeat_timeout = min(keeper.heartbeat_timeout, keeper.interval * _SILENT_BEATS)


class _Http(HTTPClient):
    """The library's requests, sent to the configured place."""

    def __init__(self, loop: asyncio.AbstractEventLoop, api: str | None, seconds: float) -> None:
        super().__init__(loop, max_ratelimit_timeout=LONGEST_RATE_LIMIT, http_trace=Gate().trace)
        self.session: aiohttp.ClientSession | None = None
        """Ours, for the gateway and for files: what it asks for has no token in it."""
        self.websocket: aiohttp.ClientWebSocketResponse | None = None
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds)
        self._api = None if api is None else Route.BASE.replace("https://discord.com", api, 1)

    async def request(self, route: Route, **options: Any) -> Any:
        """Make a request; see the library."""
        if self._api is not None and route.url.startswith(Route.BASE):
            route.url = self._api + route.url.removeprefix(Route.BASE)
        try:
            # The library's own bound is five minutes.
            return await super().request(route, **{"timeout": self._timeout, **options})
        except asyncio.CancelledError:
            # Whoever is cancelled while waiting for the limit of all requests would leave them locked for ever.
            self._global_over.set()
            raise

    async def ws_connect(self, url: str, *, compress: int = 0) -> aiohttp.ClientWebSocketResponse:
        """Connect to the gateway, with a bound on what one frame may have."""
        if self.session is None:
            raise RuntimeError("the client is not open")
        asked = yarl.URL(url)
        if "compress" in asked.query:
            asked = asked.update_query(compress=_Unpacker.COMPRESSION_TYPE)
        self.websocket = await self.session.ws_connect(
            asked,
            max_msg_size=MAX_FRAME_BYTES,
            autoclose=False,
            headers={"User-Agent": self.user_agent},
            compress=compress,
        )
        return self.websocket


class DiscordClient(discord.Client):
    """A client whose events go to handlers of ours as they come, unread: the library keeps nothing of them."""

    http: _Http

    def __init__(
        self,
        api: str | None,
        pace: Pace,
        *,
        came: Callable[[], None],
        lost: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            api: where the service is; None: where it is for everybody.
            pace: bounds in time.
            came: called when a session has begun or was resumed.
            lost: called with the reason when the connection is gone; it is made again.
        """
        self._api = api
        self._pace = pace
        self._came = came
        self._lost = lost
        self._identified = 0.0
        self._came_at: float | None = None
        self._with_content = True
        intents = discord.Intents(
            guilds=True, guild_messages=True, dm_messages=True, guild_reactions=True, dm_reactions=True
        )
        intents.message_content = True
        super().__init__(
            intents=intents,
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            heartbeat_timeout=pace.silence,
        )
        self.listen({})

    def listen(self, handlers: Mapping[str, Callable[[Any], None]]) -> None:
        """Have dispatched events handled.

        Args:
            handlers: what to do with an event's data, by the event's name; none of them raises.
        """
        ready = handlers.get("READY", lambda _data: None)
        ours = {"READY": partial(self._is_here, ready), "RESUMED": partial(self._is_here, lambda _data: None)}
        self._connection.parsers = {**handlers, **ours}

    def _get_state(self, **options: Any) -> Any:
        self.http = _Http(self.loop, self._api, self._pace.request)
        return super()._get_state(**options)

    @property
    def reads_content(self) -> bool:
        """Whether the bot is told what people write who do not speak to it."""
        return self._with_content

    def without_content(self) -> None:
        """Ask for no more than what is said to the bot."""
        self._with_content = False
        self._connection._intents.message_content = False  # noqa: SLF001  # the library fixes it at the beginning

    async def open(self, token: str) -> None:
        """Check the token, and begin to make requests with it.

        Raises:
            discord.LoginFailure: the service does not know the token.
            discord.HTTPException, OSError, aiohttp.ClientError: it can't be asked.
        """
        await self.__aenter__()
        timeout = aiohttp.ClientTimeout(total=None, connect=self._pace.connect, sock_read=None)
        self.http.session = aiohttp.ClientSession(
            ws_response_class=_Response, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        await self.http.static_login(token)

    async def shut(self) -> None:
        """End all connections."""
        session = self.http.session
        with suppress(Exception):
            await self.close()
        if session is not None:
            await session.close()

    async def before_identify_hook(self, _shard_id: int | None, *, initial: bool = False) -> None:
        """Wait until another session may be begun: the service allows one every five seconds."""
        del initial
        wait = self._identified + self._pace.identify - time.monotonic()
        if self._identified and wait > 0:
            await asyncio.sleep(wait)
        self._identified = time.monotonic()

    async def stay_connected(self, gateway: str) -> None:
        """Connect to the gateway, again and again.

        Raises:
            GatewayRefusal: it does not want us for a reason that time does not mend.
        """
        failures, known = 0, _Known(yarl.URL(gateway))
        while True:
            self._came_at, begun = None, self._identified
            reason = await self._live(known, gateway)
            lasted = 0.0 if self._came_at is None else time.monotonic() - self._came_at
            # A session that was resumed costs nothing, and shows that the way there is open again.
            was_resumed = self._came_at is not None and self._identified == begun
            failures = 0 if was_resumed or lasted >= self._pace.settled else failures + 1
            self._lost(reason)
            if failures > _FAILURES_ELSEWHERE:
                known.gateway = yarl.URL(gateway)
            if failures > 1:
                longest = min(self._pace.first_retry * 2 ** min(failures - 2, 16), self._pace.longest_retry)
                # The service tells nobody when it is back; the wait grows and is bounded.
                await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311  # many clients, one service

    async def _live(self, known: "_Known", gateway: str) -> str:
        """Be connected once; return why it is over."""
        try:
            async with asyncio.timeout(self._pace.connect + self._pace.identify):
                ws = await _Socket.from_client(self, gateway=known.gateway, **known.resuming())
            self.ws = ws
            while True:
                await ws.poll_event()
        except ReconnectWebSocket as error:
            if not error.resume:
                known.forget(gateway)
                return "the gateway has ended the session"
            return "the gateway asked for it, or has gone silent"
        except discord.ConnectionClosed as error:
            if error.code == DISALLOWED_INTENTS and self._with_content:
                self.without_content()
                known.forget(gateway)
                return "the bot may not read what people write"
            if error.code in {WRONG_TOKEN, *range(4010, 4015)}:
                raise GatewayRefusal(error.code) from None
            return f"the gateway closed the connection ({error.code})"
        except TimeoutError:
            return "the gateway does not answer"
        except (OSError, aiohttp.ClientError) as error:
            return f"the gateway can't be reached: {_kind(error)}"
        except Exception as error:
            log.exception("the connection to Discord's gateway failed")
            return _kind(error)
        finally:
            await self._hang_up(known)

    async def _hang_up(self, known: "_Known") -> None:
        """End a connection so that its session can be resumed; one that does not answer is cut."""
        websocket, self.http.websocket = self.http.websocket, None
        if websocket is None:
            return
        ws = websocket.user if isinstance(websocket, _Response) else None
        if ws is not None:
            known.remember(ws)
        with suppress(Exception):
            async with asyncio.timeout(1.0):
                await (websocket.close(code=4000) if ws is None else ws.close(code=4000))
        with suppress(Exception):
            websocket._response.close()  # noqa: SLF001  # aiohttp ends the transport of what it was told to leave open

    def _is_here(self, handler: Callable[[Any], None], data: Any) -> None:
        handler(data)
        self._came_at = time.monotonic()
        self._came()


class _Known:
    """What is known of the session: where and how to resume it."""

    def __init__(self, gateway: yarl.URL) -> None:
        self.gateway = gateway
        self._session: str | None = None
        self._sequence: int | None = None

    def resuming(self) -> dict[str, Any]:
        """Return how the library is to connect."""
        if self._session is None:
            return {"initial": True}
        return {"resume": True, "session": self._session, "sequence": self._sequence}

    def remember(self, ws: _Socket) -> None:
        """Note a session, as its connection ends."""
        if ws.session_id is not None:
            self.gateway, self._session, self._sequence = ws.gateway, ws.session_id, ws.sequence

    def forget(self, gateway: str) -> None:
        """Begin a new session the next time."""
        self.gateway, self._session, self._sequence = yarl.URL(gateway), None, None


def _kind(error: BaseException) -> str:
    """Return what went wrong without the payload: an error's words may quote it."""
    return type(error).__name__
