"""A OneCLI in a thread of its own, for tests that are no coroutines."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from .server import OneCli
from .world import World


class Threaded:
    """Runs until it is closed; what a test says to its world is said in its loop."""

    def __init__(self, place: Path, upstream_ca: Path | None = None, says: str = "127.0.0.1") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def make() -> OneCli:
            made = OneCli(World(), place, upstream_ca, says)
            await made.start()
            return made

        self.api = self._run(make())

    @property
    def world(self) -> World:
        return self.api.world

    def change(self, what: Callable[[World], object]) -> None:
        """Change the world."""

        async def do() -> None:
            what(self.api.world)

        self._run(do())

    def stop(self) -> None:
        """Be away."""
        self._run(self.api.stop())

    def start(self) -> None:
        """Be back."""
        self._run(self.api.start())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run[Result](self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)
