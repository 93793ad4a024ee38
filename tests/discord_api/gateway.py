"""The gateway: sessions over websockets, which can be resumed."""

import asyncio
import contextlib
import json
import secrets
import time
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from .world import World

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, ACK = 0, 1, 2, 6, 7, 9, 10, 11
IGNORED = frozenset({3, 4, 8})
"""Opcodes: Presence Update, Voice State Update, Request Guild Members; nothing here follows from them."""

GUILDS, MESSAGE_CONTENT = 1 << 0, 1 << 15
ALL_INTENTS = (1 << 26) - 1
EVENTS_PER_MINUTE = 120
"""Rate Limiting: "Apps can send 120 gateway events per connection every 60 seconds …  are disconnected immediately"."""

UNKNOWN_OP, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED, ALREADY_AUTHENTICATED = 4001, 4002, 4003, 4004, 4005
INVALID_SEQ, RATE_LIMITED, TIMED_OUT, INVALID_VERSION, INVALID_INTENTS, DISALLOWED_INTENTS = (
    *(4007, 4008, 4009),
    *(4012, 4013, 4014),
)
"""Gateway Close Event Codes, with the documentation's names."""


@dataclass
class Session:
    """What one Identify has begun. Its events are kept for a Resume."""

    id: str
    intents: int
    sequence: int = 0
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=10_000))
    connection: "Connection | None" = None


class Gateway:
    """All sessions of the bot."""

    def __init__(self, world: World, *, heartbeat_seconds: float = 41.25, url: str = "") -> None:
        self.world = world
        self.heartbeat_seconds = heartbeat_seconds
        self.url = url
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.identified: list[float] = []
        self.resumed = 0
        self.starts_left = 1000
        self.mute = False
        """Answers nothing and sends nothing, as behind a broken line that nobody has noticed."""
        self.refusing = False
        """Accepts no connection."""
        self.told: deque[tuple[float, str, str]] = deque(maxlen=10_000)
        """When (wall clock) a message was told, of which channel, and its text."""

    def emit(self, name: str, data: dict[str, Any], intent: int = 0) -> None:
        """Dispatch an event to the sessions that asked for it.

        Gateway Intents: "If you do not specify a certain intent, you will not receive any of the gateway events that
        are batched into that group"; intents of 0 here: "Any events not defined in an intent are … always sent".
        """
        for session in list(self.sessions.values()):
            if not intent or session.intents & intent:
                self.dispatch(session, name, self._readable(session, name, data))

    def dispatch(self, session: Session, name: str, data: object) -> None:
        """Dispatch an event to one session. "s: Sequence number … used for resuming sessions and heartbeating"."""
        session.sequence += 1
        if name == "MESSAGE_CREATE" and isinstance(data, dict):
            self.told.append((time.time(), str(data.get("channel_id")), str(data.get("content", ""))))
        payload = {"op": DISPATCH, "t": name, "s": session.sequence, "d": data}
        session.events.append(payload)
        if session.connection is not None:
            session.connection.send(payload)

    def _readable(self, session: Session, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """Take out what the session's app may not read.

        Message Content Intent: "Apps without the intent will receive empty values in fields that contain user-inputted
        content with a few exceptions": "Content in messages that an app sends", "in DMs with the app", "in which the
        app is mentioned".
        """
        if not name.startswith("MESSAGE_") or "content" not in data or session.intents & MESSAGE_CONTENT:
            return data
        bot = self.world.bot["id"]
        mentioned = any(one["id"] == bot for one in data.get("mentions", ()))
        if data["author"]["id"] == bot or "guild_id" not in data or mentioned:
            return data
        return data | {"content": "", "attachments": [], "embeds": [], "components": []}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        if self.refusing:
            return web.Response(status=503)
        connection = Connection(self, compress=request.query.get("compress") == "zlib-stream")
        self.connections.add(connection)
        try:
            return await connection.run(request)
        finally:
            self.connections.discard(connection)

    # Accidents.

    async def close(self, code: int) -> None:
        """Close all connections with a code."""
        for connection in list(self.connections):
            await connection.socket.close(code=code)

    def cut(self) -> None:
        """End all connections without a word."""
        for connection in list(self.connections):
            connection.cut()

    def reconnect(self) -> None:
        """Opcode 7: "You should reconnect and resume immediately"."""
        for connection in self.connections:
            connection.send({"op": RECONNECT, "d": None})

    def invalidate(self, *, resumable: bool) -> None:
        """Opcode 9: "d is a boolean that indicates whether the session may be resumable"."""
        for connection in self.connections:
            connection.send({"op": INVALID_SESSION, "d": resumable})
        if not resumable:
            self.sessions.clear()

    def raw(self, text: str) -> None:
        """Send a frame as it is."""
        for connection in self.connections:
            connection.send_text(text)


class Connection:
    """One websocket."""

    def __init__(self, gateway: Gateway, *, compress: bool) -> None:
        self.gateway = gateway
        self.session: Session | None = None
        self.socket = web.WebSocketResponse(max_msg_size=4096)
        # Transport Compression: "zlib-stream: … all payloads are sent in one zlib context", each ended by Z_SYNC_FLUSH.
        self._zlib = zlib.compressobj() if compress else None
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._heard = time.monotonic()
        self._received: deque[float] = deque()
        self._request: web.Request | None = None

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Say Hello, listen, watch the heart beat."""
        self._request = request
        await self.socket.prepare(request)
        if request.query.get("v") not in {"9", "10"}:
            await self.socket.close(code=INVALID_VERSION)
            return self.socket
        beside = [asyncio.create_task(self._write()), asyncio.create_task(self._watch())]
        self.send({"op": HELLO, "d": {"heartbeat_interval": int(self.gateway.heartbeat_seconds * 1000)}})
        try:
            async for message in self.socket:
                if self.gateway.mute:
                    continue
                if message.type is not WSMsgType.TEXT or not await self._take(message.data):
                    break
        finally:
            if self.session is not None and self.session.connection is self:
                self.session.connection = None
            for task in beside:
                task.cancel()
        return self.socket

    def send(self, payload: dict[str, Any]) -> None:
        """Send a payload, after those before it."""
        self.send_text(json.dumps(payload))

    def send_text(self, text: str) -> None:
        """Send a frame."""
        self._outbox.put_nowait(text)

    def cut(self) -> None:
        """End the connection without a word."""
        if self._request is not None and self._request.transport is not None:
            self._request.transport.abort()

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                text = await self._outbox.get()
                if self.gateway.mute:
                    continue
                if self._zlib is None:
                    await self.socket.send_str(text)
                else:
                    data = self._zlib.compress(text.encode("utf-8", "surrogatepass"))
                    await self.socket.send_bytes(data + self._zlib.flush(zlib.Z_SYNC_FLUSH))

    async def _watch(self) -> None:
        """Close a connection whose client does not beat: 4009 "Session timed out"."""
        while True:
            await asyncio.sleep(self.gateway.heartbeat_seconds / 4)  # silence has no event
            if time.monotonic() - self._heard > self.gateway.heartbeat_seconds * 1.5 and not self.gateway.mute:
                await self._refuse(TIMED_OUT)
                return

    async def _refuse(self, code: int) -> bool:
        await self.socket.close(code=code)
        return False

    async def _take(self, text: str) -> bool:
        now = time.monotonic()
        self._received.append(now)
        while self._received[0] < now - 60:
            self._received.popleft()
        if len(self._received) > EVENTS_PER_MINUTE:
            return await self._refuse(RATE_LIMITED)
        try:
            payload = json.loads(text)
            op, data = payload["op"], payload.get("d")
        except (ValueError, KeyError, TypeError, AttributeError):
            return await self._refuse(DECODE_ERROR)
        if op == HEARTBEAT:
            self._heard = now
            self.send({"op": ACK})
            return True
        if op == IDENTIFY:
            return await self._identify(data)
        if op == RESUME:
            return await self._resume(data)
        if self.session is None:
            return await self._refuse(NOT_AUTHENTICATED)
        return True if op in IGNORED else await self._refuse(UNKNOWN_OP)

    async def _identify(self, data: dict[str, Any]) -> bool:
        gateway = self.gateway
        if self.session is not None:
            return await self._refuse(ALREADY_AUTHENTICATED)
        if data.get("token") != gateway.world.token:
            return await self._refuse(AUTHENTICATION_FAILED)
        intents = data.get("intents")
        if not isinstance(intents, int) or intents & ~ALL_INTENTS:
            return await self._refuse(INVALID_INTENTS)
        if intents & MESSAGE_CONTENT and not gateway.world.content_allowed:
            return await self._refuse(DISALLOWED_INTENTS)
        # Session Start Limit: "remaining: remaining number of session starts the current user is allowed".
        gateway.starts_left -= 1
        gateway.identified.append(time.monotonic())
        self.session = Session(secrets.token_hex(16), intents, connection=self)
        gateway.sessions[self.session.id] = self.session
        world = gateway.world
        ready = {
            "v": 10,
            "user": world.bot,
            "guilds": [{"id": one["id"], "unavailable": True} for one in world.guilds.values()],
            "session_id": self.session.id,
            "resume_gateway_url": gateway.url,
            "application": {"id": world.application["id"], "flags": world.application["flags"]},
        }
        gateway.dispatch(self.session, "READY", ready)
        if intents & GUILDS:
            for guild in world.guilds.values():
                gateway.dispatch(self.session, "GUILD_CREATE", world.whole_guild(guild))
        return True

    async def _resume(self, data: dict[str, Any]) -> bool:
        gateway = self.gateway
        if data.get("token") != gateway.world.token:
            return await self._refuse(AUTHENTICATION_FAILED)
        session, sequence = gateway.sessions.get(data.get("session_id") or ""), data.get("seq")
        if session is None:
            # Resuming: "you should receive an Invalid Session (opcode 9) … d false: … a new Identify".
            self.send({"op": INVALID_SESSION, "d": False})
            return True
        if not isinstance(sequence, int) or sequence > session.sequence:
            return await self._refuse(INVALID_SEQ)
        session.connection, self.session = self, session
        gateway.resumed += 1
        # "Discord will send any missed events in order, finishing with a Resumed event".
        for payload in [one for one in session.events if one["s"] > sequence]:
            self.send(payload)
        gateway.dispatch(session, "RESUMED", {})
        return True
