"""The server as a whole: started in a test, or by ``python -m discord_api``."""

import contextlib
from typing import Any, Self

from aiohttp import web

from .control import Control
from .gateway import Gateway
from .interactions import Interactions
from .limits import Limit
from .rest import Rest
from .world import World

UNLIMITED = Limit(1_000_000, 1.0)


class DiscordApi:
    """One Discord on a port of loopback.

    Attributes:
        people: what people do and see.
    """

    def __init__(self, token: str = "a-bot-token", *, heartbeat_seconds: float = 41.25) -> None:
        self.world = World(token)
        self.gateway = Gateway(self.world, heartbeat_seconds=heartbeat_seconds)
        self.interactions = Interactions(self.world)
        self.rest = Rest(self.world, self.gateway, self.interactions)
        self.world.emit = self.gateway.emit
        self.people = Control(self.world, self.gateway, self.rest, self.interactions)
        self.port = 0
        self._runner: web.AppRunner | None = None

    def unlimited(self) -> Self:
        """Have no rate limits, for tests of something else."""
        self.rest.buckets.routes.clear()
        self.rest.buckets.other = self.rest.buckets.everything = UNLIMITED
        return self

    @property
    def url(self) -> str:
        """Where an adapter's ``api`` option points to."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, port: int = 0) -> Self:
        """Listen."""
        application = self.rest.application()
        application.router.add_get("/gateway", self.gateway.serve)
        application.router.add_get("/gateway/", self.gateway.serve)
        application.router.add_post("/_control/{what}", self._control)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        server = site._server  # the only place that knows a free port's number
        self.port = port or server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self.at(self.port)
        return self

    def at(self, port: int) -> None:
        """Tell clients this port in all URLs: a proxy's, where one is in between."""
        self.world.base = f"http://127.0.0.1:{port}"
        self.gateway.url = f"ws://127.0.0.1:{port}/gateway"

    async def stop(self) -> None:
        """End all connections."""
        self.gateway.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        return await self.start() if self._runner is None else self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _control(self, request: web.Request) -> web.Response:
        """Do what a test in another process says: a method of :class:`Control`, with its arguments as JSON."""
        with contextlib.suppress(ValueError):
            arguments: dict[str, Any] = await request.json()
        try:
            answer = self.people.by_name(request.match_info["what"], arguments)
        except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        return web.json_response({"answer": answer})
